"""What each offline judge says of questions with known answers, beside the cosine."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.judges.fitting import Learnt
from benchmarks.judges.questions import NEIGHBOUR, OTHER, SHARES, Questions
from benchmarks.proof.figures import calibration
from benchmarks.reward import figures
from benchmarks.reward.captions import DAMAGED, EXCHANGED
from benchmarks.reward.figures import Scores
from filters import caption_marks, hard_negatives, yes_or_no
from filters.reference import Said, Seen

KINDS = (*DAMAGED, *EXCHANGED)
COSINE = "cosine"
Score = Callable[[Seen, Said], float]
Doubles = npt.NDArray[np.float64]


def scores_of(learnt: Learnt) -> dict[str, Score]:
    """The cosine and every offline judge, with what it has learnt."""
    marks = learnt.marks
    return {
        COSINE: lambda seen, said: float(seen.vector @ said.vector),
        "unime_score": hard_negatives.margin,
        "vqa_score": lambda seen, said: yes_or_no.probability(seen, said, learnt.yes),
        "mlm_matching": lambda seen, said: caption_marks.matching(seen, said, marks),
        "mlm_detail": lambda seen, said: caption_marks.detail(seen, said, marks),
        "mlm_quality": caption_marks.quality,
        "mlm_understanding": lambda seen, said: caption_marks.understanding(seen, said, marks),
    }


def scored(questions: Questions, scores: dict[str, Score], is_blind: bool) -> dict[str, Scores]:
    """Each score of both sides of all comparisons, by variant and kind.

    Blind are those of the same captions beside pictures dealt out by chance.
    """
    count = len(questions.seen)
    order = np.random.default_rng(0).permutation(count).tolist() if is_blind else None
    sides = []
    for side in (0, 1):
        pairs = questions.pairs(side, order)
        rows = [[score(*pair) for score in scores.values()] for pair in pairs]
        sides.append(np.array(rows, np.float64))
    kinds = np.array([str(one.kind) for one in questions.comparisons])
    group = np.array([questions.place[one.image] for one in questions.comparisons])
    names = sorted({*kinds})
    groups = {kind: group[kinds == kind] for kind in names}
    return {
        name: Scores({k: (sides[0][kinds == k, n], sides[1][kinds == k, n]) for k in names}, groups)
        for n, name in enumerate(scores)
    }


def report(questions: Questions, learnt: Learnt) -> Iterator[str]:
    """Tables in Markdown."""
    scores = scores_of(learnt)
    found, blind = (scored(questions, scores, is_blind) for is_blind in (False, True))
    for variant in ("short", "long"):
        yield _table(variant, found, blind)
    yield _calibrated("vqa_score", found["vqa_score"], SHARES)
    yield _calibrated("mlm_matching", found["mlm_matching"], ((0.5, (OTHER,)), (0.5, (NEIGHBOUR,))))


def _table(variant: str, found: dict[str, Scores], blind: dict[str, Scores]) -> str:
    """How often a right caption is above a wrong one of each kind, and what a score gains."""
    known = found[COSINE].sides
    kinds = [kind for kind in KINDS if f"{variant} {kind}" in known]
    damaged = [f"{variant} {kind}" for kind in kinds if kind in DAMAGED]
    counts = [len(known[f"{variant} {kind}"][0]) for kind in kinds]
    lines = [
        f"\n| {variant} captions | {' | '.join(kinds)} | all damaged, above the cosine | blind |"
        " AUC, neighbour | above the cosine | AUC, other | above the cosine | blind |",
        "|" + "---|" * (8 + len(kinds)),
        f"| n | {' | '.join(f'{count:,}' for count in counts)} |" + " |" * 7,
    ]
    for name, own in found.items():
        each = [f"{own.accuracy([f'{variant} {kind}']):.3f}" for kind in kinds]
        cells = [*each, _gain(own, found, damaged, "pooled"), f"{blind[name].pooled(damaged):.3f}"]
        for kind in EXCHANGED:
            whole = [f"{variant} {kind}"]
            cells += [f"{own.auc(whole):.3f}", _gain(own, found, whole, "auc")]
        cells.append(f"{blind[name].auc([f'{variant} {OTHER}']):.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gain(own: Scores, found: dict[str, Scores], kinds: list[str], what: str) -> str:
    if own is found[COSINE]:
        return ""
    value, low, high = figures.gain(own, found[COSINE], kinds, what)
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _calibrated(name: str, found: Scores, shares: Sequence[tuple[float, tuple[str, ...]]]) -> str:
    """Whether probabilities hold where half of the captions are right."""
    count = sum(len(found.sides[f"{v} {OTHER}"][0]) for v in ("short", "long"))
    right = np.concatenate([found.sides[f"{v} {OTHER}"][0] for v in ("short", "long")])
    wrong = []
    for share, kinds in shares:
        own = [found.sides[f"{v} {k}"][1] for v in ("short", "long") for k in kinds]
        rows = np.concatenate(own)
        wrong.append(rows[np.arange(round(share * count)) % len(rows)])
    values = np.concatenate([right, *wrong])
    error, tenths = calibration(values, np.arange(len(values)) < count)
    told = " ".join(f"{said:.2f}→{true:.2f}" for _, said, true in tenths)
    return f"\n{name}: calibration error {error:.3f}; tenths, said→right: {told}"
