"""chrF: how far a translation shares its runs of characters with another text, 0 to 100.

Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation", with β = 2 and n = 6.
White space is left out, case counts.
"""

from collections import Counter
from collections.abc import Sequence

LONGEST, BETA = 6, 2.0


def chrf(found: str, wanted: str) -> float:
    """The score of one text against another.

    Precision and recall are means over the lengths of n-gram that both texts have, so that short
    texts are not punished for having no long ones. Two texts without characters are equal.
    """
    return _score([_matches(found, wanted)])


def corpus_chrf(found: Sequence[str], wanted: Sequence[str]) -> float:
    """The score of many texts, each against its own: matches are counted over all of them."""
    return _score([_matches(f, w) for f, w in zip(found, wanted, strict=True)])


Counts = list[tuple[int, int, int]]  # of each length: shared, in the one, in the other


def _matches(found: str, wanted: str) -> Counts:
    one, other = "".join(found.split()), "".join(wanted.split())
    counts = []
    for n in range(1, LONGEST + 1):
        here, there = _grams(one, n), _grams(other, n)
        shared = sum((here & there).values())
        counts.append((shared, sum(here.values()), sum(there.values())))
    return counts


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[start : start + n] for start in range(len(text) - n + 1))


def _score(parts: Sequence[Counts]) -> float:
    sums = [tuple(map(sum, zip(*counts, strict=True))) for counts in zip(*parts, strict=True)]
    known = [(shared, here, there) for shared, here, there in sums if here and there]
    if not known:
        return 100.0 if all(here == there for _, here, there in sums) else 0.0
    precision = sum(shared / here for shared, here, _ in known) / len(known)
    recall = sum(shared / there for shared, _, there in known) / len(known)
    if precision + recall == 0:
        return 0.0
    weight = BETA**2
    return 100 * (1 + weight) * precision * recall / (weight * precision + recall)
