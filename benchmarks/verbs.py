"""CPU and memory of every verb and scorer over JPEGs of 700 px, against loops that do as much.

    python -m benchmarks.verbs --data FOLDER [--count 4000] [--rivals]
    python -m benchmarks.verbs --data FOLDER --flat [--count 100000] [--photos FOLDER]

CPU counts all processes; what starting the program costs is measured on one picture and taken off
where a row says so. `--rivals` installs Data-Juicer in an environment of its own and runs the
work it shares with us: width, height, caption length, perceptual hash, duplicates. `--flat` says
instead how the memory of each verb grows from 4,000 pictures to `--count`, all of which are kept
and written, with embeddings beside; `--photos` takes pictures that are there already.
"""

import argparse
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Cost, machine, measure, python, table
from benchmarks.pictures import make

WHOLE = """\
sources:
  photos: {{folder: {photos}}}
score:
  image: {{}}
  caption: {{}}
  duplicates: {{}}
select:
  - readable:  {{where: width is not null}}
  - described: {{where: caption_words between 2 and 64}}
  - unique:    {{one_per: dup_group, best: short_side}}
export: {{samples_per_shard: 1000, image: original, seed: 0}}
"""
KEPT = """\
sources:
  photos: {{folder: {photos}}}
score:
  image: {{}}
  caption: {{}}
  hashes: {{}}
  vectors: {{scorer: "benchmarks.vectors:Vectors"}}
select:
  - readable: {{where: width is not null}}
export: {{samples_per_shard: 1000, image: original, seed: 0, embeddings: [vector]}}
"""
FEW = 4000
ONE = """\
pool: {pool}
score:
  {scorer}
select:
  - all: {{where: key is not null}}
"""
SCORERS = {
    "image": "image: {}",
    "caption": "caption: {}",
    "language": "language: {}",
    "hashes (phash)": "hashes: {}",
    "hashes (all)": "hashes: {kinds: [phash, ahash, dhash, whash, pixels_sha256]}",
    "clip (embedded)": "clip: {model: embedded}",
}
LOOP = """
import hashlib, io, sys, tarfile
from pathlib import Path
import imagehash, numpy as np
from PIL import Image
seen = 0
for path in sorted(Path(sys.argv[1]).glob("*.tar")):
    with tarfile.open(path) as tar:
        for member in tar:
            if not member.name.endswith(".jpg"):
                continue
            data = tar.extractfile(member).read()
            image = Image.open(io.BytesIO(data)).convert("RGB")
            hashlib.sha256(data).hexdigest()
            imagehash.phash(image)
            seen += 1
print(seen)
"""
_ALSO = ("imagededup", "aiohttp")  # what it imports and does not ask for
RIVAL = """\
project_name: bench
dataset_path: {table}
export_path: {out}/out.jsonl
np: 2
text_keys: text
image_key: images
process:
  - image_shape_filter: {{min_width: 1, min_height: 1}}
  - image_aspect_ratio_filter: {{min_ratio: 0.333, max_ratio: 3.0}}
  - text_length_filter: {{min_len: 2, max_len: 1000}}
  - image_deduplicator: {{method: phash}}
"""


def pairmill(verb: str, recipe: Path, out: Path, engine: str = "local") -> Cost:
    """One verb as its own program."""
    command = [python(), "-m", "pipeline", verb, str(recipe), "--out", str(out)]
    return measure([*command, "--engine", engine], env={"OMP_NUM_THREADS": "1"})


def verb_rows(work: Path, photos: Path, one: Path, count: int) -> Iterator[list[str]]:
    """Every verb of the whole recipe, then their sum, start-up taken off."""
    total = start = 0.0
    peak = 0
    for verb in ("ingest", "score", "select", "export"):
        cost = pairmill(verb, _recipe(work, "whole", photos), work / "out")
        base = pairmill(verb, _recipe(work, "one", one), work / "out-one")
        total, start, peak = total + cost.cpu_s, start + base.cpu_s, max(peak, cost.peak_bytes)
        yield _row(verb, cost.cpu_s - base.cpu_s, count, cost.peak_bytes, f"{base.cpu_s:.1f}")
    yield _row("all four", total - start, count, peak, f"{start:.1f}")


