"""Histograms as inline SVG: all rows that have a value behind those that were kept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.report_html import Html, count, el, number

_BINS = 36
_MOST_LINES = 8
_LONG_TAIL = 60.0  # a column whose middle spans more than this ratio gets a logarithmic axis
_WIDTH, _HEIGHT, _TOP, _BOTTOM = 300.0, 132.0, 26.0, 16.0
_HIDDEN = 0.12  # kept bars lower than this share of the chart are drawn taller, and it is said
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A threshold to draw: where, and what it is."""

    value: float
    label: str


@dataclass(frozen=True)
class Histogram:
    """Counts by bin; `low` and `high` tell whether the end bins hold what lies beyond."""

    edges: Values
    every: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]
    is_log: bool = False
    is_whole: bool = False  # one bin for each whole number
    low: bool = False
    high: bool = False

    def place(self, value: float) -> float:
        """Where a value is drawn, from 0 to 1; beyond the ends it is at them."""
        first, last = float(self.edges[0]), float(self.edges[-1])
        value = min(max(value, first), last)
        if self.is_log:
            return math.log(value / first) / math.log(last / first)
        return (value - first) / (last - first)


def histogram(values: Values, kept: npt.NDArray[np.bool_], lines: Sequence[Line]) -> Histogram:
    """Bins that show the bulk of the values and the thresholds near it. There must be a value."""
    least, most = float(values.min()), float(values.max())
    # The outermost 0.5 % on either side do not decide how wide the chart is.
    first, last = (float(v) for v in np.quantile(values, [0.005, 0.995]))
    inner = [line.value for line in lines if least <= line.value <= most]
    first, last = min([first, *inner]), max([last, *inner])
    whole = bool(np.all(values == np.floor(values)))
    if whole and most - least <= _BINS:
        edges = np.arange(least - 0.5, most + 1, 1.0)
        return _counted(values, kept, edges, is_whole=True)
    if least == most or first == last:
        width = abs(first) / 2 or 0.5
        return _counted(values, kept, np.linspace(first - width, first + width, 4))
    if first > 0 and last / first > _LONG_TAIL:
        edges = np.geomspace(first, last, _BINS + 1)
        return _counted(values, kept, edges, is_log=True)
    return _counted(values, kept, _even(first, last, least, most, whole))


def _even(first: float, last: float, least: float, most: float, whole: bool) -> Values:
    """Bins of one width from the first to the last, which may begin at zero if that is near."""
    if least >= 0 and first < 0.15 * (last - first):
        first = 0.0
    if not whole:
        return np.linspace(first, last, _BINS + 1)
    # Bins of unequal numbers of whole numbers would look like a comb.
    step = max(1, math.ceil((last - first + 1) / _BINS))
    bins = math.ceil((last - first + 1) / step)
    return first - 0.5 + step * np.arange(bins + 1, dtype=np.float64)


def _counted(
    values: Values,
    kept: npt.NDArray[np.bool_],
    edges: Values,
    *,
    is_log: bool = False,
    is_whole: bool = False,
) -> Histogram:
    inside = np.clip(values, edges[0], edges[-1])
    return Histogram(
        edges=edges,
        every=np.histogram(inside, edges)[0].astype(np.int64),
        kept=np.histogram(inside[kept], edges)[0].astype(np.int64),
        is_log=is_log,
        is_whole=is_whole,
        low=bool(values.min() < edges[0]),
        high=bool(values.max() > edges[-1]),
    )


def magnified(found: Histogram) -> int:
    """How many times taller than true the kept bars are drawn, so that one can see them."""
    most, kept = int(found.every.max()), int(found.kept.max())
    if not kept or kept >= _HIDDEN * most:
        return 1
    wanted = 0.6 * most / kept
    power: int = 10 ** math.floor(math.log10(wanted))
    return next(n for n in (5, 2, 1) if n * power <= wanted) * power


