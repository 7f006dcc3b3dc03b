"""What numbers say of translations: of planted faults, and of what people would have written.

    python -m benchmarks.translation_quality --data DIR [unknown|faults|limits|people]

`DIR` is that of `benchmarks.embedded`, with the captions of tuxpaint-stamps-default. Faults are
planted into people's translations. What is learnt or chosen is so on one half of the captions, by
their picture's name; the other half is what is told. `unknown`: Apertium's words that no dictionary
has. `faults`: AUC of each number, of their mean rank (`translation_ranks`), and of a logistic model
of ranks and flags that has learnt the faults. `limits`: one limit for all directions beside one for
each. `people`: how numbers go with the chrF of machines' translations to people's.
"""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from benchmarks.measure import table
from benchmarks.translation import DIRECTIONS, FAULTS, Stamp, faulty, read_stamps, translate
from filters import logistic
from filters.vectors import Doubles
from recaption import apertium, translation_flags
from recaption.apertium import Apertium
from recaption.chrf import chrf
from recaption.languages import language
from recaption.null_flush import TIMEOUT_S
from recaption.translation_flags import Pair
from recaption.translation_quality import similarities
from recaption.translation_ranks import TranslationRanks

SHARE = 0.05
NUMBERS = ("round_trip", "similarity", "length_ratio")
RANKS = TranslationRanks(of="x", numbers=NUMBERS)
_PENALTY = 1.0
_APART = 15  # captions between one and the one whose translation is taken for its own


class Measured(NamedTuple):
    """Numbers [n, 3] of pairs, how many rules speak of each, and which are of the test half."""

    numbers: Doubles
    flags: Doubles
    is_test: Any

    def half(self, is_test: bool) -> "Measured":
        here = self.is_test == is_test
        return Measured(self.numbers[here], self.flags[here], self.is_test[here])


class Direction(NamedTuple):
    """A direction's captions with people's translations and a machine's, and its engine.

    `back` holds what texts have become on the way back.
    """

    source: str
    target: str
    pairs: tuple[Pair, ...]
    machine: tuple[str, ...]
    is_test: Any
    engine: Any
    back: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"


def directions(stamps: Sequence[Stamp]) -> list[Direction]:
    found = []
    for source, target, make in DIRECTIONS:
        known = [s for s in stamps if {source, target} <= s.captions.keys()]
        one, other, engine = language(source), language(target), make()
        pairs = [Pair(s.captions[source], s.captions[target], one, other) for s in known]
        machine = translate(engine, [pair.source for pair in pairs], source, target)
        tests = np.array([s.is_test for s in known])
        found.append(Direction(source, target, tuple(pairs), tuple(machine), tests, engine, {}))
    return found


def measured(direction: Direction, pairs: Sequence[Pair], is_test: Any) -> Measured:
    texts = [pair.target for pair in pairs]
    new = [text for text in dict.fromkeys(texts) if text not in direction.back]
    back = translate(direction.engine, new, direction.target, direction.source)
    direction.back.update(zip(new, back, strict=True))
    numbers = [
        [chrf(direction.back[pair.target], pair.source) for pair in pairs],
        [np.nan if like is None else like for like in similarities(pairs)],
        [translation_flags.length_ratio(pair) for pair in pairs],
    ]
    flags = [float(len(translation_flags.flags(pair))) for pair in pairs]
    return Measured(np.array(numbers).T, np.array(flags), is_test)


def planted(direction: Direction, fault: str) -> Measured:
    """People's translations with a fault, those that have something to make it of."""
    pairs, found, tests = direction.pairs, [], []
    for place, pair in enumerate(pairs):
        wrong = faulty(fault, pair, pairs[(place + _APART) % len(pairs)])
        if wrong is not None and wrong != pair.target:
            found.append(pair._replace(target=wrong))
            tests.append(bool(direction.is_test[place]))
    return measured(direction, found, np.array(tests))


def _of_people(direction: Direction) -> Measured:
    return measured(direction, direction.pairs, direction.is_test)