def flat_rows(work: Path, photos: dict[int, Path]) -> Iterator[list[str]]:
    """Peak memory of every verb over few pictures and over many, all of them written."""
    peaks: dict[str, list[str]] = {}
    for count, folder in photos.items():
        out = work / f"flat-{count}"
        recipe = _recipe(work, f"flat-{count}", folder, KEPT)
        for verb in ("ingest", "score", "select", "export"):
            cost = pairmill(verb, recipe, out)
            cells = [f"{cost.peak_bytes / 1e6:.0f}", f"{1000 * cost.cpu_s / count:.2f}"]
            peaks.setdefault(verb, []).extend(cells)
        shutil.rmtree(out)
    yield from ([verb, *cells] for verb, cells in peaks.items())


def scorer_rows(work: Path, count: int) -> Iterator[list[str]]:
    """Every scorer alone, over the pool that the whole recipe made."""
    for number, (name, line) in enumerate(SCORERS.items()):
        costs = []
        for pool in (work / "out", work / "out-one"):
            recipe = work / f"scorer-{number}-{pool.name}.yaml"
            recipe.write_text(ONE.format(pool=pool, scorer=line))
            for folder in line.split(":")[:1]:
                shutil.rmtree(pool / "columns" / folder, ignore_errors=True)
            costs.append(pairmill("score", recipe, work / f"scorer-{number}"))
        cost, base = costs
        yield _row(name, cost.cpu_s - base.cpu_s, count, cost.peak_bytes, f"{base.cpu_s:.1f}")


def loop_row(work: Path, count: int) -> list[str]:
    """A bare loop of tarfile, Pillow and imagehash over the same tars."""
    script = work / "loop.py"
    script.write_text(LOOP)
    cost = measure([python(), str(script), str(work / "out" / "pool")])
    return _row("bare loop: sha256, phash", cost.cpu_s, count, cost.peak_bytes, "in it")


def rival_row(work: Path, photos: Path, count: int) -> list[str]:
    """Data-Juicer with two processes, in an environment of its own."""
    import json

    env = work / "data-juicer"
    if not (env / "bin" / "dj-process").exists():
        subprocess.run([python(), "-m", "venv", str(env)], check=True)
        install = [str(env / "bin" / "pip"), "install", "-q", "py-data-juicer==1.6.1", *_ALSO]
        subprocess.run(install, check=True)
    rows = work / "rows.jsonl"
    with rows.open("w") as stream:
        for path in sorted(photos.glob("*.jpg")):
            text = path.with_suffix(".txt").read_text()
            stream.write(json.dumps({"text": text, "images": [str(path)]}) + "\n")
    config = work / "rival.yaml"
    config.write_text(RIVAL.format(table=rows, out=work / "rival"))
    cost = measure([str(env / "bin" / "dj-process"), "--config", str(config)])
    return _row("Data-Juicer, 2 processes", cost.cpu_s, count, cost.peak_bytes, "in it")


def _recipe(work: Path, name: str, photos: Path, text: str = WHOLE) -> Path:
    path = work / f"{name}.yaml"
    path.write_text(text.format(photos=photos))
    return path


def _row(name: str, cpu_s: float, count: int, peak: int, start: str) -> list[str]:
    return [name, f"{1000 * cpu_s / count:.2f}", f"{peak / 1e6:.0f}", start]


def _flat(options: argparse.Namespace, work: Path) -> str:
    many = options.photos or options.data / "many"
    if options.photos is None:
        make(many, options.count)
    make(options.data / "photos", FEW)
    counts = {FEW: options.data / "photos", options.count: many}
    header = ["what"]
    for count in counts:
        header += [f"peak MB, {count:,}", "CPU ms per image, start-up in it"]
    return table(header, list(flat_rows(work, counts)))


def _costs(options: argparse.Namespace, work: Path) -> str:
    photos, one = options.photos or options.data / "photos", options.data / "one"
    if options.photos is None:
        make(photos, options.count)
    make(one, 1)
    rows = [*verb_rows(work, photos, one, options.count), *scorer_rows(work, options.count)]
    rows.append(loop_row(work, options.count))
    if options.rivals:
        rows.append(rival_row(options.data, photos, options.count))
    header = ["what", "CPU ms per image", "peak MB", "start-up CPU s (taken off)"]
    return f"{options.count} JPEGs of 700 x 525\n\n{table(header, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""))
    parser.add_argument("--data", type=Path, required=True, help="where pictures and builds go")
    parser.add_argument("--count", type=int)
    parser.add_argument("--photos", type=Path, help="as many pictures and texts as --count says")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--flat", action="store_true", help="memory at 4,000 and at --count")
    options = parser.parse_args()
    options.count = options.count or (100_000 if options.flat else FEW)
    work = options.data / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    found = _flat(options, work) if options.flat else _costs(options, work)
    print(f"{machine()}\n\n{found}")


if __name__ == "__main__":
    main()
