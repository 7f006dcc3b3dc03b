"""Rows to learn from, to calibrate with and to measure on: maps of drawn pictures, kept on disk.

A row is drawn by its number alone, so that the same data give the same material.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.marks.bases import Base, Part, Pixels, bases, cut
from benchmarks.marks.inks import Inks, inks
from benchmarks.marks.lures import LURES, lure
from benchmarks.marks.overlays import OPACITIES, WATERMARKS, Dice, Mark, logo, watermark
from filters import embedded, marks_head
from filters.threads import one_thread

_LOG = logging.getLogger(__name__)

COUNTS = {"train": 2400, "validation": 320}
SIZES = ((512, 384), (384, 512), (512, 512), (512, 352))  # of which pictures are a multiple
VERSION = 1  # of what is drawn; another one draws anew
_KINDS = ("photo", "screen", "drawing")
_MIXTURE = (0.6, 0.12, 0.28)
_TESTED = {"photo": 120, "screen": 20, "drawing": 60}  # bases, at most
_CORNER = (0.25, 0.4, 0.6, 1.0)
LOGOS = (0.4, 0.7, 1.0)
_COVERED = 0.03  # share of a cell that a mark covers


_KEPT = ("strokes", "parts", "cells", "is_marked")


class Plan(NamedTuple):
    """What a row shows: `what` is clean, a kind of lure or watermark, or where a logo is."""

    base: Base
    what: str
    opacity: float


class Row(NamedTuple):
    """A drawn picture as the head sees it: maps in half precision, cells [2, h, w], labels."""

    strokes: npt.NDArray[np.float16]
    parts: npt.NDArray[np.float16]
    cells: npt.NDArray[np.bool_]
    is_marked: npt.NDArray[np.bool_]
    plan: Plan


@dataclass(frozen=True)
class Maker:
    """Draws from the packages in a folder."""

    data: Path

    @cached_property
    def bases(self) -> list[Base]:
        return bases(self.data)

    @cached_property
    def inks(self) -> dict[Part, Inks]:
        return {part: inks(self.data, part) for part in ("train", "validation", "test")}

    def plans(self, part: Part) -> list[Plan]:
        """What the rows of a part show."""
        if part == "test":
            return list(_tested(self._of(part)))
        dice = np.random.default_rng([VERSION, len(part)])
        found = []
        pools = self._of(part)
        for _ in range(COUNTS[part]):
            pool = pools[_KINDS[dice.choice(3, p=_mixture(pools))]]
            base = pool[dice.integers(len(pool))]
            found.append(Plan(base, *_what(dice)))
        return sorted(found, key=lambda plan: (plan.base.package, plan.base.name))

    def _of(self, part: Part) -> dict[str, list[Base]]:
        return {k: [b for b in self.bases if b.part == part and b.kind == k] for k in _KINDS}

    def rows(self, part: Part) -> list[Row]:
        """The rows of a part, drawn once and then kept in the folder."""
        plans = self.plans(part)
        kept = self.data / f"marks-{part}-{VERSION}-{len(plans)}.npz"
        if not kept.exists():
            _LOG.info("drawing %d pictures: %s", len(plans), part)
            rows = [self.row(part, place, plan) for place, plan in enumerate(plans)]
            arrays = {
                f"{place} {name}": getattr(row, name)
                for place, row in enumerate(rows)
                for name in _KEPT
            }
            np.savez(kept.with_suffix(".partial.npz"), **arrays)
            kept.with_suffix(".partial.npz").rename(kept)
        with np.load(kept) as stored:
            return [
                Row(*(stored[f"{place} {name}"] for name in _KEPT), plan)  # type: ignore[call-arg]
                for place, plan in enumerate(plans)
            ]

    def row(self, part: Part, place: int, plan: Plan) -> Row:
        """One row: drawn, stored as JPEG, looked at."""
        mark = self.picture(part, place, plan)
        dice = np.random.default_rng([VERSION, place, 1])
        coded = BytesIO()
        Image.fromarray(mark.picture).save(coded, "JPEG", quality=int(dice.integers(60, 96)))
        seen = marks_head.fit(np.asarray(Image.open(coded).convert("RGB")))
        with one_thread():
            strokes, parts = (m[0].half().numpy() for m in embedded.early_maps(seen))
        size = parts.shape[2], parts.shape[1]
        places = (cv2.resize(m, size, interpolation=cv2.INTER_AREA) for m in mark.places)
        cells = np.stack([place > _COVERED for place in places])
        is_marked = np.array([bool(place.any()) for place in mark.places])
        return Row(strokes, parts, cells, is_marked, plan)

    def picture(self, part: Part, place: int, plan: Plan) -> Mark:
        """The pixels of a row, before they are stored."""
        dice = np.random.default_rng([VERSION, len(part), place])
        scale = dice.uniform(0.6, 1.9)
        shape = SIZES[dice.integers(len(SIZES))]
        size = round(shape[0] * scale), round(shape[1] * scale)
        ink = self.inks[part]
        ground = cut(self.data, plan.base, size, dice)
        if plan.what in LURES:
            return _plain(lure(plan.what, (ground, ink), dice))
        if plan.what == "clean":
            return _plain(ground)
        if dice.random() < 0.12:  # marks lie over captions and signs, too
            ground = lure("caption" if dice.random() < 0.5 else "sign", (ground, ink), dice)
        found = _marked(plan, (ground, ink), dice)
        if part == "train" and dice.random() < 0.1:
            other = "corner" if plan.what.startswith("logo") else "logo corner"
            more = _marked(Plan(plan.base, other, plan.opacity), (found.picture, ink), dice)
            return Mark(more.picture, np.maximum(more.places, found.places))
        return found


def _plain(picture: Pixels) -> Mark:
    return Mark(picture, np.zeros((2, *picture.shape[:2]), np.float32))


def _marked(plan: Plan, given: tuple[Pixels, Inks], dice: Dice) -> Mark:
    if plan.what.startswith("logo"):
        return logo(plan.opacity, plan.what == "logo corner", given, dice)
    return watermark(plan.what, plan.opacity, given, dice)


def _mixture(pools: dict[str, list[Base]]) -> npt.NDArray[np.float64]:
    shares = np.array([s if pools[k] else 0 for k, s in zip(_KINDS, _MIXTURE, strict=True)])
    mixed: npt.NDArray[np.float64] = shares / shares.sum()
    return mixed


def _what(dice: Dice) -> tuple[str, float]:
    chance = dice.random()
    if chance < 0.22:
        return "clean", 0.0
    if chance < 0.42:
        return str(dice.choice(list(LURES))), 0.0
    if chance < 0.8:
        kind = str(dice.choice(list(WATERMARKS)))
        return kind, float(dice.uniform(0.25, 1) if kind == "corner" else dice.uniform(0.12, 0.65))
    where = "logo corner" if dice.random() < 0.6 else "logo middle"
    return where, float(1 if dice.random() < 0.5 else dice.uniform(0.3, 1))


def _tested(pools: dict[str, list[Base]]) -> Iterator[Plan]:
    """Each picture clean, with a lure, under three watermarks and under a logo."""
    kinds = [(kind, turn) for turn in range(4) for kind in WATERMARKS]
    turn = 0
    for name, most in _TESTED.items():
        order = np.random.default_rng([VERSION, most]).permutation(len(pools[name]))
        for place in sorted(order[:most]):
            base = pools[name][place]
            yield Plan(base, "clean", 0.0)
            yield Plan(base, list(LURES)[turn % len(LURES)], 0.0)
            for step in range(3):
                kind, level = kinds[(3 * turn + step) % len(kinds)]
                yield Plan(base, kind, (_CORNER if kind == "corner" else OPACITIES)[level])
            where = "logo corner" if turn % 2 else "logo middle"
            yield Plan(base, where, LOGOS[turn // 2 % len(LOGOS)])
            turn += 1
