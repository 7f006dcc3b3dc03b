"""Prints what scoring costs beside the models: two scorers in one pass, overlap, and peak memory.

    python -m benchmarks.scoring [--images 256] [--rounds 5]
    python -m benchmarks.scoring --captions 10 [--images 16] [--rounds 3]

The first table has two open_clip models (random weights) alone and in one pass over the same pool:
what both need, as a share of the dearer one with reading and decoding plus the cheaper one's own
time over images that are decoded already. The rounds take turns, the medians count.
The second has a model that runs elsewhere, as on a GPU: for each batch it sleeps as long as one
core needs to read and decode it. Read ahead in threads, both take turns no more.
The third has the peak memory of `pairmill score` with one process over pools of more and more
shards of one size.

With `--captions` it is another table alone: what a column of so many captions of each image costs,
in times of a column of one.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow as pa

from benchmarks.clip import BATCH, SIZES, SMALL, save_model, save_photos
from benchmarks.measure import measure, python, table
from benchmarks.several_captions import ratios
from pipeline import decoding, storage
from pipeline.build import Build
from pipeline.recipe import parse_recipe
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob
from pipeline.shards import read_shard

LARGER = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "layers": 8, "width": 256}}
RECIPE = """\
sources: {{photos: {{folder: photos/}}}}
score:
{scorers}
select: [{{all: {{where: key is not null}}}}]
ingest: {{rows_per_shard: {rows}}}
"""
CLIP = (
    '  {name}: {{scorer: clip, model: "local-dir:{model}", batch_size: {batch},'
    " columns: {{clip_score: {name}_score, clip_truncated: {name}_truncated}}}}\n"
)
Cost = tuple[float, float]  # wall and CPU seconds


@dataclass(frozen=True)
class Elsewhere:
    """A model on a device that leaves the cores alone: its batches take time, and no CPU."""

    batch_s: float = 0.1
    batch_size: int = BATCH
    device: str = "elsewhere"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema([("seen", pa.bool_())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        time.sleep(self.batch_s)
        return {"seen": [True] * len(batch["image"])}


def clip_line(name: str, model: Path) -> str:
    return CLIP.format(name=name, model=model, batch=BATCH)


def ingested(root: Path, scorers: str, rows: int, out: str = "out") -> Build:
    text = RECIPE.format(scorers=scorers, rows=rows)
    build = Build(parse_recipe(text, str(root / "recipe.yaml")), str(root / out))
    build.ingest()
    return build


def scoring(build: Build, names: tuple[str, ...], **changes: Any) -> Callable[[], dict[str, Any]]:
    """Scores the first shard by some of the scorers, from nothing each time."""
    made = build.open_pool()
    chosen = tuple(i for i in build.resolve(made)[0].instances if i.name in names)
    scorers = [dataclasses.replace(i.scorer, **changes) for i in chosen]
    pairs = zip(chosen, scorers, strict=True)
    job = ScoreJob(made.root, tuple(dataclasses.replace(i, scorer=s) for i, s in pairs))

    def run() -> dict[str, Any]:
        for instance in job.instances:
            storage.remove(instance.columns.folder)
        return score_shard(made.shards[0], job)

    return run


def own(build: Build, name: str) -> Callable[[], None]:
    """Runs one scorer over images of the first shard that are decoded already."""
    made = build.open_pool()
    scorer = next(i.scorer for i in build.resolve(made)[0].instances if i.name == name)
    samples = list(read_shard(f"{made.root}/pool/{made.shards[0].name}.tar"))
    images = [decoding.decode(sample.parts["jpg"], scorer.image_request) for sample in samples]
    texts = [sample.parts["txt"].decode() for sample in samples]

    def run() -> None:
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            scorer({"image": images[part], "caption": texts[part]})

    return run


def timed(run: Callable[[], Any]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def medians(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Cost]:
    """What each way costs; they take turns, and the first turn only warms up."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            cost = timed(way)
            if turn:
                costs[name].append(cost)
    return {
        name: (statistics.median(w for w, _ in found), statistics.median(c for _, c in found))
        for name, found in costs.items()
    }


