"""Prints images per second of open_clip scoring: this project beside a bare torch loop.

    python -m benchmarks.clip [--images 256] [--rounds 7]

Both read the same pool tar, decode, prepare, encode and compare, with the same weights (random
ones, saved as a model folder) and the same batch; loading the model is in neither. The rounds of
both take turns and the medians count, in wall clock and in CPU time. ViT-B/32, of which a pair
takes a tenth of a second, gets half of the pictures and rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.decoding import made_up
from pipeline.build import Build
from pipeline.recipe import parse_recipe
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob

BATCH = 32
SMALL = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 224, "layers": 4, "width": 192, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 2, "layers": 2},
}
SIZES = {"usual": ((512, 384), (384, 512), (640, 427), (480, 480)), "large": ((1600, 1200),)}
WORDS = (
    "a",
    "red",
    "car",
    "on",
    "the",
    "road",
    "near",
    "old",
    "town",
    "two",
    "dogs",
    "blue",
    "sky",
)
RECIPE = """\
sources: {{photos: {{folder: photos/}}}}
score: {{clip: {{model: "local-dir:{model}", batch_size: {batch}}}}}
select: [{{all: {{where: key is not null}}}}]
ingest: {{rows_per_shard: 100000}}
"""


def save_model(folder: Path, config: dict[str, Any]) -> None:
    """A model folder with random weights, as open_clip loads it."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    cfg = {name: value for name, value in config.items() if name != "custom_text"}
    save_file(open_clip.CLIP(**cfg).state_dict(), folder / "open_clip_model.safetensors")
    prepared = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    text = json.dumps({"model_cfg": config, "preprocess_cfg": prepared})
    (folder / "open_clip_config.json").write_text(text)


def save_photos(folder: Path, sizes: tuple[tuple[int, int], ...], count: int) -> None:
    """Pictures with the spectrum of photographs and captions of some words."""
    folder.mkdir(parents=True)
    dice = np.random.default_rng(0)
    pictures = [Image.open(BytesIO(made_up(*size, quality=85))) for size in sizes]
    for number in range(count):
        picture = pictures[number % len(pictures)].copy()
        picture.putpixel((number % 300, number // 300), (255, 0, 0))  # no two files are equal
        picture.save(folder / f"{number:05d}.jpg", quality=85)
        caption = " ".join(dice.choice(WORDS, dice.integers(5, 20))) + f" {number}"
        (folder / f"{number:05d}.txt").write_text(caption)


Pair = tuple[torch.Tensor, str]


def read_pairs(tar: str, prepare: Callable[[Image.Image], torch.Tensor]) -> Iterator[Pair]:
    """The pairs of a tar, decoded and prepared one by one."""
    with tarfile.open(tar) as members:
        for member in members:
            data = members.extractfile(member).read()
            if member.name.endswith(".jpg"):
                image = prepare(Image.open(BytesIO(data)).convert("RGB"))
            elif member.name.endswith(".txt"):
                yield image, data.decode()


def bare(tar: str, model_name: str) -> Callable[[], list[float]]:
    """The loop that anybody would write, over one tar: returns the cosines in order."""
    model, prepare = open_clip.create_model_from_pretrained(model_name)
    model.eval()
    tokenize = open_clip.get_tokenizer(model_name)

    def run() -> list[float]:
        scores: list[float] = []
        pairs = read_pairs(tar, prepare)
        with torch.inference_mode():
            while batch := list(islice(pairs, BATCH)):
                images, texts = zip(*batch, strict=True)
                seen = model.encode_image(torch.stack(images), normalize=True)
                read = model.encode_text(tokenize(list(texts)), normalize=True)
                scores += (seen * read).sum(dim=1).tolist()
        return scores

    return run


def ours(build: Build) -> Callable[[], list[float]]:
    """The scoring stage over the only shard of a build's pool, from nothing each time."""
    made = build.open_pool()
    resolved, _ = build.resolve(made)
    job = ScoreJob(made.root, resolved.instances)
    columns = resolved.writers["clip_score"]

    def run() -> list[float]:
        shutil.rmtree(columns.folder, ignore_errors=True)
        score_shard(made.shards[0], job)
        return columns.read(made.shards[0], ["clip_score"])["clip_score"].to_pylist()

    return run


def timed(run: Callable[[], list[float]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def encoding_ms(model_name: str) -> float:
    """What both towers cost for one pair, in CPU milliseconds."""
    model = open_clip.create_model_from_pretrained(model_name, return_transform=False).eval()
    images, texts = torch.rand(BATCH, 3, 224, 224), torch.ones(BATCH, 77, dtype=torch.long)
    costs = []
    for _ in range(5):
        start = time.process_time()
        with torch.inference_mode():
            model.encode_image(images)
            model.encode_text(texts)
        costs.append(time.process_time() - start)
    return min(costs) / BATCH * 1e3


def compare(work: Path, model: Path, sizes: str, images: int, rounds: int) -> None:
    """Print one line: the rates of both, and how many percent ours is of the bare loop's."""
    root = work / sizes
    if not root.exists():
        save_photos(root / "photos", SIZES[sizes], images)
    text = RECIPE.format(model=model, batch=BATCH)
    build = Build(parse_recipe(text, str(root / "recipe.yaml")), str(root / "out"))
    build.ingest()
    ways = {"ours": ours(build), "bare": bare(f"{root}/out/pool/00000.tar", f"local-dir:{model}")}
    scores = {name: way() for name, way in ways.items()}  # warms up, too
    apart = max(abs(a - b) for a, b in zip(*scores.values(), strict=True))
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            costs[name].append(timed(way))
    wall, cpu = (
        {name: statistics.median(cost[i] for cost in found) for name, found in costs.items()}
        for i in (0, 1)
    )
    print(
        f"{model.name:10} {sizes:6} {encoding_ms(f'local-dir:{model}'):6.2f} ms a pair | images/s:"
        f" ours {images / wall['ours']:6.1f}, bare {images / wall['bare']:6.1f},"
        f" ratio {wall['bare'] / wall['ours']:.2f} | in CPU time {cpu['bare'] / cpu['ours']:.2f}"
        f" | scores differ by at most {apart:.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    vit = open_clip.get_model_config("ViT-B-32")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, config, part in (("small", SMALL, 1), ("ViT-B-32", vit, 2)):
            images, rounds = -(-options.images // part), -(-options.rounds // part)
            save_model(work / name, config)
            for sizes in SIZES:
                compare(work / f"{name}-pool", work / name, sizes, images, rounds)


if __name__ == "__main__":
    main()
