"""Which caption each picture of the pool is learnt with: one list of samples per arm.

What an arm can leave to the project's own parts, it leaves to them: rules and mixing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.recaption.damage import Flags
from pipeline.keys import draw_bits
from recaption.choice import Mixed


class Sample(NamedTuple):
    """A picture, by its row, and a text to learn it with."""

    row: int
    text: str


@dataclass(frozen=True)
class Material:
    """The pool: what people said, what is left of it, what was found bad, what a captioner says."""

    keys: tuple[bytes, ...]
    human: tuple[str, ...]
    raw: tuple[str, ...]
    is_bad: Flags
    is_flagged: Flags
    short: tuple[str | None, ...]
    tags: tuple[str | None, ...]
    classes: tuple[str, ...]


def of(texts: Sequence[str | None]) -> list[Sample]:
    """The rows that have a text."""
    return [Sample(row, text) for row, text in enumerate(texts) if text]


def without(texts: Sequence[str], is_out: Flags) -> list[Sample]:
    return [Sample(row, text) for row, text in enumerate(texts) if not is_out[row]]


def filled(material: Material) -> list[Sample]:
    """The synthetic caption where the raw one was found bad; a row that lacks it then is out."""
    chosen = zip(material.is_flagged, material.short, material.raw, strict=True)
    return of([short if is_flagged else raw for is_flagged, short, raw in chosen])


def mixed(material: Material, share: float) -> list[Sample]:
    """This share of synthetic captions, drawn by key; the raw one stands where there is none."""
    scorer = Mixed(synthetic="synthetic", raw="caption", raw_rate=1 - share)
    batch = {"key": material.keys, "caption": material.raw, "synthetic": material.short}
    found = scorer({name: list(values) for name, values in batch.items()})["captions"]
    return of([row[0]["text"] for row in found])


def shuffled(material: Material, seed: int) -> list[Sample]:
    """Synthetic captions dealt out anew within each class."""
    samples = of(material.short)
    keys = [material.keys[sample.row] for sample in samples]
    classes = [material.classes[sample.row] for sample in samples]
    return dealt(samples, keys, classes, seed)


def dealt(
    samples: Sequence[Sample], keys: Sequence[bytes], classes: Sequence[str], seed: int
) -> list[Sample]:
    """The same rows and texts, each text with another row of its class; drawn by key and seed."""
    order = sorted(range(len(samples)), key=lambda n: draw_bits(keys[n], seed, "recaption-deal"))
    groups: dict[str, list[int]] = {}
    for number in order:
        groups.setdefault(classes[number], []).append(number)
    texts = [sample.text for sample in samples]
    for own in groups.values():
        for number, other in zip(own, [*own[1:], own[0]], strict=True):
            texts[number] = samples[other].text
    return [Sample(sample.row, text) for sample, text in zip(samples, texts, strict=True)]


Make = Callable[[Material, int], list[Sample]]
ARMS: dict[str, Make] = {
    "raw": lambda m, _: of(m.raw),
    "drop the bad": lambda m, _: without(m.raw, m.is_flagged),
    "fill the bad": lambda m, _: filled(m),
    "replace all": lambda m, _: of(m.short),
    "mix .50": lambda m, _: mixed(m, 0.5),
    "oracle": lambda m, _: of(m.human),
}
"""The main arms, with all seeds."""
MORE: dict[str, Make] = {
    "shuffled in class": shuffled,
    "drop the bad, oracle": lambda m, _: without(m.raw, m.is_bad),
    "bare tags": lambda m, _: of(m.tags),
    "mix .25": lambda m, _: mixed(m, 0.25),
    "mix .75": lambda m, _: mixed(m, 0.75),
}
"""With fewer seeds."""
