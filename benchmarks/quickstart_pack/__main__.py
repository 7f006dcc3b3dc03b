"""Builds the pack: `python -m benchmarks.quickstart_pack --data CACHE --out configs/quickstart`.

CACHE keeps the Debian packages. The same bytes each time, as long as Pillow and its codecs stay.
"""

import argparse
import csv
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.quickstart_pack.credits import LICENCES
from benchmarks.quickstart_pack.faults import STEPS, Counts, plan
from benchmarks.quickstart_pack.files import File, make_file
from benchmarks.quickstart_pack.originals import load_originals, read_items
from benchmarks.quickstart_pack.packages import unpack

SEED = 0


def build(data: Path, out: Path) -> list[File]:
    """Write photos/, faults.csv and attributions.csv below `out`; photos that were there go."""
    originals = list(load_originals(read_items(), unpack(data)))
    by_name = {original.item.name: original for original in originals}
    plans = plan([original.item for original in originals], SEED, Counts())
    files = [make_file(planned, by_name, SEED) for planned in plans]
    names = [f"{number:04d}.{file.extension}" for number, file in enumerate(files, start=1)]
    _write_photos(out / "photos", names, files)
    _write_faults(out / "faults.csv", names, files)
    _write_attributions(out / "attributions.csv", names, files)
    return files


def _write_photos(folder: Path, names: Sequence[str], files: Sequence[File]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, file in zip(names, files, strict=True):
        (folder / name).write_bytes(file.content)
        (folder / name).with_suffix(".txt").write_text(file.planned.caption, encoding="utf-8")


def _write_faults(path: Path, names: Sequence[str], files: Sequence[File]) -> None:
    home = {
        file.planned.item.name: name
        for name, file in zip(names, files, strict=True)
        if file.planned.item and file.planned.of != file.planned.item
    }
    rows = []
    for name, file in zip(names, files, strict=True):
        planned = file.planned
        of = home[planned.of.name] if planned.of else ""
        step = STEPS[planned.fault]
        language = planned.item.language if planned.item else "en"
        rows.append(
            [name, planned.fault, of, "drop" if step else "keep", step, language, planned.how]
        )
    _write_table(path, ["file", "fault", "of", "expect", "step", "language", "note"], rows)


def _write_attributions(path: Path, names: Sequence[str], files: Sequence[File]) -> None:
    header = ["file", "author", "licence", "licence_url", "source_url", "package"]
    rows = (
        [
            name,
            file.credit.author,
            file.credit.licence,
            LICENCES[file.credit.licence],
            file.credit.source_url or "",
            file.place,
        ]
        for name, file in zip(names, files, strict=True)
    )
    _write_table(path, header, rows)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quickstart_pack")
    parser.add_argument("--data", type=Path, required=True, help="cache of the Debian packages")
    parser.add_argument("--out", type=Path, default=Path("configs/quickstart"))
    options = parser.parse_args()
    files = build(options.data, options.out)
    size_bytes = sum(len(file.content) for file in files)
    print(f"{options.out}: {len(files)} pictures, {size_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
