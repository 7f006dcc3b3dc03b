"""AUC and recall of likelihoods on rows, by kind of mark and opacity, and false alarms."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.marks.lures import LURES
from benchmarks.marks.material import Plan
from benchmarks.marks.overlays import WATERMARKS

Array = npt.NDArray[np.float64]
_REPLICATES = 400
KINDS = ("watermark", "logo")


def tables(plans: Sequence[Plan], likely: Array, labels: npt.NDArray[np.bool_]) -> Iterator[str]:
    """Markdown: thresholds are such that 1 % and 5 % of the unmarked rows are above."""
    for kind, name in enumerate(KINDS):
        below = ~np.asarray(labels.any(axis=1))
        bounds = [float(np.quantile(likely[below, kind], 1 - share)) for share in (0.01, 0.05)]
        yield (
            f"\n{name}: unmarked {below.sum()}, a likelihood of {bounds[0]:.3f} is above 99 % of"
            f" them, {bounds[1]:.3f} above 95 %\n"
        )
        yield "| marks | n | AUC (95 %) | found at 1 % | found at 5 % | mean likelihood |"
        yield "|---|---|---|---|---|---|"
        for title, chosen in _groups(plans, name):
            if chosen.any():
                yield _row(title, likely[:, kind], (chosen, below), (plans, bounds))
    yield "\n| unmarked | n | watermark: mean | above .5 | logo: mean | above .5 |"
    yield "|---|---|---|---|---|---|"
    for title, chosen in _unmarked(plans):
        cells = [
            f"{likely[chosen, k].mean():.3f} | {(likely[chosen, k] > 0.5).mean():.3f}"
            for k in range(2)
        ]
        yield f"| {title} | {chosen.sum()} | {' | '.join(cells)} |"


def _groups(plans: Sequence[Plan], name: str) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    what = np.array([plan.what for plan in plans])
    opacity = np.array([plan.opacity for plan in plans])
    sources = np.array([plan.base.kind for plan in plans])
    kinds = list(WATERMARKS) if name == "watermark" else ["logo corner", "logo middle"]
    own = np.isin(what, kinds)
    yield "all", own
    for source in ("photo", "screen", "drawing"):
        yield f"on a {source}", own & (sources == source)
    for level in sorted({*opacity[own]}):
        yield f"opacity {level:g}", own & (opacity == level)
    for kind in kinds:
        yield kind, what == kind
        for level in sorted({*opacity[what == kind]}):
            yield f"{kind}, opacity {level:g}", (what == kind) & (opacity == level)


def _unmarked(plans: Sequence[Plan]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    what = np.array([plan.what for plan in plans])
    sources = np.array([plan.base.kind for plan in plans])
    for source in ("photo", "screen", "drawing"):
        yield f"clean {source}", (what == "clean") & (sources == source)
    for kind in LURES:
        yield kind, what == kind


def _row(
    title: str,
    likely: Array,
    sides: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
    given: tuple[Sequence[Plan], list[float]],
) -> str:
    chosen, below = sides
    plans, bounds = given
    groups = np.unique([f"{p.base.package} {p.base.name}" for p in plans], return_inverse=True)[1]
    value = auc(likely[chosen], likely[below])
    low, high = _interval(likely, chosen, below, groups)
    found = " | ".join(f"{(likely[chosen] > bound).mean():.2f}" for bound in bounds)
    return (
        f"| {title} | {chosen.sum()} | {value:.3f} ({low:.3f} to {high:.3f}) | {found} |"
        f" {likely[chosen].mean():.2f} |"
    )


def auc(above: Array, below: Array) -> float:
    """How often one of the first scores above one of the second; ties are halves."""
    ordered = np.sort(below)
    places = np.searchsorted(ordered, above, "left") + np.searchsorted(ordered, above, "right")
    return float(places.mean() / 2 / len(below))


def _interval(
    likely: Array,
    chosen: npt.NDArray[np.bool_],
    below: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.int64],
) -> tuple[float, float]:
    """95 % of what the AUC is when the pictures under the marks are drawn again."""
    dice = np.random.default_rng(0)
    count = int(groups.max()) + 1
    found = []
    for _ in range(_REPLICATES):
        times = np.bincount(dice.integers(0, count, count), minlength=count)[groups]
        above = np.repeat(likely[chosen], times[chosen])
        if len(above):
            found.append(auc(above, np.repeat(likely[below], times[below])))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
