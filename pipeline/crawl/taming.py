"""Keeps HTML from costing more than its size: what the standard's parser does in squares or worse.

Three known ways: formatting elements that every new paragraph opens again (43 KB become gigabytes),
elements nested by the ten thousand, and ten thousand attributes on one. Small pages can't do much
harm and come back as they are; of large ones only markup changes that no text or image needs.
"""

import re
from collections import Counter


def _named(words: str) -> frozenset[str]:
    return frozenset(words.split())


FEW_TAGS, FEW_CHARACTERS = 1000, 64_000  # below both nothing costs more than a tenth of a second
_SCANNED_TAGS = 3000  # from here on nesting is watched
_MOST_NODES = 1_000_000  # that formatting elements may become
MAX_DEPTH = 400  # browsers stop at 512
_LONG_TAG, _MOST_ATTRIBUTES = 4000, 300
_MOST_ROOTS = 10  # `html` and `body` tags: each gives its attributes to the first

# `a` is left: the parser closes an open one before it opens the next.
_FORMATTING = re.compile(
    r"<(/?)(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])", re.IGNORECASE
)
_SPACE = r"[\t\n\f\r ]"
_ATTRIBUTE = (
    rf"=?+[^\t\n\f\r />=]++(?:{_SPACE}*+={_SPACE}*+"
    r"""(?:"[^"]*+"|'[^']*+'|[^\t\n\f\r >"'][^\t\n\f\r >]*+))?+"""
)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_TOKEN = re.compile(
    r"<!--|<!\[CDATA\[|<[!?][^>]*+>?|</[^a-zA-Z>][^>]*+>?"
    rf"|<(/?)([a-zA-Z][^\t\n\f\r />]*+)(?>[\t\n\f\r /]++|{_ATTRIBUTE}|=)*+>?"
)
_COMMENT_END = re.compile(r"--!?>")
_RAW_ENDS = {
    name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE)
    for name in _named("script style title textarea iframe noembed noframes xmp")
}
# No depth of their own: void, or closed by the next of their kind (`a` too).
_FLAT = _named(
    "a area base br col embed hr img input link meta param source track wbr image keygen"
    " p li dd dt option optgroup tr td th tbody thead tfoot rb rt rp rtc"
)
_SPECIAL = _named(
    "address applet article aside blockquote button caption center details dir div dl fieldset"
    " figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup main marquee menu nav object ol"
    " pre search section select summary table template ul svg math foreignobject"
)
_SCOPES = _named("applet caption marquee object table template foreignobject")
_LEAVE_SVG = _named(
    "blockquote center div dl h1 h2 h3 h4 h5 h6 img li menu ol p pre ruby span table ul sub sup"
    " foreignobject desc annotation-xml mi mo mn ms mtext br hr"
)


def tame(html: str) -> tuple[str, dict[str, int]]:
    """The page so that parsing takes time and memory by its length, and what was taken out.

    In pages of many formatting elements these become `span`; a text that spells such a tag out,
    in an attribute say, then reads so too.
    """
    tags = html.count("<")
    if tags <= FEW_TAGS and len(html) <= FEW_CHARACTERS:
        return html, {}
    plain, count = _FORMATTING.subn(r"<\1span", html)
    if count * tags > _MOST_NODES:
        html = plain
    if tags <= _SCANNED_TAGS and len(html) <= FEW_CHARACTERS:
        return html, {}
    return _Scan(html).run()


class _Scan:
    """One pass over the tags of a page, holding the elements that stand open."""

    def __init__(self, html: str) -> None:
        self.html = html
        self.pieces: list[str] = []
        self.done = 0  # what lies before is in the pieces
        self.open: list[str] = []
        self.names: Counter[str] = Counter()  # of what is open
        self.svg = -1  # where in `open` the outermost svg stands
        self.roots = 0
        self.notes: Counter[str] = Counter()

    def run(self) -> tuple[str, dict[str, int]]:
        html, at = self.html, 0
        while (token := _TOKEN.search(html, at)) is not None:
            name = token[2]
            if name is None:
                at = self._aside(token)
                continue
            at = token.end()
            name = name.lower()
            if token[1]:
                self._close(name)
            elif self._is_dropped(name, token):
                self._drop(token.start(), at)
            elif name in _RAW_ENDS:
                at = self._raw(name, at)
            elif name == "plaintext":
                self._drop(token.start(), at)
        if not self.pieces:
            return html, {}
        self.pieces.append(html[self.done :])
        return "".join(self.pieces), dict(self.notes)

    def _drop(self, start: int, stop: int) -> None:
        self.pieces += (self.html[self.done : start], " ")
        self.done = stop

    def _aside(self, token: re.Match[str]) -> int:
        """Comments go, since what they hide could look like tags; returns where they end."""
        start = token.start()
        if token[0] == "<!--":
            end = _COMMENT_END.search(self.html, start + 2)
            stop = len(self.html) if end is None else end.end()
            self._drop(start, stop)
            return stop
        if token[0] == "<![CDATA[":  # text in SVG, else a comment up to the next bracket
            found = self.html.find("]]>", start)
            return self._without_tags(start, len(self.html) if found < 0 else found + 3)
        return token.end()

    def _raw(self, name: str, start: int) -> int:
        end = _RAW_ENDS[name].search(self.html, start)
        return self._without_tags(start, len(self.html) if end is None else end.start())

    def _without_tags(self, start: int, stop: int) -> int:
        """Whether the parser takes it for text or not, there is no tag in this stretch."""
        text = self.html[start:stop]
        if "<" in text:
            self.pieces += (self.html[self.done : start], text.replace("<", " "))
            self.done = stop
        return stop

    def _is_dropped(self, name: str, token: re.Match[str]) -> bool:
        length = token.end() - token.start()
        if length > _LONG_TAG and len(_ATTRIBUTES.findall(token[0])) > _MOST_ATTRIBUTES:
            self.notes["tags_of_many_attributes"] += 1
            return True
        if name in ("html", "body", "head"):
            self.roots += 1
            return self.roots > _MOST_ROOTS
        if self.svg >= 0 and name in _LEAVE_SVG:
            self.svg = -1
        if name in _FLAT:
            return False
        if self.svg >= 0 and token[0].endswith("/>"):
            return False
        if len(self.open) >= MAX_DEPTH:
            self.notes["tags_too_deep"] += 1
            return True
        if self.svg < 0 and name in ("svg", "math"):
            self.svg = len(self.open)
        self.open.append(name)
        self.names[name] += 1
        return False

    def _close(self, name: str) -> None:
        """What an end tag closes; one that the parser may pass over closes nothing here."""
        if not self.names[name]:
            return
        barriers = _SCOPES if name in _SPECIAL else _SPECIAL
        for at in range(len(self.open) - 1, -1, -1):
            if self.open[at] == name:
                self.names.subtract(self.open[at:])
                del self.open[at:]
                self.svg = -1 if self.svg >= at else self.svg
                return
            if self.open[at] in barriers:
                return
