"""`python -m benchmarks.judges STEP --data DIR`: the offline judges, what they ship and find.

Steps: ship (write the drawings that they compare with, print the numbers that they learn), table
(drawings that nobody has learnt), quickstart (its planted wrong captions).
"""

import argparse
from pathlib import Path

from benchmarks.embedded import heads
from benchmarks.embedded.report import LEARNT, Bench
from benchmarks.embedded.splits import Part
from benchmarks.judges import bank, figures, fitting
from benchmarks.judges.questions import Questions
from benchmarks.reward.captions import TESTED_FRAMES
from benchmarks.reward.drawings import RESERVE, Maker
from benchmarks.reward.material import few, retrained
from filters import embedded
from filters.reference import shipped
from pipeline.keys import draw

FILE = Path("filters/reference_embedded.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judges", description=__doc__)
    parser.add_argument("step", choices=("ship", "table", "quickstart"))
    parser.add_argument("--data", type=Path, help="DIR of benchmarks.embedded")
    parser.add_argument("--dev", action="store_true", help="other drawings than those of the test")
    chosen = parser.parse_args()
    if chosen.step == "quickstart":
        from benchmarks.judges import quickstart

        print(quickstart.table())
        return
    if chosen.data is None:
        parser.error("--data is missing")
    bench = Bench(chosen.data)
    if chosen.step == "ship":
        rows = bank.rows_of(bench.pairs, _lessons(bench))
        bank.write(FILE, bench, rows)
        print(f"{FILE}: {FILE.stat().st_size:,} bytes, {len(rows)} drawings")
        print(fitting.learn(_reserve(bench, chosen.data)[0]))
        return
    questions = _reserve(bench, chosen.data)[1] if chosen.dev else _test(bench)
    for told in figures.report(questions, fitting.SHIPPED):
        print(told, flush=True)


def _lessons(bench: Bench) -> list[heads.Lesson]:
    return bench.lessons(heads.Settings().sources, LEARNT)


def _reserve(bench: Bench, data: Path) -> tuple[Questions, Questions]:
    """Drawings that heads trained anew without them don't know: to learn from, and to choose by."""
    kept = {True: list[heads.Lesson](), False: list[heads.Lesson]()}
    for one in _lessons(bench):
        place = draw(str(one.concept).encode(), 0, "reward-benchmark-reserve")
        kept[place < RESERVE].append(one)
    own = retrained(bench, data, kept[False], heads.Settings())
    reference = bank.reference(bench, bank.rows_of(bench.pairs, kept[False]), own)
    first, second = Maker(data, bench).sides(kept[True])
    return (
        Questions.of(bench, first, own, reference),
        Questions.of(bench, second, own, reference),
    )


def _test(bench: Bench) -> Questions:
    """Drawings whose captions and concepts the encoder has not learnt, as in the reward's test."""
    parts: tuple[Part, ...] = ("test",)
    lessons = few(heads.lessons(bench.pairs, heads.Settings().sources, parts))
    rows = Maker(Path(), bench).rows(lessons, TESTED_FRAMES)
    return Questions.of(bench, rows, embedded.read_heads(), shipped())


if __name__ == "__main__":
    main()
