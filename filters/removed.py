"""Addresses of images that stand for one that is not there: where they lead, and what they say.

Names alone: nothing is fetched, and no picture is looked at. A name can lie: a photograph may be
called `no-photo.jpg`. It is a sign, for a recipe to weigh.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import pyarrow as pa

# Searched in host and path, in small letters. Each is what programs in public repositories that
# fetch from there, or show its pictures, test for or fall back to.
_HOSTS = {
    # Hosts of pictures redirect to these. Flickr's was behind 11 % of ImageNet's URLs in 2017
    # (github.com/dusty-nv/jetson-inference, issue 124; openimages/dataset, issue 9).
    "flickr": r"(?:yimg|flickr)\.com/.*photo_unavailable",
    "imgur": r"imgur\.com/removed\.(?:png|jpg|gif)$",
    "tumblr": r"assets\.tumblr\.com/images/media_violation/",
    "tinypic": r"tinypic\.com/images/404\.",
    "photobucket": r"pic\.photobucket\.com/bwe\.",
    "pixiv": r"pximg\.net/common/images/limit_",
    "deviantart": r"deviantart\.net/misc/noentrythumb",
    "vk": r"^(?:.*\.)?(?:vk|vkontakte)\.(?:com|ru)/images/(?:deactivated|camera)_",
    "twitter": r"twimg\.com/sticky/default_profile_images/",
    # These stand where a cover, a poster or a product has no picture.
    "amazon": r"amazon\.com/images/g/\d\d/x-site/icons/no-img",
    "imdb": r"/imdb/images/nopicture/",
    "goodreads": r"gr-assets\.com/assets/nophoto/",
    "google books": r"books\.google\.[a-z.]+/googlebooks/images/no_cover_thumb",
    "ebay": r"ebaystatic\.com/.*imgnoimg\.",
    "last.fm": r"/(?:2a96cbd8b46e442fc41c2b86b821562f|c6f59c1e5e7240a4c0d427abd71f3dbb"
    r"|4128a6eb29f94943c9d206c08e625904)(?:\.|$)",
    # What the software of shops and sites puts there.
    "shopify": r"/no-image-\d+-[0-9a-f]{8,}",
    "woocommerce": r"/woocommerce-placeholder",
    "magento": r"/catalog/product/placeholder/",
    "prestashop": r"/img/p/[a-z]{2}-default-[a-z]+_default\.",
    "paperclip": r"/(?:original|large|medium|small|thumb|mini|square|normal|preview)/missing\.png$",
    # Services that draw a box of the size asked for, and nothing else.
    "service": r"^(?:www\.)?(?:via\.placeholder\.com|placehold\.(?:it|co)|dummyimage\.com"
    r"|fakeimg\.pl|placeholder\.pics)/",
}
_IMAGE = "(?:image|img|photo|foto|picture|pic|thumbnail|preview|avatar|artwork|poster)s?"
_THING = f"(?:{_IMAGE}|(?:thumb|cover|profile|portrait|screenshot|product|file|media)s?)"
# What the last words of a file's name say, written as one. In other languages than English, it is
# what programs for sites of theirs call such files, and what is put together likewise.
_SAYS = {
    "no image": rf"no{_THING}?{_IMAGE}(?:yet)?|no{_THING}(?:yet)?(?:available|found|exists?|avail)"
    r"|keine?(?:bild|foto)(?:er|s)?(?:verfu?e?gbar|vorhanden)?|(?:pasd|pasde)(?:image|photo)s?"
    r"|sin(?:imagen|foto)|sem(?:imagem|foto)|nessunaimmagine|geen(?:afbeelding|foto)"
    r"|brak(?:zdjecia|foto)|resimyok",
    "image not available": rf"{_THING}(?:is)?(?:no[tn]|un)(?:yet)?(?:available|found|exists?|avail)"
    rf"|{_IMAGE}(?:is|was|been)?(?:missing|removed|deleted)"
    r"|(?:image|photo|visuel)(?:non|in)disponible|(?:imagen|foto)no(?:disponible|encontrada)"
    r"|(?:imagem|foto)(?:nao|in)disponivel|(?:immagine|foto)nondisponibile"
    r"|(?:bild|foto)nicht(?:verfu?e?gbar|gefunden|vorhanden)",
    "default image": rf"(?:missing|deleted|unavailable|broken|default|dummy|fallback)"
    rf"(?:{_IMAGE}|profile|cover)|{_IMAGE}(?:default|fallback)",
    "placeholder": r"placeholders?|platzhalter(?:bild)?",
}
# What its whole name says.
_IS = {
    "no image": rf"no{_THING}",
    "image not available": r"(?:not|un)available|not(?:yet)?found|nohotlink(?:s|ing)?",
    "placeholder": rf"(?:{_THING})?placeholder.*",
}
# What the whole name of a folder says.
_FOLDER = rf"no{_THING}|placeholders?"
# These may be the name of any picture; they count where another address has led to it.
_ERROR = (
    r"(?:error|http|page|img|image|status)?(?:403|404|410)(?:error|page|image|notfound)?"
    r"|(?:image)?error|forbidden|(?:access)?denied|blocked|expired|missing|removed|deleted"
    r"|(?:anti|stop)?hotlink(?:s|ing|ed)?(?:denied|forbidden|disabled|blocked|protection)?"
)
# Words behind those that count: sizes, shades, languages, numbers, digests.
_TAIL = (
    r"\d+(?:x\d*)?(?:px|w|h)?|[smlx]|sm|md|lg|xx?[sl]|small|medium|large|big|bigger|normal|mini"
    r"|thumb|thumbnail|icon|square|wide|tall|full|hd|grid|crop|cropped|scaled|center|light|dark"
    r"|white|black|gr[ae]y|new|final|copy|min|v\d+|gif|jpe?g|png|svg|webp|en|us|gb|de|fr|es|it|pt"
    r"|br|nl|pl|ru|ja|jp|zh|cn|ko|[0-9a-f]{8,}"
)
_BEFORE = frozenset(["yes", "or", "background", "bg"])  # as in `background-image-removed`
_ENDING = re.compile(r"(?:\.(?:jpe?g|jpe|jfif|png|gif|webp|avif|bmp|svg|tiff?|php|aspx?))+$", re.I)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_LONGEST = 4000  # characters of an address that are looked at
_MOST_WORDS = 8  # of what a name says

_hosts, _says, _is = (
    {name: re.compile(pattern) for name, pattern in patterns.items()}
    for patterns in (_HOSTS, _SAYS, _IS)
)
_folder, _error, _tail = map(re.compile, (_FOLDER, _ERROR, _TAIL))


@dataclass(frozen=True)
class Removed:
    """Whether the addresses of an image say that it stands for one that is not there.

    `removed_pattern` names the pattern that was found: a host or a program known for such images
    (`imgur`, `flickr`, `shopify`, …), or what the name of the file says (`no image`, `image not
    available`, `default image`, `placeholder`); NULL: none. `error` (a file called 404, forbidden,
    removed, …) counts only where a redirect has led to it from one of another name. `removed_in`
    says which address has it: `url`, `final_url` or `redirects`, the first of these that does.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("url", "redirects", "final_url")
    may_lack: ClassVar[tuple[str, ...]] = reads
    writes: ClassVar[pa.Schema] = pa.schema(
        {"removed_pattern": pa.string(), "removed_in": pa.string()}
    )
    batch_size: ClassVar[int] = 1024

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = zip(*(batch[name] for name in self.reads), strict=True)
        found = [_found(*row) for row in rows]
        return {
            "removed_pattern": [pattern for pattern, _ in found],
            "removed_in": [where for _, where in found],
        }


