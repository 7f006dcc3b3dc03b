"""What an image of the manual is, told by its file and by the pages, never by what we measure."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

# DocBook's stylesheets give every page these: navigation, and signs beside boxes of text.
CHROME = frozenset(
    f"/images/{name}.png"
    for name in (
        *("prev", "next", "home", "up", "gimp-org"),
        *("note", "tip", "warning", "caution", "important"),
    )
)
KINDS = ("chrome", "in the text", "figure")
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr")
)
_BLOCKS = frozenset(("mediaobject", "figure-contents", "screenshot"))


def kinds(root: Path) -> dict[str, str]:
    """The kind of each image that a page shows, by its path on the server.

    Chrome is known by its file's name. A figure stands in a block of its own (`div.mediaobject`) on
    one page at least; what only stands in lines of text is a button there, or a formula.
    """
    found: dict[str, str] = {}
    for page in sorted(root.glob("*.html")):
        reader = _Reader()
        reader.feed(page.read_text("utf-8", "replace"))
        for source, is_block in reader.images:
            path = unquote(urljoin(f"/{page.name}", source))
            if path in CHROME:
                found[path] = "chrome"
            elif is_block:
                found[path] = "figure"
            else:
                found.setdefault(path, "in the text")
    return found


class _Reader(HTMLParser):
    """Mutable, as the parser of the standard library hands over one tag at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, bool]] = []
        self._open: list[tuple[str, str]] = []  # tags and their classes

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "img":
            classes = {word for _, names in self._open for word in names.split()}
            self.images.append((told.get("src", ""), bool(classes & _BLOCKS)))
        elif tag not in _VOID:
            self._open.append((tag, told.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        while self._open and tag in (name for name, _ in self._open):
            if self._open.pop()[0] == tag:
                break
