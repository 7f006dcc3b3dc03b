"""Markup that escapes by construction, and the frame of the page.

Text becomes markup through `el` alone, which escapes whatever is not `Html` already; captions,
addresses and reasons come from strangers. The page asks for nothing from anywhere.
"""

import html
from collections.abc import Iterable

# Nothing may be loaded, whatever got past the escaping: images are inline, styles are below.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'"
)
_VOID = frozenset(("img", "meta"))
_CLOSED = frozenset(("rect", "line"))  # within SVG
_VISIBLE = (9, 10)  # tab and line feed
_CONTROLS = dict.fromkeys({*range(32), *range(127, 160), 0x2028, 0x2029} - set(_VISIBLE), " ")


class Html(str):
    """Text that is markup; made by `el` and `join`, never from data."""

    __slots__ = ()


Content = str | Html | None
Attribute = str | int | float | bool | None


def escaped(text: str) -> Html:
    """Text as markup; control characters and lone surrogates become harmless."""
    if isinstance(text, Html):
        return text
    clean = text.translate(_CONTROLS).encode("utf-8", "replace").decode()
    return Html(html.escape(clean, quote=True))


def el(name: str, /, *content: Content, **attributes: Attribute) -> Html:
    """An element; a trailing underscore of an attribute goes, others are hyphens."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID and not content:
        return Html(
            f"<{name}{written}>" if name in ("img", "meta", "br") else f"<{name}{written}/>"
        )
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key if key == "viewBox" else key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return f' {name}="{escaped(text)}"'


def join(parts: Iterable[Content]) -> Html:
    """Parts one after the other, None left out."""
    return Html("".join(escaped(part) for part in parts if part is not None))


def table(head: Iterable[str], rows: Iterable[Iterable[Content]], texts: int = 1) -> Html:
    """A table whose first `texts` columns are text and the others numbers, on the right."""
    columns = list(head)
    top = [_cell("th", title, n >= texts) for n, title in enumerate(columns)]
    body = [
        el("tr", *[_cell("td", value, n >= texts) for n, value in enumerate(row)]) for row in rows
    ]
    whole = el("table", el("thead", el("tr", *top)), el("tbody", *body))
    return el("div", whole, class_="scroll")


def _cell(name: str, value: Content, is_number: bool) -> Html:
    return el(name, value, class_="n" if is_number else None)


def count(value: int) -> str:
    """A whole number with thousands separators."""
    return f"{value:,}"


def rows_of(value: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{value:,} row" if value == 1 else f"{value:,} rows"


def share(part: float, whole: float) -> str:
    """A share in percent, as exact as its size asks for; a dash of nothing."""
    if not whole:
        return "–"
    value = 100 * part / whole
    if value in (0, 100):
        return f"{value:.0f} %"
    if value > 99.9:
        return "> 99.9 %"
    return f"{value:.1f} %" if value >= 0.1 else "< 0.1 %"


def size(size_bytes: float) -> str:
    """Bytes for a person, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000 or unit == "TB":
            break
        size_bytes /= 1000
    return f"{size_bytes:,.0f} {unit}" if size_bytes >= 100 else f"{size_bytes:.3g} {unit}"


def number(value: float) -> str:
    """A measured value: whole numbers whole, others to three digits."""
    if abs(value) < 1e15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def apart(value: float, limit: float) -> str:
    """A value with as many digits as tell it from a limit that it missed."""
    if number(value) != number(limit) or value == limit:
        return number(value)
    for digits in range(4, 17):
        if float(f"{value:.{digits}g}") != float(f"{limit:.{digits}g}"):
            break
    return f"{value:.{digits}g}"


