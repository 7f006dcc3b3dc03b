"""Hashes of pixels: four perceptual ones, equal bit for bit to `imagehash`'s, and a SHA-256.

Equal perceptual hashes mean pictures that look alike, not equal pictures; a flat picture hashes
like every other flat one, which is what `hash_contrast` is for. Nothing here is resistant to
crops.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

Grey = npt.NDArray[np.uint8]  # [height, width] luminance
Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]

SIDE = 32  # of the picture whose cosines make the phash
_ROOT_HALF = math.sqrt(0.5)


@dataclass(frozen=True)
class Hashes:
    """Perceptual hashes of 64 bits as unsigned integers, and a digest of the exact pixels.

    `phash` keeps the low frequencies, `ahash` what is brighter than the mean, `dhash` where
    brightness rises to the right, `whash` the coarse Haar wavelet; bits count from the top left,
    the most significant first. `hash_contrast` comes with `phash`: the standard deviation,
    0 to 127.5, of the 32x32 luminances it is made of; below about 2 its bits are noise.
    `pixels_sha256` is over "HxW" in ASCII followed by the RGB bytes.
    """

    kinds: tuple[str, ...] = ("phash",)

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)

    def __post_init__(self) -> None:
        known = [*_PERCEPTUAL, "pixels_sha256"]
        if isinstance(self.kinds, str) or not self.kinds or not set(self.kinds) <= set(known):
            raise ValueError(f"kinds is a list of {', '.join(known)}; got {self.kinds!r}")
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds names one twice: {self.kinds!r}")

    @property
    def writes(self) -> pa.Schema:
        fields: list[tuple[str, pa.DataType]] = []
        for kind in self.kinds:
            fields.append((kind, pa.uint64() if kind in _PERCEPTUAL else pa.binary(32)))
            if kind == "phash":
                fields.append(("hash_contrast", pa.float32()))
        return pa.schema(fields)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        perceptual = [kind for kind in self.kinds if kind in _PERCEPTUAL]
        small: dict[str, list[npt.NDArray[Any]]] = {kind: [] for kind in perceptual}
        for image in batch["image"]:
            grey = luminance(image) if perceptual else image
            for kind in perceptual:
                small[kind].append(_PERCEPTUAL[kind][0](grey))
        columns: dict[str, list[Any]] = {name: [] for name in self.writes.names}
        if not batch["image"]:
            return columns
        for kind in perceptual:
            stack = np.stack(small[kind])
            columns[kind] = as_integers(_PERCEPTUAL[kind][1](stack))
            if kind == "phash":
                columns["hash_contrast"] = stack.std(axis=(1, 2)).tolist()
        if "pixels_sha256" in columns:
            columns["pixels_sha256"] = [pixels_sha256(image) for image in batch["image"]]
        return columns


def pixels_sha256(image: npt.NDArray[np.uint8]) -> bytes:
    """The digest of the decoded picture: equal for files that differ in everything else."""
    height, width = image.shape[:2]
    state = hashlib.sha256(f"{height}x{width}".encode())
    state.update(np.ascontiguousarray(image).data)
    return state.digest()


def luminance(image: npt.NDArray[np.uint8]) -> Grey:
    """Pillow's `L` of an RGB array; OpenCV's grey differs from it by one in some pixels."""
    height, width = image.shape[:2]
    padded = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # Pillow takes four bytes without a copy
    picture = Image.frombuffer("RGBA", (width, height), padded, "raw", "RGBA", 0, 1)
    return np.asarray(picture.convert("L"))


def shrink(grey: Grey, width: int, height: int) -> Grey:
    """What Pillow's `resize((width, height), LANCZOS)` gives, in about a third of the time.

    Pillow weighs in integers: first along the rows, rounds, then along the columns. The first
    pass costs nearly all, and is a matrix product here; small pictures and slivers, of which
    Pillow does the columns first, are left to it.
    """
    full_height, full_width = grey.shape
    if full_width >= _WIDE and full_height <= 50 * full_width:
        grey = _shrink_rows(grey, width)
    picture = Image.fromarray(grey)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


_WIDE = 96  # pixels from which our pass is the faster one
_WEIGHT_BITS = 22  # Pillow keeps weights as integers of this many fractional bits
_BLOCK = 8  # output columns that share a matrix: fewer waste less, more keep BLAS busy
_PRODUCTS = 1 << 18  # multiplications up to which OpenBLAS stays on the calling thread


def _shrink_rows(grey: Grey, width: int) -> Grey:
    """The horizontal pass. Weights and pixels are integers, and no sum comes near 2**53: so
    float64 is exact, and the result the same in whatever order BLAS adds."""
    height, full_width = grey.shape
    blocks = _weights(full_width, width)
    rows = max(1, _PRODUCTS // max(matrix.size for _, _, matrix in blocks))
    strip = np.empty((min(rows, height), full_width))
    sums = np.empty((height, width))
    for top in range(0, height, rows):
        lines = strip[: height - top]
        lines[...] = grey[top : top + rows]
        for column, start, matrix in blocks:
            part = lines[:, start : start + len(matrix)] @ matrix
            sums[top : top + rows, column : column + _BLOCK] = part
    sums += 1 << (_WEIGHT_BITS - 1)
    sums *= 0.5**_WEIGHT_BITS
    np.floor(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


@lru_cache(maxsize=256)
def _weights(size: int, out: int) -> tuple[tuple[int, int, Floats], ...]:
    """Lanczos weights that take `size` pixels to `out`, as (first output, first input, matrix).

    The window is three output pixels wide on each side (Turkowski, Graphics Gems 1990); weights
    add up to one before they are rounded, half away from zero.
    """
    scale = size / out
    spread = max(scale, 1.0)
    centre = (np.arange(out) + 0.5) * scale
    first = np.maximum((centre - 3 * spread + 0.5).astype(int), 0)
    last = np.minimum((centre + 3 * spread + 0.5).astype(int), size)
    pixel = first[:, None] + np.arange((last - first).max())
    offset = (pixel - centre[:, None] + 0.5) * (1.0 / spread)
    inside = (pixel < last[:, None]) & (offset >= -3) & (offset < 3)
    weight = np.where(inside, np.sinc(offset) * np.sinc(offset / 3), 0.0)
    weight /= np.add.accumulate(weight, axis=1)[:, -1:]
    weight = np.trunc(weight * (1 << _WEIGHT_BITS) + np.copysign(0.5, weight))
    blocks = []
    for column in range(0, out, _BLOCK):
        group = slice(column, min(column + _BLOCK, out))
        start, stop = int(first[group].min()), int(last[group].max())
        matrix = np.zeros((group.stop - column, stop - start + pixel.shape[1]))
        np.put_along_axis(matrix, pixel[group] - start, weight[group], axis=1)
        blocks.append((column, start, np.ascontiguousarray(matrix.T[: stop - start])))
    return tuple(blocks)


def as_integers(bits: Bits) -> list[int]:
    """64 bits per picture, [n, 8, 8], as integers: row by row, the most significant first."""
    packed = np.packbits(bits.reshape(len(bits), 64), axis=1)
    values: list[int] = packed.view(">u8").ravel().tolist()
    return values


def _ahash(small: Grey) -> Bits:
    return np.asarray(small > small.mean(axis=(1, 2), keepdims=True))


def _dhash(small: Grey) -> Bits:
    return np.asarray(small[:, :, 1:] > small[:, :, :-1])


def _phash(small: Grey) -> Bits:
    columns = _cosines(small.astype(np.float64).swapaxes(1, 2))[:, :, :8]
    return _above_median(_cosines(columns.swapaxes(1, 2))[:, :, :8])


def _above_median(values: Floats) -> Bits:
    flat = values.reshape(len(values), 64)
    return np.asarray(flat > np.median(flat, axis=1, keepdims=True))


def _turns() -> Floats:
    """cos(k pi / 64) for k < 32, with the last bits of pocketfft's two-level table."""
    angles = [k * math.pi / 64 for k in range(16)]
    quarter = math.pi / 4
    low = [math.cos(a) for a in angles]
    high = [math.cos(a) * math.sin(quarter) - math.sin(a) * math.cos(quarter) for a in angles]
    return np.array(low + high)


