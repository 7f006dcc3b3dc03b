"""Draws marks over pictures: watermarks of five kinds, logos, and what is easily taken for one.

A mark knows where it lies, so that a learner may be shown the place; one that can't be seen on its
picture is drawn again in black or white.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.marks.bases import Pixels
from benchmarks.marks.inks import Inks, Mask

_VISIBLE = 5.0  # levels of 255 that the ink changes its pixels by, in the mean
Dice = np.random.Generator
Size = tuple[int, int]  # width and height

OPACITIES = (0.15, 0.25, 0.4, 0.6)


class Mark(NamedTuple):
    """A marked picture; `places` are masks [2, h, w] of its watermark and of its logo."""

    picture: Pixels
    places: Mask


def watermark(kind: str, opacity: float, given: tuple[Pixels, Inks], dice: Dice) -> Mark:
    """A watermark of a kind of WATERMARKS, as opaque as said."""
    picture, inks = given
    size = picture.shape[1], picture.shape[0]
    ink = WATERMARKS[kind](size, inks, dice)
    return _laid(picture, ink, opacity, (True, False), dice)


def logo(opacity: float, is_corner: bool, given: tuple[Pixels, Inks], dice: Dice) -> Mark:
    """An icon of a brand, with its name beside or on a badge at times.

    What the picture shows through is a watermark, too.
    """
    picture, inks = given
    size = picture.shape[1], picture.shape[0]
    short = min(size)
    side = round(short * (dice.uniform(0.08, 0.22) if is_corner else dice.uniform(0.2, 0.45)))
    icon = inks.icon(side, dice)
    style = dice.random()
    if style < 0.2:
        icon = _badge(icon, dice)
    elif style < 0.4:
        icon = _beside(icon, inks.text(inks.pick("words", dice), round(side * 0.5), dice))
    ink = _placed(icon, size, _corner(icon, size, dice) if is_corner else _middle(icon, size, dice))
    return _laid(picture, ink, opacity, (opacity <= 0.6, True), dice, brand=dice.random() < 0.5)


def _laid(
    picture: Pixels,
    ink: Mask,
    opacity: float,
    is_of: tuple[bool, bool],
    dice: Dice,
    brand: bool = False,
) -> Mark:
    colour = _colour(dice, brand)
    for tried in (colour, np.full(3, 255.0), np.zeros(3)):
        found = _blended(picture, ink, opacity, tried, dice.random() < 0.25)
        change = np.abs(found.astype(np.int16) - picture).mean(axis=2)
        if (change * ink).sum() >= _VISIBLE * ink.sum():
            break
    places = np.stack([ink * kind for kind in is_of]).astype(np.float32)
    return Mark(found, places)


def _blended(
    picture: Pixels, ink: Mask, opacity: float, colour: np.ndarray, has_shadow: bool
) -> Pixels:
    values = picture.astype(np.float32)
    if has_shadow:
        shadow = cv2.GaussianBlur(np.roll(ink, (2, 2), (0, 1)), (0, 0), 1.2)
        values = values * (1 - shadow[:, :, None] * opacity * 0.6)
    alpha = ink[:, :, None] * opacity
    return levels(values * (1 - alpha) + colour * alpha)


def levels(values: npt.NDArray[Any]) -> Pixels:
    """Values as pixels: rounded, cut off below 0 and above 255."""
    found: Pixels = np.clip(values, 0, 255).round().astype(np.uint8)
    return found


def _colour(dice: Dice, brand: bool) -> np.ndarray:
    chance = dice.random()
    if brand or chance > 0.88:
        return dice.integers(0, 256, 3).astype(np.float64)
    if chance > 0.75:
        return np.full(3, dice.uniform(90, 200))
    return np.full(3, 255.0 if chance < 0.6 else 0.0)


# Kinds of watermarks: a mask of the picture's size from its size, the inks and the dice


def _once(size: Size, inks: Inks, dice: Dice) -> Mask:
    text = inks.text(inks.pick("words", dice), 90, dice)
    text = _turned(text, dice.choice([0, 0, dice.uniform(-50, 50)]))
    wanted = dice.uniform(0.3, 0.9) * size[0]
    text = _scaled(text, min(wanted / text.shape[1], 0.8 * size[1] / text.shape[0]))
    return _placed(text, size, _middle(text, size, dice))


def _tiled(size: Size, inks: Inks, dice: Dice) -> Mask:
    if dice.random() < 0.15:
        tile = inks.icon(64, dice)
    else:
        tile = inks.text(inks.pick("words", dice), 48, dice)
    tile = _scaled(tile, dice.uniform(0.1, 0.3) * size[0] / tile.shape[1])
    gaps = dice.uniform(0.2, 1.0, 2) * (max(tile.shape[0] * 3, 24), tile.shape[1] * 0.6)
    one = np.pad(tile, ((0, round(gaps[0]) + 4), (0, round(gaps[1]) + 4)))
    two = np.concatenate([one, np.roll(one, one.shape[1] // 2, 1)]) if dice.random() < 0.5 else one
    reach = round(1.5 * max(size))
    counts = [-(-reach // side) for side in two.shape]
    sheet = np.tile(two, counts)[:reach, :reach]
    sheet = _turned(sheet, dice.choice([0, dice.uniform(-50, 50)]), keep=True)
    top, left = (reach - size[1]) // 2, (reach - size[0]) // 2
    return sheet[top : top + size[1], left : left + size[0]].copy()


def _lines(size: Size, inks: Inks, dice: Dice) -> Mask:
    ink = np.zeros(size[::-1], np.float32)
    width, height = size
    thick = max(1, round(dice.uniform(0.002, 0.008) * max(size)))
    slopes = [1, -1] if dice.random() < 0.6 else [dice.choice([1, -1])]
    count = int(dice.choice([1, 1, 2, 3, 5]))
    for slope in slopes:
        for turn in range(count):
            shift = round((turn - (count - 1) / 2) * 2 * width / count)
            ends = ((shift, 0), (shift + width, height))
            if slope < 0:
                ends = ((shift + width, 0), (shift, height))
            cv2.line(ink, *ends, 1.0, thick, cv2.LINE_AA)
    if dice.random() < 0.6:
        ink = np.maximum(ink, _once(size, inks, dice))
    return ink


def _signed(size: Size, inks: Inks, dice: Dice) -> Mask:
    text = inks.text(inks.pick("words", dice), 48, dice)
    wanted = dice.uniform(0.12, 0.35) * size[0]
    text = _scaled(text, min(wanted / text.shape[1], 0.07 * size[1] / text.shape[0] * 1.5))
    return _placed(text, size, _corner(text, size, dice))


def _agency(size: Size, inks: Inks, dice: Dice) -> Mask:
    """A band with the agency's name cut out of it or on it, or icon, name and number."""
    name = inks.text(inks.pick("words", dice), 56, dice)
    name = _scaled(name, dice.uniform(0.25, 0.45) * size[0] / name.shape[1])
    if dice.random() < 0.5:
        room = max(4, round(0.35 * name.shape[0]))
        band = np.pad(name, room)
        band = 0.55 + 0.45 * band if dice.random() < 0.5 else 1 - band
        ink = _placed(band, size, _middle(band, size, dice))
    else:
        lockup = _beside(inks.icon(round(name.shape[0] * 1.5), dice), name)
        ink = _placed(lockup, size, _middle(lockup, size, dice))
    if dice.random() < 0.5:
        number = inks.text(str(dice.integers(10**6, 10**9)), 32, dice)
        number = _scaled(number, 0.14 * size[0] / number.shape[1])
        ink = np.maximum(ink, _placed(number, size, _corner(number, size, dice)))
    return ink


