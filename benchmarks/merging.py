"""Prints what token merging costs in agreement, of a small trained ViT, and gains on a ViT-B/16.

    OMP_NUM_THREADS=1 python -m benchmarks.merging --data DIR [--steps 200] [--rounds 7]

Agreement and quality are those of a small CLIP (twelve blocks, 64 patches) that is trained here,
from nothing, on the drawings of `benchmarks.embedded` and asked about others; its weights are kept
in DIR. Speed is that of a ViT-B/16 with random weights, for speed does not depend on them: CPU time
of the image tower in batches of 8, beside open_clip's own `encode_image` and beside the same code
without merging. The ways take turns and medians count.

A plan of the ViT-B/16 merges COUNT of its 196 patches in a block; that of the small one the same
share of its 64, so that both have lost as much after each block.
"""

import argparse
import hashlib
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.embedded.pairs import Pair, read_pairs
from benchmarks.embedded.splits import part
from benchmarks.measure import table
from benchmarks.pictures import field
from filters.clip import ClipScore
from filters.clip_weights import Source, load
from filters.merging import ToMe, merged_encode_image, parse_plan
from filters.merging import after_blocks as merged_blocks
from pipeline.merging_cost import agreement_of, spearman

SIDE, BLOCKS, PATCHES = 64, 12, 64
LARGE_PATCHES = 196
CONTEXT = 16
CONFIG = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": SIDE,
        "layers": BLOCKS,
        "width": 96,
        "head_width": 32,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": 49408,
        "width": 128,
        "heads": 4,
        "layers": 1,
    },
}
PREPARED = {
    "mean": [0.5] * 3,
    "std": [0.5] * 3,
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
BATCH, RATE, WARMUP, DECAY, SHIFT = 128, 1e-3, 30, 0.1, 5
SPEED_BATCH = 8
SWAPPED, KEPT = 0.3, 0.3
PLANS = ("tome:4", "tome:8", "tome:8:-1", "tome:13", "tome:16", "pitome:0.95", "pitome:0.9")
_PER_CAPTION = 5
SOURCES = ("clipart", "emoji", "stamps")

Pixels = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawings:
    """Drawings [n, SIDE, SIDE, 4] with captions: those to learn from, and those to ask about.

    On white, most patches of a drawing would be equal and merging them no loss. So each lies on a
    window of `ground`, which has the spectrum of photographs.
    """

    images: Pixels
    ground: Pixels
    captions: list[str]
    learnt: list[int]
    asked: list[int]


def read_drawings(data: Path) -> Drawings:
    """All drawings; one is learnt from if all its names are, and asked if caption and concept."""
    pairs = [pair for pair in read_pairs(data) if pair.source in SOURCES]
    named = "\n".join(pair.path for pair in pairs).encode("utf-8", "surrogatepass")
    cache = data / f"drawings-{SIDE}-rgba-{hashlib.sha256(named).hexdigest()[:16]}.npy"
    if not cache.exists():
        np.save(cache, np.stack([thumbnail(data / pair.path) for pair in pairs]))
    own = [{part(pair.caption), part(pair.concept)} for pair in pairs]
    others = [{part(name) for name in pair.other_names} for pair in pairs]
    return Drawings(
        np.load(cache),
        field(),
        [pair.caption for pair in pairs],
        [i for i in range(len(pairs)) if own[i] | others[i] == {"train"}],
        _few([i for i in range(len(pairs)) if own[i] == {"test"}], pairs),
    )


def _few(rows: list[int], pairs: Sequence[Pair]) -> list[int]:
    """At most five of a caption: one, "star", has 1,377 drawings."""
    seen: Counter[str] = Counter()
    found = []
    for row in rows:
        seen[pairs[row].caption] += 1
        if seen[pairs[row].caption] <= _PER_CAPTION:
            found.append(row)
    return found


def thumbnail(path: Path) -> Pixels:
    """The drawing without its margins, squashed to a square, with its transparency."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    picture = picture.crop(picture.getchannel("A").getbbox())
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def placed(drawing: Pixels, ground: Pixels, dice: np.random.Generator) -> Pixels:
    """The drawing on a window of the ground, a few pixels aside, every second one mirrored."""
    if dice.random() < 0.5:
        drawing = drawing[:, ::-1]
    wide = np.pad(drawing, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    top, left = dice.integers(0, 2 * SHIFT + 1, 2)
    drawing = wide[top : top + SIDE, left : left + SIDE]
    y, x = dice.integers(0, len(ground) - SIDE, 2)
    under = ground[y : y + SIDE, x : x + SIDE].astype(np.float32)
    share = drawing[:, :, 3:].astype(np.float32) / 255
    return (drawing[:, :, :3] * share + under * (1 - share)).astype(np.uint8)


def train(drawings: Drawings, steps: int) -> Any:
    """The small CLIP after so many steps: CLIP's loss, pictures of one caption share the target."""
    torch.manual_seed(0)
    dice = np.random.default_rng(0)
    model = open_clip.CLIP(**CONFIG)
    tokens = open_clip.SimpleTokenizer(context_length=CONTEXT)(drawings.captions)
    optimizer = torch.optim.AdamW(_groups(model), lr=RATE, betas=(0.9, 0.98))
    names = np.array([caption.lower() for caption in drawings.captions])
    order: list[int] = []
    for step in range(steps):
        warm = min(1, (step + 1) / WARMUP)
        for group in optimizer.param_groups:
            group["lr"] = RATE * warm * 0.5 * (1 + np.cos(np.pi * step / steps))
        if len(order) < BATCH:
            order = dice.permutation(drawings.learnt).tolist()
        rows, order = order[:BATCH], order[BATCH:]
        images = _as_input(
            np.stack([placed(drawings.images[row], drawings.ground, dice) for row in rows])
        )
        with torch.autocast("cpu", torch.bfloat16):
            seen = model.encode_image(images, normalize=True).float()
            read = model.encode_text(tokens[rows], normalize=True).float()
        logits = model.logit_scale.exp().clamp(max=100) * seen @ read.T
        same = torch.from_numpy(names[rows][:, None] == names[rows][None]).float()
        same /= same.sum(dim=1, keepdim=True)
        entropy = torch.nn.functional.cross_entropy
        loss = entropy(logits, same) + entropy(logits.T, same)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def _groups(model: Any) -> list[dict[str, Any]]:
    wide = [p for p in model.parameters() if p.ndim > 1]
    narrow = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": wide, "weight_decay": DECAY}, {"params": narrow, "weight_decay": 0.0}]


def _as_input(images: Pixels) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def small_clip(data: Path, drawings: Drawings, steps: int) -> str:
    """The name of the trained model's folder, which is made if it is not there."""
    folder = data / f"small-clip-{steps}"
    if not (folder / "open_clip_config.json").exists():
        folder.mkdir(exist_ok=True)
        started = time.process_time()
        state = train(drawings, steps).state_dict()
        print(f"trained in {time.process_time() - started:.0f} s of CPU time", flush=True)
        save_file(state, folder / "open_clip_model.safetensors")
        text = json.dumps({"model_cfg": CONFIG, "preprocess_cfg": PREPARED})
        (folder / "open_clip_config.json").write_text(text)
    return f"local-dir:{folder}"


def scaled(text: str) -> str:
    """The plan of the small model that merges the same share of patches up to each block."""
    plan = parse_plan(text)
    if not isinstance(plan, ToMe):
        return text  # a share already
    sums = np.cumsum(plan.schedule(BLOCKS)) * PATCHES / LARGE_PATCHES
    counts = np.diff(np.round(sums).astype(int), prepend=0)
    return f"tome:{','.join(map(str, counts))}"


@dataclass(frozen=True)
class Asked:
    """Scores of held-out pairs, some of whom have the caption of another, and recall at ten."""

    scores: Doubles
    recall: float


def ask(model: str, merge: str | None, drawings: Drawings, captions: list[str]) -> Asked:
    """Score the drawings against these captions, and look for their own among all of them."""
    scorer = ClipScore(model, merge=merge, embeddings=True, batch_size=64)
    values = scorer({"image": asked_images(drawings), "caption": captions})
    own = [drawings.captions[row] for row in drawings.asked]
    names = sorted(set(own))
    vectors = scorer.encode_texts(names)
    cosines = np.stack(values["clip_image"]).astype(np.float32) @ vectors.T
    right = cosines[np.arange(len(own)), [names.index(name) for name in own]]
    recall = float(np.mean((cosines > right[:, None]).sum(axis=1) < 10))
    return Asked(np.array(values["clip_score"], np.float64), recall)


def asked_images(drawings: Drawings) -> list[Pixels]:
    dice = np.random.default_rng(2)
    return [placed(drawings.images[row], drawings.ground, dice) for row in drawings.asked]


def drop(model: str, merge: str, drawings: Drawings, captions: list[str]) -> Doubles:
    """Scores when each block loses as many patches as the plan merges, but at random, and whole.

    What merging keeps beyond this is its own; a model that looks at little loses little here, too.
    """
    visual = load(Source(model)).model.visual
    images = _as_input(np.stack(asked_images(drawings)))
    dice = torch.Generator().manual_seed(3)
    parts = []
    with torch.inference_mode():
        plan = merged_blocks(visual, images[:1], parse_plan(merge))
        counts = [tokens.values.shape[1] for tokens in plan]
        for start in range(0, len(images), 64):
            tokens = visual._embeds(images[start : start + 64])
            for block, count in zip(visual.transformer.resblocks, counts, strict=True):
                order = torch.randperm(tokens.shape[1] - 1, generator=dice) + 1
                tokens = block(tokens)[:, [0, *order[: count - 1].tolist()]]
            parts.append(visual._pool(tokens)[0] @ visual.proj)
    seen = torch.nn.functional.normalize(torch.cat(parts)).numpy()
    read = ClipScore(model, batch_size=64).encode_texts(captions)
    scores: Doubles = np.einsum("ij,ij->i", seen, read).astype(np.float64)
    return scores


def swap(own: list[str]) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """The captions, a share of them another's, and which those are."""
    dice = np.random.default_rng(1)
    rows = dice.permutation(len(own))[: int(SWAPPED * len(own))]
    captions = list(own)
    for row, other in zip(rows, np.roll(rows, 1), strict=True):
        captions[row] = own[other]
    return captions, np.array([given != true for given, true in zip(captions, own, strict=True)])


def auc(scores: Doubles, is_wrong: npt.NDArray[np.bool_]) -> float:
    """How often a right pair scores above a wrong one."""
    right, wrong = scores[~is_wrong], np.sort(scores[is_wrong])
    return float(np.searchsorted(wrong, right).mean() / len(wrong))


def print_agreement(data: Path, steps: int) -> None:
    drawings = read_drawings(data)
    model = small_clip(data, drawings, steps)
    own = [drawings.captions[row] for row in drawings.asked]
    captions, is_wrong = swap(own)
    plain = ask(model, None, drawings, captions)
    print(
        f"small CLIP, {len(drawings.learnt):,} drawings learnt, {len(own):,} others asked, of"
        f" {len(set(own)):,} captions (chance of R@10 {10 / len(set(own)):.3f})\n"
    )
    rows = [["none", "", "", "", "", f"{auc(plain.scores, is_wrong):.3f}", f"{plain.recall:.3f}"]]
    for plan in PLANS:
        found = ask(model, scaled(plan), drawings, captions)
        agrees = agreement_of(plain.scores, found.scores, KEPT)
        dropped = spearman(plain.scores, drop(model, scaled(plan), drawings, captions))
        figures = [agrees.spearman, dropped, agrees.overlap, agrees.largest]
        figures += [auc(found.scores, is_wrong), found.recall]
        rows.append([plan, *("" if f is None else f"{f:.4f}" for f in figures)])
    header = ["plan", "Spearman", "if dropped", f"overlap of top {KEPT}", "largest shift"]
    print(table([*header, "AUC, swapped captions", "R@10"], rows), flush=True)


def print_speed(rounds: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    visual = open_clip.create_model("ViT-B-16").visual.eval()
    images = torch.randn(SPEED_BATCH, 3, 224, 224)
    ways: dict[str, Callable[[], Any]] = {"encode_image": partial(visual, images)}
    for text in ("tome:0", *PLANS):
        ways[text] = partial(merged_encode_image, visual, images, parse_plan(text))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, way in ways.items():
                started = time.process_time()
                way()
                if turn:  # the first warms up
                    seconds[name].append(time.process_time() - started)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    rows = [
        [
            name,
            f"{SPEED_BATCH / median:.2f}",
            f"{medians['tome:0'] / median:.2f}",
            f"{medians['encode_image'] / median:.2f}",
        ]
        for name, median in medians.items()
    ]
    print(table(["ViT-B/16", "images/s", "of unmerged", "of encode_image"], rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="packages of benchmarks.embedded")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_agreement(options.data, options.steps)
    print()
    print_speed(options.rounds)


if __name__ == "__main__":
    main()