class Ranked:
    """Ranks by what a half of people's translations has; a class because it is fitted once."""

    def __init__(self, name: str, learnt: Measured) -> None:
        self._name = name
        self._fitted = RANKS.fit(pa.table(_columns(name, learnt)))

    def means(self, found: Measured) -> Doubles:
        """The rank of the mean of ranks, as `translation_ranks` tells it."""
        rows: dict[str, list[Any]] = {"x": [[_CAPTION]] * len(found.flags)}
        told = RANKS({**rows, **_columns(self._name, found)}, self._fitted)["quality_rank"]
        return np.array([row[0] for row in told], dtype=float)

    def features(self, found: Measured) -> Doubles:
        """Ranks of single numbers, 0.5 where there is none, and the count of flags."""
        ranks = []
        for column, name in enumerate(NUMBERS):
            points = self._fitted.get(f"{self._name} {name}")
            own = found.numbers[:, column]
            if points is None:
                ranks.append(np.full(len(own), 0.5))
                continue
            below, upto = (np.searchsorted(points, own, side) for side in ("left", "right"))
            rank = (below + upto) / (2 * len(points))
            ranks.append(2 * np.minimum(rank, 1 - rank) if name == "length_ratio" else rank)
        return np.stack([*ranks, np.minimum(found.flags, 1)], axis=1)


_CAPTION = dict.fromkeys(("text", "flags"))


def _columns(name: str, found: Measured) -> dict[str, list[Any]]:
    told: dict[str, list[Any]] = {"direction": [[name]] * len(found.flags)}
    for column, number in enumerate(NUMBERS):
        values = found.numbers[:, column].tolist()
        told[number] = [[None if np.isnan(value) else value] for value in values]
    return told


# Faults


def faults(found: Sequence[Direction]) -> None:
    """AUC of each number for each fault and direction, on the half that was not learnt from."""
    head = ("direction", "fault", "captions", *NUMBERS, "rules", "mean rank", "learnt")
    rows = []
    for direction in found:
        people = _of_people(direction)
        ranked = Ranked(direction.name, people.half(False))
        wrong = {fault: planted(direction, fault) for fault in FAULTS}
        learnt = _learnt(ranked, people.half(False), [one.half(False) for one in wrong.values()])
        good = people.half(True)
        for fault, whole in wrong.items():
            bad = whole.half(True)
            if len(bad.flags) < 3:
                continue
            cells = [auc(g, b) for g, b in zip(good.numbers.T, bad.numbers.T, strict=True)]
            cells.append(auc(-good.flags, -bad.flags))
            cells.append(auc(ranked.means(good), ranked.means(bad)))
            cells.append(auc(*(ranked.features(one) @ learnt for one in (good, bad))))
            told = ["–" if value is None else f"{value:.2f}" for value in cells]
            rows.append((direction.name, fault, f"{len(bad.flags)}", *told))
    print("AUC, people's translations above those with a fault\n")
    print(table(head, rows))


def _learnt(ranked: Ranked, good: Measured, bad: Sequence[Measured]) -> Doubles:
    """Weights of ranks and rules that tell good ones from faults."""
    parts = [ranked.features(one) for one in (good, *bad) if len(one.flags)]
    labels = np.concatenate(
        [np.ones(len(parts[0]), bool), *(np.zeros(len(part), bool) for part in parts[1:])]
    )
    weights: Doubles = logistic.fit(np.concatenate(parts), labels, _PENALTY).coefficients[1:]
    return weights


def auc(good: Doubles, bad: Doubles) -> float | None:
    """How often a good one has more than a bad one; a tie is half; None where a value lacks."""
    if np.isnan(good).any() or np.isnan(bad).any():
        return None
    more, same = good[:, None] > bad[None], good[:, None] == bad[None]
    return float((more + 0.5 * same).mean())


# One limit for all, or one for each


def limits(found: Sequence[Direction]) -> None:
    """False alarms and recall where 5 % of all are flagged by one limit, or 5 % of each."""
    people = [_of_people(direction) for direction in found]
    wrong = [planted(direction, "sense") for direction in found]
    rows = []
    for column, number in enumerate(NUMBERS[:2]):
        own = [one.half(False).numbers[:, column] for one in people]
        known = np.concatenate([values[~np.isnan(values)] for values in own])
        one_limit = float(np.quantile(known, SHARE))
        for direction, good, bad, values in zip(found, people, wrong, own, strict=True):
            if np.isnan(values).all():
                continue
            limit = float(np.quantile(values[~np.isnan(values)], SHARE))
            cells = []
            for bound in (one_limit, limit):
                for one in (good, bad):
                    tested = one.half(True).numbers[:, column]
                    cells.append(f"{np.mean(tested < bound):.1%}")
            rows.append((number, direction.name, f"{one_limit:.2f}", *cells[:2], f"{limit:.2f}"))
            rows[-1] = (*rows[-1], *cells[2:])
    for direction, good, bad in zip(found, people, wrong, strict=True):
        ranked = Ranked(direction.name, good.half(False))
        cells = [f"{np.mean(ranked.means(one.half(True)) <= SHARE):.1%}" for one in (good, bad)]
        rows.append(("quality_rank", direction.name, "", "", "", f"{SHARE}", *cells))
    head = ("number", "direction", "one limit", "alarms", "recall", "its own", "alarms", "recall")
    print("False alarms of people's translations, and recall of those of another picture\n")
    print(table(head, rows))