WATERMARKS: dict[str, Callable[[Size, Inks, Dice], Mask]] = {
    "text": _once,
    "tiles": _tiled,
    "lines": _lines,
    "corner": _signed,
    "agency": _agency,
}


# Masks


def _turned(mask: Mask, degrees: float, keep: bool = False) -> Mask:
    """A mask turned about its middle; its sheet grows with it, unless it is to be kept."""
    if not degrees:
        return mask
    height, width = mask.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    if keep:
        return np.asarray(cv2.warpAffine(mask, turn, (width, height)), np.float32)
    cosine, sine = abs(turn[0, 0]), abs(turn[0, 1])
    wide, high = round(height * sine + width * cosine), round(height * cosine + width * sine)
    turn[:, 2] += (wide - width) / 2, (high - height) / 2
    return np.asarray(cv2.warpAffine(mask, turn, (wide, high)), np.float32)


def _scaled(mask: Mask, scale: float) -> Mask:
    size = max(3, round(mask.shape[1] * scale)), max(3, round(mask.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, size, interpolation=way), np.float32).clip(0, 1)


def _placed(mask: Mask, size: Size, corner: tuple[int, int]) -> Mask:
    """A mask of the picture's size with this one at (left, top); what sticks out is cut off."""
    ink = np.zeros(size[::-1], np.float32)
    left, top = max(0, corner[0]), max(0, corner[1])
    part = mask[: size[1] - top, : size[0] - left]
    ink[top : top + part.shape[0], left : left + part.shape[1]] = part
    return ink


def _middle(mask: Mask, size: Size, dice: Dice) -> tuple[int, int]:
    """Somewhere about the middle."""
    room = size[0] - mask.shape[1], size[1] - mask.shape[0]
    return round(room[0] * dice.uniform(0.2, 0.8)), round(room[1] * dice.uniform(0.2, 0.8))


def _corner(mask: Mask, size: Size, dice: Dice) -> tuple[int, int]:
    edge = round(dice.uniform(0.01, 0.05) * min(size))
    right, bottom = dice.random() < 0.7, dice.random() < 0.7
    return (
        size[0] - edge - mask.shape[1] if right else edge,
        size[1] - edge - mask.shape[0] if bottom else edge,
    )


def _beside(icon: Mask, text: Mask) -> Mask:
    """The icon left of the text, on one middle line."""
    height, gap = max(icon.shape[0], text.shape[0]), max(2, icon.shape[1] // 6)
    parts = [icon, np.zeros((height, gap), np.float32), text]
    full = [
        np.pad(p, (((height - len(p)) // 2, height - len(p) - (height - len(p)) // 2), (0, 0)))
        for p in parts
    ]
    return np.concatenate(full, axis=1)


def _badge(icon: Mask, dice: Dice) -> Mask:
    """The icon cut out of a disc or a rounded square."""
    side = round(max(icon.shape) * 1.5)
    disc = np.zeros((side, side), np.float32)
    if dice.random() < 0.5:
        cv2.circle(disc, (side // 2, side // 2), side // 2 - 1, 1.0, -1, cv2.LINE_AA)
    else:
        disc[:] = 1
    top, left = (side - icon.shape[0]) // 2, (side - icon.shape[1]) // 2
    disc[top : top + icon.shape[0], left : left + icon.shape[1]] *= 1 - icon
    return disc