_COS = _turns()


def _cosines(values: Floats) -> Floats:
    """The cosine transform (type II, not normalised) of the last axis, which holds 32 values.

    Makhoul's way (IEEE TASSP 28, 1980) by one real transform, with the operations of scipy in
    scipy's order. Symmetric and flat pictures have coefficients that tie; a plain product with
    the cosine matrix gives them other last bits, and so other hashes than `imagehash`.
    """
    odd, even = values[..., 1:-1:2], values[..., 2::2]
    half = np.empty((*values.shape[:-1], SIDE // 2 + 1), np.complex128)
    half[..., 0] = values[..., 0] * 2
    half[..., 1:-1].real = even + odd
    half[..., 1:-1].imag = even - odd
    half[..., -1] = values[..., -1] * 2
    result = np.fft.irfft(half, SIDE, norm="forward")
    left, right = result[..., 1 : SIDE // 2], result[..., : SIDE // 2 : -1]
    cos, sin = _COS[1 : SIDE // 2], _COS[: SIDE // 2 : -1]
    total, difference = cos * right + sin * left, cos * left - sin * right
    middle = result[..., SIDE // 2 :][..., :1] * _COS[SIDE // 2]
    low, high = 0.5 * (total + difference), 0.5 * (total - difference)
    return np.concatenate([result[..., :1], low, middle, high[..., ::-1]], axis=-1)


def _haar_low(grey: Grey) -> Floats:
    """The coarse 8x8 Haar approximation of the picture without its mean, as `imagehash` does.

    The picture is first brought to a square whose side is a power of two, at least 8.
    """
    side = max(8, 1 << (min(grey.shape).bit_length() - 1))
    square = Image.fromarray(grey).resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(square) / 255.0
    details = []
    while len(pixels) > 1:
        pixels, *detail = _split(pixels)
        details.append(detail)
    pixels = pixels * 0
    for detail in reversed(details):
        pixels = _join(pixels, *detail)
    while len(pixels) > 8:
        pixels = _split(pixels)[0]
    return pixels


def _split(pixels: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    scaled = pixels * _ROOT_HALF
    up, down = scaled[0::2], scaled[1::2]
    low, high = (up + down) * _ROOT_HALF, (up - down) * _ROOT_HALF
    (a, b), (c, d) = (low[:, 0::2], low[:, 1::2]), (high[:, 0::2], high[:, 1::2])
    return a + b, c + d, a - b, c - d


def _join(low: Floats, vertical: Floats, horizontal: Floats, diagonal: Floats) -> Floats:
    halves = np.empty((2, len(low), 2 * len(low)))
    for half, mean, change in ((0, low, horizontal), (1, vertical, diagonal)):
        halves[half, :, 0::2] = mean * _ROOT_HALF + change * _ROOT_HALF
        halves[half, :, 1::2] = mean * _ROOT_HALF - change * _ROOT_HALF
    pixels = np.empty((2 * len(low), 2 * len(low)))
    pixels[0::2] = halves[0] * _ROOT_HALF + halves[1] * _ROOT_HALF
    pixels[1::2] = halves[0] * _ROOT_HALF - halves[1] * _ROOT_HALF
    return pixels


# How to reduce one luminance picture, and how to read bits off a stack of reduced ones.
_PERCEPTUAL: dict[str, tuple[Callable[[Grey], Any], Callable[[Any], Bits]]] = {
    "phash": (lambda grey: shrink(grey, SIDE, SIDE), _phash),
    "ahash": (lambda grey: shrink(grey, 8, 8), _ahash),
    "dhash": (lambda grey: shrink(grey, 9, 8), _dhash),
    "whash": (_haar_low, _above_median),
}