def short(text: str, limit: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def section(title: str, *content: Content, anchor: str) -> Html:
    """A part of the page, with a heading that the contents can point to."""
    return el("section", el("h2", title), *content, id=anchor)


def page(title: str, content: Html) -> Html:
    """The whole document."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Html(STYLE)),
    )
    return join([Html("<!DOCTYPE html>\n"), el("html", head, el("body", content), lang="en")])


STYLE = """
:root { --ink: #1c2024; --soft: #5b6470; --faint: #d9dee4; --paper: #ffffff; --raised: #f5f7f9;
  --all: #b9c2cc; --kept: #14746f; --drop: #e0a458; --fail: #b3452c; --cut: #9a3412;
  --notice: #fff6e0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --faint: #343b43;
  --paper: #14171a; --raised: #1d2226; --all: #55606b; --kept: #3fb8a9; --drop: #c98a3d;
  --fail: #e07a5f; --cut: #f0a25b; --notice: #33290f; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--faint); }
h3 { font-size: 1.05rem; margin: 2rem 0 .25rem; } h2 + h3 { margin-top: 1rem; }
p { margin: .25rem 0 .75rem; max-width: 52rem; }
a { color: inherit; }
code, pre { font: .875em/1.45 ui-monospace, monospace; }
pre { background: var(--raised); padding: 1rem; overflow-x: auto; white-space: pre-wrap;
  border-radius: 6px; }
.soft { color: var(--soft); } .small { font-size: .85rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1rem 0; font-size: .9rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
.tile { background: var(--raised); border-radius: 8px; padding: .75rem .9rem; }
.tile b { display: block; font-size: 1.4rem; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.notice { background: var(--notice); border-left: 4px solid var(--drop); padding: .6rem 1rem;
  margin: .75rem 0; border-radius: 0 6px 6px 0; max-width: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .5rem 0; }
th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap;
  vertical-align: bottom; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--faint); }
td { vertical-align: top; }
td:last-child, th:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.rule { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.bar { display: flex; height: .8rem; min-width: 8rem; margin-top: .35rem; background: var(--raised);
  border-radius: 2px; overflow: hidden; }
.bar i { display: block; height: 100%; flex: none; }
.kept { background: var(--kept); } .drop { background: var(--drop); }
.fail { background: var(--fail); } .all { background: var(--all); }
.funnel td:first-child { min-width: 12rem; } .funnel td:nth-child(2) { width: 38%; }
.key { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin: 0 .35em
  0 .9em; } .key:first-child { margin-left: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr));
  gap: 1.25rem 1.5rem; margin: .75rem 0 1.5rem; }
.chart h4 { margin: 0; font-size: .9rem; font-weight: 600; }
.chart svg { display: block; width: 100%; height: auto; }
.chart p { margin: 0; font-size: .8rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.chart table { font-size: .82rem; } .chart td:nth-child(2) { width: 40%; }
.chart td { padding-top: .2rem; padding-bottom: .2rem; }
svg text { font: 10px system-ui, sans-serif; fill: var(--soft); }
.legend .cut { color: var(--cut); margin: 0 .2em 0 .9em; }
svg .all { fill: var(--all); } svg .kept { fill: var(--kept); }
svg .taller { fill: var(--kept); fill-opacity: .25; stroke: var(--kept); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: .75; }
svg .cut { stroke: var(--cut); stroke-width: 1.25; stroke-dasharray: 3 2; }
svg text.cut { stroke: none; fill: var(--cut); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem;
  margin: .75rem 0 1rem; }
.gallery.pairs { grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; padding: .5rem;
  border: 1px solid var(--faint); border-radius: 8px; }
.tag { display: inline-block; padding: 0 .45em; border-radius: 3px; font-size: .75rem;
  color: var(--paper); } .tag.drop { background: var(--cut); }
figure { margin: 0; font-size: .8rem; line-height: 1.35; min-width: 0; }
figure img, figure .none { display: flex; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: var(--raised); border-radius: 6px; }
figure .none { align-items: center; justify-content: center; text-align: center; padding: .75rem;
  color: var(--soft); overflow: hidden; }
figcaption { margin-top: .35rem; }
figcaption b { display: block; font-weight: 600; overflow-wrap: anywhere; }
figcaption q { display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical;
  overflow: hidden; quotes: none; unicode-bidi: isolate; overflow-wrap: anywhere; }
.from { display: flex; flex-wrap: wrap; gap: .1rem .35rem; margin: .1rem 0 .45rem;
  color: var(--soft); font-size: .75rem; line-height: 1.5; overflow-wrap: anywhere; }
figcaption code { color: var(--soft); font-size: .75rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
@media (max-width: 40rem) { body { padding: 1rem .9rem 3rem; font-size: 15px; }
  .gallery { grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
  .gallery.pairs { grid-template-columns: 1fr; } .bar { min-width: 3.5rem; }
  .funnel td:first-child { min-width: 7.5rem; } .funnel td:nth-child(2) { width: 30%; }
  .funnel th:nth-child(4), .funnel td:nth-child(4) { display: none; }
  th, td { padding-right: .6rem; } th { white-space: normal; } }
@media print { body { max-width: none; } section { break-inside: auto; }
  figure { break-inside: avoid; } }
"""