def _found(
    url: str | None, redirects: list[str] | None, final_url: str | None
) -> tuple[str | None, str | None]:
    led_to = [("final_url", final_url), *(("redirects", hop) for hop in reversed(redirects or []))]
    for where, address in [("url", url), *led_to]:
        if address is not None:
            source = None if where == "url" else url or ""
            pattern = removed_pattern(address, source=source)
            if pattern is not None:
                return pattern, where
    return None, None


def removed_pattern(address: str, *, source: str | None = None) -> str | None:
    """The name of the first pattern that an address has; None for none.

    `source` is the address that led to it, if another did.
    """
    parts = _split(address)
    place = f"{parts.hostname or ''}{unquote(parts.path)}".lower()
    known = next((name for name, pattern in _hosts.items() if pattern.search(place)), None)
    if known is not None:
        return known
    *folders, file = parts.path.split("/")
    for folder in folders:
        if _folder.fullmatch("".join(_words(folder))):
            return "placeholder"
    names = [_words(name) for name in (file, *_queried(parts.query))]
    said = next(filter(None, map(_said, names)), None)
    if said is not None or source is None:
        return said
    is_new = names[0] != _words(_split(source).path.rpartition("/")[2])
    return "error" if is_new and any(map(_error.fullmatch, _wholes(names[0]))) else None


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address[:_LONGEST])
    except ValueError:  # brackets that hold no address of IPv6
        return urlsplit("")


def _queried(query: str) -> Iterator[str]:
    """The names of files that a query asks for, as in `thumb.php?src=img/no_image.png`."""
    for _, value in parse_qsl(query[:_LONGEST]):
        if "." in value:
            yield value.partition("?")[0].rpartition("/")[2]


def _words(name: str) -> list[str]:
    """The words of a name without its ending, in small letters without accents."""
    spaced = _HUMP.sub(" ", _ENDING.sub("", unquote(name)))
    plain = unicodedata.normalize("NFKD", spaced).casefold()
    return _WORD.findall("".join(sign for sign in plain if not unicodedata.combining(sign)))


def _wholes(words: list[str]) -> Iterator[str]:
    """A name written as one word, and the same without what stands behind the words that count."""
    yield "".join(words)
    yield "".join(_heads(words))


def _heads(words: list[str]) -> list[str]:
    end = len(words)
    while end > 1 and _tail.fullmatch(words[end - 1]):
        end -= 1
    return words[:end]


def _said(words: list[str]) -> str | None:
    """What the words of a name say."""
    for name, pattern in _is.items():
        if any(map(pattern.fullmatch, _wholes(words))):
            return name
    heads = _heads(words)
    for start in range(max(0, len(heads) - _MOST_WORDS), len(heads)):
        if start and heads[start - 1] in _BEFORE:
            continue
        said = "".join(heads[start:])
        for name, pattern in _says.items():
            if pattern.fullmatch(said):
                return name
    return None
