"""What a picture looks like, measured: whether it may be a photo or a drawing, and its colours.

The measures are of pixels alone and know nothing of what is shown. Where they don't tell a photo
from a drawing, neither is said.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Kind = Literal["photo", "drawing", "picture"]

_SIDE = 192  # the long side of what is measured
# Said of 150 clip arts and stamps, 101 painted figures and 30 photos: "photo" of KINDS.
_SOFT, _FLAT, _SHADED, _GROUND = 0.28, 0.5, 0.55, 0.05
_WHITE = 240  # all three values at least that
_PLAIN = 0.985  # of all pixels in one colour
_MAIN = 0.25  # of the pixels, for a colour to be named
_HUES = (
    (14, "red"),
    (42, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "turquoise"),
    (260, "blue"),
    (290, "purple"),
    (345, "pink"),
    (361, "red"),
)
_GREYS = ("black", "grey", "white")
NAMES = (*_GREYS, "brown", "beige", *dict.fromkeys(name for _, name in _HUES))


def kind(image: Pixels) -> Kind:
    """Photo or drawing, by how many neighbours differ softly, and how many not at all.

    A photo has soft neighbours and no white ground; a drawing is flat, and where it is not, it has
    more edges than shades. Paintings count as photos, things cut out of photos as neither.
    """
    small = _small(image).astype(np.int16)
    down, right = np.abs(np.diff(small, axis=0)), np.abs(np.diff(small, axis=1))
    steps = np.concatenate([down.max(2).ravel(), right.max(2).ravel()])
    if not steps.size:
        return "picture"
    soft, uneven = ((steps > 1) & (steps <= 16)).mean(), (steps > 1).mean()
    if soft >= _SOFT and (small.min(2) >= 250).mean() < _GROUND:
        return "photo"
    shaded = ((steps > 1) & (steps <= 24)).mean() < _SHADED * max(uneven, 1e-9)
    return "drawing" if shaded and 1 - uneven >= _FLAT else "picture"


def colours(image: Pixels) -> list[str]:
    """The names of at most two colours that cover a quarter each, largest first.

    White that may be the ground of a drawing, a third or more of all, counts for nothing.
    """
    found = _named(_small(image))
    shares = np.bincount(found, minlength=len(NAMES)) / found.size
    white = NAMES.index("white")
    if 1 / 3 <= shares[white] < 1:
        shares[white] = 0
        shares = shares / shares.sum()
    order = sorted(range(len(NAMES)), key=lambda i: (-shares[i], NAMES[i]))
    return [NAMES[i] for i in order[:2] if shares[i] >= _MAIN]


def plain(image: Pixels) -> str | None:
    """The name of the colour of a picture that has one alone."""
    small = _small(image).reshape(-1, 3).astype(np.int16)
    near = np.abs(small - np.median(small, axis=0)).max(1) <= 8
    if near.mean() < _PLAIN:
        return None
    return NAMES[int(np.bincount(_named(_small(image))).argmax())]


def _small(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _named(image: Pixels) -> npt.NDArray[np.int64]:
    """The place in NAMES of every pixel's colour, by hue, saturation and value."""
    rgb = image.reshape(-1, 3).astype(np.float64)
    high, low = rgb.max(1), rgb.min(1)
    spread = np.maximum(high - low, 1e-9)
    red, green, blue = rgb.T
    sector = np.where(high == red, (green - blue) / spread % 6, (blue - red) / spread + 2)
    sector = np.where((high == blue) & (high != red), (red - green) / spread + 4, sector)
    bounds = np.array([bound for bound, _ in _HUES])
    hues = np.array([NAMES.index(name) for _, name in _HUES])
    named = hues[np.searchsorted(bounds, sector * 60, "right")]
    is_warm = np.isin(named, [NAMES.index("orange"), NAMES.index("red"), NAMES.index("yellow")])
    is_warm &= (sector * 60 > 8) & (sector * 60 < 60)
    named = np.where(is_warm & (high < 190), NAMES.index("brown"), named)
    named = np.where(is_warm & (high >= 190) & (spread < 0.45 * high), NAMES.index("beige"), named)
    is_grey = (high - low < 0.16 * high) | (high - low < 12)
    greys = np.where(high < 60, 0, np.where(high < _WHITE - 25, 1, 2))
    found: npt.NDArray[np.int64] = np.where(is_grey, greys, np.where(high < 45, 0, named))
    return found
