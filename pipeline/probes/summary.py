"""What the figures say in words: for the terminal, and for the top of the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.probes.figures import ABOVE, AT, BELOW, Figure
from pipeline.probes.measuring import Outcome

_OF_FAULTS = {ABOVE: "more than chance", AT: "no more than chance", BELOW: "less than chance"}
_OF_BIAS = {ABOVE: "biased", AT: "no bias found", BELOW: "reversed"}
_GROUND = "things"


def verdict(figure: Figure) -> str:
    """How a figure stands to chance, in words."""
    found = figure.note or figure.verdict
    if not figure.is_fault:
        return found
    return (_OF_BIAS if figure.is_difference else _OF_FAULTS).get(found, found)


def percent(value: float | None) -> str:
    """A share for a person."""
    return "–" if value is None else f"{100 * value:.1f} %"


def told(figure: Figure) -> str:
    """A figure with its interval; a difference is no share."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "–"
    if figure.is_difference:
        return f"{figure.value:+.2f} ({figure.low:+.2f} to {figure.high:+.2f})"
    return f"{percent(figure.value)} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def chance(figure: Figure) -> str:
    """What guessing gives."""
    return "0" if figure.is_difference else percent(figure.chance)


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """A table for the terminal: the figures that stand for each probe."""
    rows = [
        (outcome.probe.told.title if n == 0 else "", figure)
        for outcome in outcomes
        for n, figure in enumerate(outcome.heads)
    ]
    wide = max((len(title) for title, _ in rows), default=0)
    label = max((len(figure.label) for _, figure in rows), default=0)
    shown = [
        f"{title:<{wide}}  {figure.label:<{label}}  {told(figure):>24}"
        f"  chance {chance(figure):>7}  {verdict(figure)}"
        for title, figure in rows
    ]
    return [line.rstrip() for line in shown]


def notices(record: Mapping[str, Any], outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader must know before the figures."""
    return [
        *_about_fits(record),
        *_about_drawings(outcomes),
        *_about_values(record, outcomes),
        *_about_files(outcomes),
    ]


def _about_fits(record: Mapping[str, Any]) -> list[str]:
    return [
        f"The scorer {name} learns from a pool before it scores. Here it was fitted on"
        f" {rows:,} of the pairs of this probe, true and false ones: what depends on that is"
        " not what a build gives."
        for name, rows in record["fitted"].items()
    ]


def _about_drawings(outcomes: Sequence[Outcome]) -> list[str]:
    ground = [outcome for outcome in outcomes if outcome.probe.name == _GROUND]
    blind = [f.label for one in ground for f in one.measured.figures if f.verdict != ABOVE]
    if not blind:
        return []
    what = " and ".join(blind)
    return [
        f"Of a single drawn thing the score does not tell the {what}. Low figures of the other"
        " drawn probes may come from that alone; ask about photographs, too."
    ]


def _about_values(record: Mapping[str, Any], outcomes: Sequence[Outcome]) -> list[str]:
    lost = [f"{one.probe.told.title}: {one.unanswered:,}" for one in outcomes if one.unanswered]
    if not lost:
        return []
    why = ", ".join(f"{reason} ({n:,})" for reason, n in record["no_value"].items())
    because = f" Reasons, by picture or pair: {why}." if why else " No reason is given."
    return [f"No value, and so no answer, for some questions. {'; '.join(lost)}.{because}"]


def _about_files(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{one.probe.told.title}: {one.probe.notice}"
        for one in outcomes
        if one.probe.notice is not None
    ]
