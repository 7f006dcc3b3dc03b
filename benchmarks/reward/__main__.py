"""`python -m benchmarks.reward --data DIR [--ship FILE]`: kinds not learnt from, then the head.

Prints accuracy within an image and AUC across images on held-out drawings, beside the cosine and
beside the same head with pictures dealt out by chance. With `--ship` the head is written.
"""

import argparse
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.embedded.report import Bench
from benchmarks.reward import figures, learning, vectors
from benchmarks.reward.captions import DAMAGED, EXCHANGED, VARIANTS
from benchmarks.reward.drawings import Maker, Material
from benchmarks.reward.figures import Scores
from benchmarks.reward.learning import taught
from filters import embedded
from pipeline.reward.heads import Head

KINDS = (*DAMAGED, *EXCHANGED)
TESTED = VARIANTS[:2]


def exchanging(material: Material) -> dict[str, Head]:
    """For each kind the head that learnt from exchanged captions, but not from those of the kind.

    Damaged captions are learnt from by none of them.
    """
    tables = material.train, material.validation
    found = {kind: taught(*tables, [one]) for kind, one in (EXCHANGED, EXCHANGED[::-1])}
    both = taught(*tables, EXCHANGED)
    return {kind: found.get(kind, both) for kind in KINDS}


def all_but_one(material: Material) -> dict[str, Head]:
    """For each kind the head that learnt from all others, damaged captions among them."""
    tables = material.train, material.validation
    return {kind: taught(*tables, [k for k in KINDS if k != kind]) for kind in KINDS}


def report(material: Material, part: str) -> Iterator[str]:
    """Tables in Markdown, on one part."""
    counts = {name: len(getattr(material, name)) for name in ("train", "validation", "test")}
    yield f"comparisons: {counts}"
    table, blind = getattr(material, part), material.blind[part]
    heads, others = exchanging(material), all_but_one(material)
    for variant in TESTED:
        kinds = [f"{variant} {kind}" for kind in KINDS if f"{variant} {kind}" in table.kinds]
        own, rest = ({k: arm[k.partition(" ")[2]] for k in kinds} for arm in (heads, others))
        shown = {
            "reward": figures.scored(own, table),
            "cosine": figures.cosines(kinds, table),
            "blind": figures.scored(own, blind),
            "blind cosine": figures.cosines(kinds, blind),
            "all": figures.scored(rest, table),
            "blind all": figures.scored(rest, blind),
        }
        yield _table(variant, kinds, shown)


def _table(variant: str, kinds: Sequence[str], shown: dict[str, Scores]) -> str:
    lines = [
        f"\n| {variant} captions | n | reward | cosine | gain (95 %) | blind | blind cosine"
        " | all but one | blind |",
        "|" + "---|" * 9,
    ]
    damaged = [kind for kind in kinds if kind.partition(" ")[2] in DAMAGED]
    exchanged = [kind for kind in kinds if kind not in damaged]
    rows = [(kind.partition(" ")[2], [kind]) for kind in kinds]
    for name, own in [*rows, ("mean of damaged", damaged), ("mean of exchanged", exchanged)]:
        lines.append(f"| {name} | {_cells(own, shown, 'accuracy')} |")
    lines.append(f"| all damaged | {_cells(damaged, shown, 'pooled')} |")
    for name, own in rows[-len(exchanged) :]:
        lines.append(f"| AUC, {name} | {_cells(own, shown, 'auc')} |")
    return "\n".join(lines)


def _cells(kinds: Sequence[str], shown: dict[str, Scores], what: str) -> str:
    value = {name: getattr(scores, what)(kinds) for name, scores in shown.items()}
    count = sum(len(shown["reward"].groups[kind]) for kind in kinds)
    gain, low, high = figures.gain(shown["reward"], shown["cosine"], kinds, what)
    cells = [f"{count:,}", f"{value['reward']:.3f}", f"{value['cosine']:.3f}"]
    cells.append(f"{gain:+.3f} ({low:+.3f} to {high:+.3f})")
    rest = ("blind", "blind cosine", "all", "blind all")
    return " | ".join([*cells, *(f"{value[name]:.3f}" for name in rest)])


def ship(material: Material, path: Path) -> None:
    """Write the head that learnt from exchanged captions, for the encoder that ships."""
    head = taught(material.train, material.validation, EXCHANGED)
    numbers = material.test.numbers  # its vectors of others are of the encoder that ships
    assert numbers is not None
    arrays = learning.arrays_of(head, material.train, numbers)
    data = learning.file_of(arrays, numbers, embedded.weights_digest())
    path.write_bytes(data)
    print(f"{path}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    names = [*(f"cosine of part {n}" for n in range(len(numbers.parts))), "usual", "its deviation"]
    names += ["its soft maximum", "patches to words", "words to patches", "usual word"]
    names += ["its deviation"]
    for name, weight in zip(names, arrays["out"][0], strict=True):
        print(f"{name}: {weight:.3f}")
    print(f"cosine: {arrays['cosine'][0]:.3f}")


def main() -> None:
    """Measure, and write the head if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dev", action="store_true", help="measure on validation, not on test")
    parser.add_argument("--ship", type=Path, metavar="FILE", help="where to write the head")
    parser.add_argument(
        "--vectors", nargs="+", choices=vectors.ARMS, help="heads over vectors instead"
    )
    parser.add_argument(
        "--reserve", type=float, default=0.0, help="of --vectors: concepts kept from the encoder"
    )
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if chosen.vectors:
        for told in vectors.report(chosen.data, chosen.vectors, chosen.reserve, chosen.dev):
            print(told, flush=True)
        return
    material = Maker(chosen.data, Bench(chosen.data)).material()
    if chosen.ship:
        ship(material, chosen.ship)
    for told in report(material, "validation" if chosen.dev else "test"):
        print(told, flush=True)


if __name__ == "__main__":
    main()