def draw(found: Histogram, lines: Sequence[Line], label: str) -> Html:
    """The chart; every bar tells its counts when pointed at, `label` tells the chart in words."""
    factor = magnified(found)
    return el(
        "svg",
        el("title", label),
        *_bars(found, factor),
        *_axis(found),
        *_lines(found, lines),
        viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
        role="img",
    )


def _bars(found: Histogram, factor: int) -> Iterator[Html]:
    base, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    width = _WIDTH / len(found.every)
    scale = room / max(int(found.every.max()), 1)
    for n, (every, kept) in enumerate(zip(found.every.tolist(), found.kept.tolist(), strict=True)):
        if not every:
            continue
        x, inner = n * width, max(width - 1, 1.0)
        height = max(every * scale, 0.8)
        shown = min(kept * scale * factor, room)
        bars = [el("rect", x=x, y=base - height, width=inner, height=height, class_="all")]
        if kept:
            y, look = base - max(shown, 0.8), "kept" if factor == 1 else "taller"
            bars.append(el("rect", x=x, y=y, width=inner, height=base - y, class_=look))
        said = f"{_range(found, n)}: {count(every)} rows, {count(kept)} kept"
        yield el("g", el("title", said), *bars)


def _range(found: Histogram, n: int) -> str:
    first, last = float(found.edges[n]), float(found.edges[n + 1])
    if found.is_whole:
        return number(first + 0.5)
    if n == 0 and found.low:
        return f"up to {number(last)}"
    if n == len(found.every) - 1 and found.high:
        return f"{number(first)} and more"
    return f"{number(first)} to {number(last)}"


def _axis(found: Histogram) -> Iterator[Html]:
    y = _HEIGHT - _BOTTOM
    yield el("line", x1=0, y1=y, x2=_WIDTH, y2=y, class_="axis")
    for value in _ticks(found):
        x = found.place(value) * _WIDTH
        anchor = "start" if x < 12 else "end" if x > _WIDTH - 12 else "middle"
        yield el("line", x1=x, y1=y, x2=x, y2=y + 3, class_="axis")
        yield el("text", _brief(value), x=x, y=y + 13, text_anchor=anchor)


def _ticks(found: Histogram) -> list[float]:
    """Round numbers within the chart, four or so."""
    first, last = float(found.edges[0]), float(found.edges[-1])
    if found.is_log:
        powers = range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)
        fine = [10.0**p for p in powers]
        if len(fine) < 3:
            fine = [m * 10.0**p for p in range(powers.start - 1, powers.stop + 1) for m in (1, 3)]
        inside = [value for value in fine if first <= value <= last]
        return inside[:: math.ceil(len(inside) / 6)] if inside else []
    step = _round_step((last - first) / 4)
    if found.is_whole:
        step = max(1.0, step)
    begin = math.ceil(first / step)
    return [n * step for n in range(begin, math.floor(last / step) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.99)


def _brief(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return number(value)


def _lines(found: Histogram, lines: Sequence[Line]) -> Iterator[Html]:
    """Dashed lines, arrows to those beyond the chart; labels in two rows, one after the other."""
    for n, line in enumerate(sorted(lines, key=lambda one: one.value)[:_MOST_LINES]):
        x = found.place(line.value) * _WIDTH
        y = 9.0 if n % 2 == 0 else 20.0
        if not found.edges[0] <= line.value <= found.edges[-1]:
            beyond = line.value > found.edges[-1]
            told = f"{line.label} →" if beyond else f"← {line.label}"
            anchor = "end" if beyond else "start"
            yield el("text", told, x=x, y=y, class_="cut", text_anchor=anchor)
            continue
        yield el("line", x1=x, y1=y + 2, x2=x, y2=_HEIGHT - _BOTTOM, class_="cut")
        at_end = x > 0.6 * _WIDTH
        anchor = "end" if at_end else "start"
        yield el("text", line.label, x=x - 3 if at_end else x + 3, y=y, class_="cut",
                 text_anchor=anchor)  # fmt: skip