def two_scorers(work: Path, images: int, rounds: int) -> list[list[str]]:
    rows = []
    for sizes in SIZES:
        root = work / sizes
        save_photos(root / "photos", SIZES[sizes], images)
        lines = clip_line("dear", work / "dear") + clip_line("cheap", work / "cheap")
        build = ingested(root, lines, rows=100_000)
        ways: dict[str, Callable[[], Any]] = {
            "dear": scoring(build, ("dear",)),
            "cheap": scoring(build, ("cheap",)),
            "both": scoring(build, ("dear", "cheap")),
            "own": own(build, "cheap"),
        }
        found = medians(ways, rounds)
        shares = [found["both"][i] / (found["dear"][i] + found["own"][i]) for i in (0, 1)]
        times = [f"{1000 * found[name][1] / images:.2f}" for name in ways]
        rows.append([sizes, *times, *(f"{share:.2f}" for share in shares)])
    return rows


def overlap(work: Path, images: int, rounds: int) -> list[list[str]]:
    root = work / "large"
    build = ingested(root, f"  far: {{scorer: '{__name__}:Elsewhere'}}", 100_000, "far")
    decoding_s = statistics.median(
        scoring(build, ("far",), batch_s=0.0, device="cpu")()["wait_s"] for _ in range(3)
    )
    batch_s = decoding_s / (images / BATCH)
    ways: dict[str, Callable[[], Any]] = {
        "one after the other": scoring(build, ("far",), batch_s=batch_s, device="cpu"),
        "ahead": scoring(build, ("far",), batch_s=batch_s),
    }
    found = medians(ways, rounds)
    return [
        [name, f"{found[name][0]:.2f}", f"{found[name][1]:.2f}", f"{way()['wait_s']:.2f}"]
        for name, way in ways.items()
    ]


def memory(work: Path, images: int) -> list[list[str]]:
    rows = []
    for shards in (2, 8, 32):
        root, each = work / f"flat-{shards}", images // 8
        save_photos(root / "photos", SIZES["usual"], shards * each)
        text = RECIPE.format(scorers=clip_line("dear", work / "dear"), rows=each)
        (root / "recipe.yaml").write_text(text)
        ingested(root, clip_line("dear", work / "dear"), each)
        words = ["score", f"{root}/recipe.yaml", "--out", f"{root}/out", "--engine", "local"]
        cost = measure([python(), "-m", "pipeline", *words])
        rows.append([f"{shards * each:,}", f"{shards}", f"{cost.peak_bytes / 1e6:.0f}"])
    return rows


def several_captions(work: Path, images: int, captions: int, rounds: int) -> None:
    head = ["scorer", "one caption", f"{captions} captions", "times"]
    print("CPU ms per image\n", flush=True)
    print(table(head, list(ratios(work, images, captions, rounds))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--captions", type=int, help="of each image; then this table alone")
    options = parser.parse_args()
    few = options.captions is not None
    options.images = options.images or (16 if few else 256)
    options.rounds = options.rounds or (3 if few else 5)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if few:
            several_captions(work, options.images, options.captions, options.rounds)
            return
        for name, config in {"dear": LARGER, "cheap": SMALL}.items():
            save_model(work / name, config)
        head = ["pictures", "dear", "cheap", "both", "cheap alone", "share, wall", "share, CPU"]
        print("CPU ms per image; both / (dear + the cheap model alone)\n", flush=True)
        print(table(head, two_scorers(work, options.images, options.rounds)), flush=True)
        print("\nReading and decoding beside a model elsewhere\n", flush=True)
        head = ["", "wall s", "CPU s", "waiting for data s"]
        print(table(head, overlap(work, options.images, options.rounds)), flush=True)
        print("\nPeak memory of one process, pages shared with others aside\n", flush=True)
        head = ["images in the pool", "shards", "MB"]
        print(table(head, memory(work, options.images)), flush=True)


if __name__ == "__main__":
    main()
