"""Addresses as a page writes them, made absolute; what is no address is None, never an error."""

import re
from urllib.parse import urljoin, urlsplit

MAX_URL = 8192  # longer ones are no addresses that servers take
_KEPT_URL = 500  # longer ones are made anew each time: a page may have very many
_CONTROL = re.compile(r"[\t\n\r\x00]")
_ABSOLUTE = re.compile(r"https?://[^\s/?#\\]", re.IGNORECASE)
_PLAIN = re.compile(  # needs no tidying, if without "/."
    r"(?:https?://[\w.:-]+(?:/[^\s#\\]*)?|/[^\s/?#\\.][^\s#\\]*)"
)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_SEGMENTS = re.compile(r"[^.\s:?#\\/][^\s:?#\\]*")  # a relative path that needs no tidying
_IMAGE_FILE = re.compile(
    r"\.(?:jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|heic|jxl)(?:[?#]|$)", re.IGNORECASE
)


class Base:
    """What relative addresses of a page are resolved against: the base href, else its own URL.

    Keeps its folder and origin apart, so that the usual short forms cost no parsing.
    """

    def __init__(self, page_url: str, base_href: str | None = None) -> None:
        self.url = page_url
        if base_href:
            self.url = _joined(page_url, _CONTROL.sub("", base_href.strip())) or page_url
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")
        self.is_web = parts.scheme in ("http", "https") and bool(parts.netloc)
        self._scheme = parts.scheme
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._known: dict[str, str | None] = {}
        self._folder = f"{self._origin}{parts.path.rpartition('/')[0]}/"

    def resolve(self, link: str | None) -> str | None:
        """An absolute http(s) URL without its fragment, or a `data:` URL; else None."""
        if not link:
            return None
        if link in self._known:
            return self._known[link]
        if self.is_web and _PLAIN.fullmatch(link) and "/." not in link and len(link) <= MAX_URL:
            url: str | None = link if link[0] != "/" else f"{self._origin}{link}"
        else:
            url = self._tidied(link)
        if len(link) <= _KEPT_URL and (url is None or len(url) <= _KEPT_URL):
            self._known[link] = url
        return url

    def _tidied(self, link: str) -> str | None:
        link = link.strip()
        if link[:5].lower() == "data:":
            return f"data:{link[5:]}"
        if not link or len(link) > MAX_URL:
            return None
        link = _CONTROL.sub("", link).partition("#")[0]
        if " " in link:
            link = link.replace(" ", "%20")
        return self._absolute(link)

    def _absolute(self, link: str) -> str | None:
        if _ABSOLUTE.match(link):
            is_plain = "/." not in link and "\\" not in link and "[" not in link
            return link if is_plain else _joined(self.url, link)
        if not link or not self.is_web:
            return None
        if link[0] == "/" and "/." not in link and "\\" not in link:
            whole = f"{self._scheme}:{link}" if link[:2] == "//" else f"{self._origin}{link}"
            return whole if _ABSOLUTE.match(whole) else None
        if _SEGMENTS.fullmatch(link) and "/." not in link:
            return f"{self._folder}{link}"
        if _SCHEME.match(link):
            return None
        return _joined(self.url, link)


def _joined(base: str, link: str) -> str | None:
    try:
        url = urljoin(base, link.replace("\\", "/"))
        return url if _ABSOLUTE.match(url) and urlsplit(url).hostname else None
    except ValueError:  # hosts that are none: http://[::1, http://℀
        return None


def names_image(url: str) -> bool:
    """Whether a link names an image file; `File:a.jpg` is a wiki's page about one."""
    path = url.partition("?")[0]
    return _IMAGE_FILE.search(path) is not None and ":" not in path.rpartition("/")[2]