# What people would have written


def people(found: Sequence[Direction]) -> None:
    """Spearman's rho of numbers with the chrF of machines' translations to people's."""
    rows = []
    for direction in found:
        pairs = [
            pair._replace(target=text)
            for pair, text in zip(direction.pairs, direction.machine, strict=True)
        ]
        own = measured(direction, pairs, direction.is_test)
        ranked = Ranked(direction.name, own.half(False))
        truth = np.array(
            [
                chrf(text, pair.target)
                for text, pair in zip(direction.machine, direction.pairs, strict=True)
            ]
        )[direction.is_test]
        tested = own.half(True)
        cells = [rho(values, truth) for values in tested.numbers.T]
        cells += [rho(-tested.flags, truth), rho(ranked.means(tested), truth)]
        told = ["–" if value is None else f"{value:+.2f}" for value in cells]
        rows.append((direction.name, f"{len(truth)}", f"{truth.mean():.1f}", *told))
    print("Spearman's rho with chrF to people's translations\n")
    print(table(("direction", "captions", "chrF", *NUMBERS, "rules", "mean rank"), rows))


def rho(one: Doubles, other: Doubles) -> float | None:
    if np.isnan(one).any():
        return None
    return float(np.corrcoef(_midranks(one), _midranks(other))[0, 1])


def _midranks(values: Doubles) -> Doubles:
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    found: Doubles = (below + upto) / 2
    return found


# Words that Apertium does not know


def unknown(stamps: Sequence[Stamp]) -> None:
    """What is flagged by any unknown word, any that is no name, and as Apertium's engine does."""
    rows = []
    for source, target, make in DIRECTIONS:
        if make is not Apertium:
            continue
        known = [s for s in stamps if {source, target} <= s.captions.keys() and s.is_test]
        texts = [s.captions[source] for s in known]
        marked = _marked(texts, source, target)
        found = translate(Apertium(), texts, source, target)
        truth = np.array(
            [chrf(text, s.captions[target]) for text, s in zip(found, known, strict=True)]
        )
        is_bad = truth < np.quantile(truth, 0.2)
        for name, flagged in marked.items():
            rows.append(
                (
                    f"{source}>{target}",
                    name,
                    f"{flagged.mean():.1%}",
                    f"{flagged[is_bad].mean():.1%}",
                    f"{flagged[~is_bad].mean():.1%}",
                    f"{truth[flagged].mean():.1f}",
                    f"{truth[~flagged].mean():.1f}",
                )
            )
    head = ("direction", "flagged by", "all", "worst fifth", "others", "chrF flagged", "chrF rest")
    print(table(head, rows))


def _marked(texts: Sequence[str], source: str, target: str) -> dict[str, Any]:
    """By rule, which texts are flagged."""
    mode = apertium.mode_of(language(source), language(target))
    assert mode is not None
    line = apertium._Line(apertium.pair(mode), TIMEOUT_S)
    answers = line.translate([apertium._sent(text) for text in texts])
    line.close()
    said = [a.decode("utf-8", "replace") if isinstance(a, bytes) else "" for a in answers]
    pairs = list(zip(said, texts, strict=True))
    every = np.array([len(apertium._unknown(*pair, False)) for pair in pairs])
    others = np.array([len(apertium._unknown(*pair, True)) for pair in pairs])
    words = np.array([len(re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text)) for text in texts])
    return {
        "any": every > 0,
        "any but names": others > 0,
        "more than a third, but names": 3 * others > words,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("part", nargs="?", choices=("unknown", "faults", "limits", "people"))
    options = parser.parse_args()
    stamps = read_stamps(options.data)
    if options.part in (None, "unknown"):
        unknown(stamps)
    parts = {"faults": faults, "limits": limits, "people": people}
    chosen = [parts[options.part]] if options.part in parts else [*parts.values()]
    if options.part != "unknown":
        found = directions(stamps)
        for part in chosen:
            part(found)


if __name__ == "__main__":
    main()
