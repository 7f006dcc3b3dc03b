"""The page of a probe: every figure beside chance, some pictures, and what was wrong.

One static file that asks for nothing from anywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.probes.figures import ABOVE, Figure
from pipeline.probes.measuring import Outcome
from pipeline.probes.questions import Asked, Picture
from pipeline.probes.summary import chance, told, verdict
from pipeline.report_html import Html, count, el, join, page, section, short, table
from pipeline.report_pictures import DATA, thumbnail

_WIDE, _HIGH = 180.0, 16.0
_LONGEST = 160  # characters of a caption
_HEAD = ["Figure", "share", "95 % interval", "chance", "asked", "ties", "no value", ""]
Json = Mapping[str, Any]


def probe_page(record: Json, outcomes: Sequence[Outcome], notices: Sequence[str]) -> str:
    """The page for a record and the outcomes it was made of."""
    scorer = record["scorer"]
    content = [
        el("h1", f"What {scorer['column']} sees"),
        el("p", _summary(record, outcomes), class_="soft"),
        el("nav", *[_link(one) for one in outcomes], el("a", "Scorer", href="#scorer")),
        *(el("p", text, class_="notice") for text in notices),
        _overview(outcomes),
        *(_section(outcome) for outcome in outcomes),
        section("Scorer", _scorer(record), anchor="scorer"),
    ]
    return str(page(f"What {scorer['column']} sees", join(content)))


def _summary(record: Json, outcomes: Sequence[Outcome]) -> str:
    scorer = record["scorer"]
    asked = sum(outcome.asked for outcome in outcomes)
    better = "higher" if record["better"] == "high" else "lower"
    return (
        f"The column {scorer['column']} of the scorer {scorer['name']} was asked"
        f" {count(asked)} questions: of several pairs of image and caption the true one must have"
        f" the {better} score than every other; a tie is wrong. Bars are intervals of 95 %, the"
        " dashed line is what guessing gives."
    )


def _link(outcome: Outcome) -> Html:
    return el("a", outcome.probe.told.title, href=f"#{outcome.probe.name}")


def _overview(outcomes: Sequence[Outcome]) -> Html:
    rows = []
    for outcome in outcomes:
        for n, figure in enumerate(outcome.heads):
            title = _link(outcome) if n == 0 else None
            rows.append([title, figure.label, _bar(figure), told(figure), _tag(figure)])
    return table(["Probe", "figure", "", "share (95 % interval)", ""], rows, texts=3)


def _bar(figure: Figure) -> Html | None:
    """The interval on a line, with chance."""
    if figure.value is None or figure.low is None or figure.high is None:
        return None
    numbers = (figure.low, figure.high, figure.value, figure.chance)
    low, high, value, guess = (_along(n, figure.is_difference) for n in numbers)
    middle, is_good = _HIGH / 2, _is_good(figure)
    look = "kept" if is_good else "all"
    return el(
        "svg",
        el("title", f"{figure.label}: {told(figure)}, chance {chance(figure)}"),
        el("line", x1=0, y1=middle, x2=_WIDE, y2=middle, class_="axis"),
        el("rect", x=low, y=middle - 4, width=max(high - low, 1.0), height=8.0, class_=look),
        el("line", x1=value, y1=middle - 6, x2=value, y2=middle + 6, class_="axis"),
        el("line", x1=guess, y1=1.0, x2=guess, y2=_HIGH - 1, class_="cut"),
        viewBox=f"-2 0 {_WIDE + 4:.0f} {_HIGH:.0f}",
        role="img",
        width=_WIDE,
        height=_HIGH,
    )


def _along(value: float, is_difference: bool) -> float:
    """Where a value is drawn: shares from 0 to 1, differences from -1 to 1."""
    return _WIDE * ((value + 1) / 2 if is_difference else value)


def _is_good(figure: Figure) -> bool:
    return (figure.verdict == ABOVE) != figure.is_fault and not figure.note


def _tag(figure: Figure) -> Html:
    return el("span", verdict(figure), class_="soft small" if _is_good(figure) else "small")


def _section(outcome: Outcome) -> Html:
    probe, figures = outcome.probe, outcome.measured.figures
    confusion = outcome.measured.tables.get("confusion")
    parts = [
        el("p", probe.told.asks),
        _gallery(_figure(picture, _quoted(text)) for picture, text in probe.shown),
        table(_HEAD, [_row(figure) for figure in figures]),
        None if confusion is None else _confusion(confusion),
        el("p", el("b", "For a selection: "), probe.told.means),
        _wrong(outcome),
    ]
    return section(probe.told.title, *parts, anchor=probe.name)


def _row(figure: Figure) -> list[str | Html]:
    value, _, interval = told(figure).partition(" (")
    return [
        *(figure.label, value, interval.rstrip(")") or "–", chance(figure)),
        *(count(figure.n), count(figure.ties), count(figure.unanswered)),
        _tag(figure),
    ]


def _confusion(rows: Sequence[Sequence[int]]) -> Html:
    """True numbers down, what was said across; the right ones in bold."""
    numbers = [str(n + 1) for n in range(len(rows))]
    cells: list[list[str | Html]] = []
    for n, row in enumerate(rows):
        said: list[str | Html] = [count(value) if value else "·" for value in row]
        said[n] = el("b", said[n])
        cells.append([numbers[n], *said])
    note = "Each row is a true number, each column what was said; the last column counts ties."
    return join(
        [el("p", note, class_="soft small"), table(["is", *numbers, "tie"], cells, texts=0)]
    )


def _wrong(outcome: Outcome) -> Html | None:
    """Mistakes about one picture, then those where another picture was preferred."""
    if not outcome.wrong:
        return None
    one, two = ([m for m in outcome.wrong if _has_two(m) is two] for two in (False, True))
    galleries = [
        el("div", *[_mistake(mistake) for mistake in found], class_=look)
        for found, look in ((one, "gallery"), (two, "gallery pairs"))
        if found
    ]
    return join([el("h3", "Some that were wrong"), *galleries])


def _has_two(mistake: Asked) -> bool:
    return len({picture.name for picture, _ in mistake[0].pairs}) > 1


def _mistake(one: Asked) -> Html:
    """The true pair beside the one that was preferred, or as high; one picture is shown once."""
    question, answer = one
    other = next(n for n in answer.top if n != question.right)
    word = "as high" if question.right in answer.top else "higher"
    (picture, text), (another, wrong) = question.pairs[question.right], question.pairs[other]
    true = _said("true", text, answer.scores[question.right])
    false = _said(word, wrong, answer.scores[other])
    if not _has_two(one):
        return _figure(picture, *true, *false)
    return el("div", _figure(picture, *true), _figure(another, *false), class_="pair")


def _said(word: str, text: str, score: float | None) -> list[Html]:
    value = "" if score is None else f" {score:.4f}"
    return [el("b", word, el("code", value)), _quoted(text)]


def _quoted(text: str) -> Html:
    return el("q", short(text, _LONGEST), dir="auto")


def _figure(picture: Picture, *caption: Html) -> Html:
    address = thumbnail(picture.read())
    seen = (
        el("img", src=address, alt=short(picture.name, 80), loading="lazy")
        if address.startswith(DATA)
        else el("div", address, class_="none")
    )
    return el("figure", seen, el("figcaption", *caption))


def _gallery(figures: Iterator[Html]) -> Html | None:
    shown = [*figures]
    return el("div", *shown, class_="gallery") if shown else None


def _scorer(record: Json) -> Html:
    scorer = record["scorer"]
    chain = [*scorer["after"], scorer]
    rows = [
        [one["name"], one["class"], str(one["version"]), one["fingerprint"], _plain(one)]
        for one in chain
    ]
    ways = {
        "pairs": "Every pair was scored as in a build.",
        "vectors": "Each picture and each text was encoded once, and the score of a pair is the"
        " cosine of its stored vectors (half precision), which was compared with the score that"
        " the scorer writes.",
    }
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return join(
        [
            el("p", ways[record["scored_by"]]),
            table(["Scorer", "class", "version", "fingerprint", "parameters"], rows, texts=5),
            el("p", f"Questions: version {record['version']}. {versions}", class_="soft small"),
        ]
    )


def _plain(one: Json) -> Html:
    said = ", ".join(f"{name}: {value}" for name, value in one["parameters"].items())
    return el("span", short(said, 400), class_="rule")
