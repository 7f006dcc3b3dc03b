"""What is easily taken for a mark and is none: captions, signs, icons as pictures, patterns."""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from benchmarks.marks.bases import Pixels
from benchmarks.marks.inks import Inks
from benchmarks.marks.overlays import Dice, levels


def lure(kind: str, given: tuple[Pixels, Inks], dice: Dice) -> Pixels:
    """The picture with such a thing of a kind of LURES in it or in its place."""
    return LURES[kind](*given, dice)


def _caption(picture: Pixels, inks: Inks, dice: Dice) -> Pixels:
    """A line or two across the foot or the head, opaque: subtitles, memes, slogans."""
    height, width = picture.shape[:2]
    found = picture.copy()
    is_top = dice.random() < 0.3
    room = round(height * dice.uniform(0.1, 0.2))
    top = 0 if is_top else height - room
    if dice.random() < 0.5:
        found[top : top + room] = dice.choice(np.array([0, 255, dice.integers(0, 256)]))
    text = inks.text(inks.pick("sayings", dice), 64, dice)
    scale = min(0.85 * width / text.shape[1], 0.7 * room / text.shape[0])
    colour = 255 if found[top : top + room].mean() < 128 else 0
    return _written(found, text, scale, (width // 2, top + room // 2), np.full(3, colour))


def _sign(picture: Pixels, inks: Inks, dice: Dice) -> Pixels:
    """A board or letters in the scene: opaque, in perspective, as sharp and lit as the scene."""
    height, width = picture.shape[:2]
    text = inks.text(inks.pick("sayings", dice), 72, dice)
    has_icon = dice.random() < 0.3
    board = np.pad(text, [(text.shape[0] // 2,) * 2, (text.shape[0] // 2 + 4,) * 2])
    if has_icon:
        icon = inks.icon(len(board) - 8, dice, "pictograms")
        icon = np.pad(icon, ((4, len(board) - 4 - len(icon)), (8, 4)))
        board = np.concatenate([icon, board], axis=1)
    ground, letters = dice.integers(0, 256, (2, 3)).astype(np.float64)
    if np.abs(ground - letters).max() < 80:
        letters = 255 - ground if abs(ground.mean() - 128) > 40 else np.full(3, 255.0)
    face = ground + board[:, :, None] * (letters - ground)
    wide = dice.uniform(0.25, 0.6) * width
    high = min(wide * board.shape[0] / board.shape[1], 0.5 * height)
    left, top = dice.random() * (width - wide), dice.random() * (height - high)
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]]) + np.array([left, top])
    corners += dice.uniform(-0.12, 0.12, (4, 2)) * (wide * 0.5, high)
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * board.shape[::-1]
    turn = cv2.getPerspectiveTransform(source.astype(np.float32), corners.astype(np.float32))
    shown = cv2.warpPerspective(face, turn, (width, height), flags=cv2.INTER_AREA)
    is_flat = dice.random() < 0.35  # letters on a wall rather than a board
    mask = cv2.warpPerspective(
        board if is_flat else np.ones(board.shape), turn, (width, height), flags=cv2.INTER_AREA
    )
    light = cv2.GaussianBlur(picture, (0, 0), 9).astype(np.float64).mean(axis=2, keepdims=True)
    shown = (letters if is_flat else shown) * (0.5 + 0.5 * light / 255)
    mixed = picture * (1 - mask[:, :, None]) + shown * mask[:, :, None]
    return levels(mixed)


def _icon(picture: Pixels, inks: Inks, dice: Dice) -> Pixels:
    """An icon, or a brand's sign, that is the picture itself, on one colour."""
    height, width = picture.shape[:2]
    ground, ink = dice.integers(0, 256, (2, 3)).astype(np.float64)
    if dice.random() < 0.5:
        ground = np.full(3, 255.0)
    if np.abs(ground - ink).max() < 80:
        ink = np.zeros(3) if ground.mean() > 128 else np.full(3, 255.0)
    found = np.broadcast_to(ground.round().astype(np.uint8), picture.shape).copy()
    side = round(dice.uniform(0.5, 0.9) * min(height, width))
    icon = inks.icon(side, dice, "icons" if dice.random() < 0.5 else "pictograms")
    return _written(found, icon, 1, (width // 2, height // 2), ink)


def _pattern(picture: Pixels, inks: Inks, dice: Dice) -> Pixels:
    """Grids, stripes, dots or checks: the whole picture, or opaque in a part of it."""
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, step = dice.uniform(0, np.pi), dice.uniform(0.02, 0.12) * width
    u = (columns * np.cos(angle) + rows * np.sin(angle)) / step
    v = (rows * np.cos(angle) - columns * np.sin(angle)) / step
    share = dice.uniform(0.08, 0.5)
    kind = dice.integers(4)
    if kind == 0:
        ink = u % 1 < share
    elif kind == 1:
        ink = (u % 1 < share / 2) | (v % 1 < share / 2)
    elif kind == 2:
        ink = (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < share**2 / 3
    else:
        ink = (np.floor(u) + np.floor(v)) % 2 > 0
    soft = cv2.GaussianBlur(ink.astype(np.float32), (0, 0), 0.7)[:, :, None]
    ground, colour = dice.integers(0, 256, (2, 3)).astype(np.float64)
    drawn = levels(ground + soft * (colour - ground))
    if dice.random() < 0.5:
        return drawn
    found = picture.copy()
    left, top = int(dice.integers(0, width // 2)), int(dice.integers(0, height // 2))
    place = slice(top, top + height // 2), slice(left, left + width // 2)
    found[place] = drawn[place]
    return found


def _page(picture: Pixels, inks: Inks, dice: Dice) -> Pixels:
    """A page of text, with the picture on it at times."""
    height, width = picture.shape[:2]
    light = int(dice.integers(215, 256))
    found = np.full_like(picture, light)
    line = max(8, round(dice.uniform(0.025, 0.06) * height))
    at = line
    if dice.random() < 0.5:
        small = Image.fromarray(picture).resize((width // 2, height // 2), Image.Resampling.BOX)
        found[line : line + height // 2, line : line + width // 2] = np.asarray(small)
        at = height // 2 + 2 * line
    ink = np.full(3, dice.integers(0, 90))
    while at + line < height:
        said = " ".join(inks.pick("sayings", dice) for _ in range(4))
        text = inks.text(said, line, dice)[:, : width - 2 * line]
        centre = line + text.shape[1] // 2, at + text.shape[0] // 2
        found = _written(found, text, 1, centre, ink)
        at += round(1.6 * line)
    return found


LURES: dict[str, Callable[[Pixels, Inks, Dice], Pixels]] = {
    "caption": _caption,
    "sign": _sign,
    "icon": _icon,
    "pattern": _pattern,
    "page": _page,
}


def _written(
    picture: Pixels, mask: np.ndarray, scale: float, centre: tuple[int, int], colour: np.ndarray
) -> Pixels:
    """The mask in one opaque colour, its middle at `centre`; what sticks out is cut off."""
    size = max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    left, top = max(0, centre[0] - size[0] // 2), max(0, centre[1] - size[1] // 2)
    small = small[: height - top, : width - left, None]
    found = picture.astype(np.float64)
    place = slice(top, top + small.shape[0]), slice(left, left + small.shape[1])
    found[place] = found[place] * (1 - small) + colour * small
    return levels(found)
