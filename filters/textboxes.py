"""Where text stands in a picture, and what it says: PP-OCR as the package `rapidocr` ships it.

The package's two networks, run here with its own thresholds; nothing is downloaded. One picture
and one line at a time, so that nothing depends on its companions.
"""

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from filters.packaged import Network, Shipped, network

Pixels = npt.NDArray[Any]  # uint8; OpenCV's stubs promise no more than a number
Floats = npt.NDArray[Any]  # float32

SCORER = "ocr"
DETECTOR = Shipped(
    "rapidocr",
    "models/PP-OCRv6_det_small.onnx",
    "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "rapidocr",
)
READER = Shipped(
    "rapidocr",
    "models/PP-OCRv6_rec_small.onnx",
    "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    "rapidocr",
)
MULTIPLE = 32  # both sides of what the detector sees
# Differentiable binarisation (Liao et al., arXiv:1911.08947) with the package's settings.
_INK = 0.3  # probability of a pixel that belongs to text
_UNCLIP = 1.6  # the detector marks the core of a line, which is grown by area * this / perimeter
_THINNEST = 3  # pixels
_MOST_CONTOURS = 1000
# The reader's lines.
_LINE_HEIGHT, _LINE_STEP, _LONGEST_LINE = 48, 160, 1920
_UPRIGHT = 1.5  # times as high as wide: such a line is turned to the left
_SURE = 0.5  # mean probability of the characters of a line that is believed


class Line(NamedTuple):
    """A line of text: its corners [4, 2] in pixels from the top left on clockwise, its score."""

    corners: Floats
    score: float


def detect(image: Pixels, side: int, threshold: float) -> list[Line]:
    """The lines of a picture in reading order; `side` is the long side that the network sees."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    seen = [max(1, round(length * scale / MULTIPLE)) * MULTIPLE for length in (width, height)]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    (ink,) = _detector()(_prepared(cv2.resize(image, seen, interpolation=way)))
    found = lines_of(ink[0, 0], threshold)
    ratio = np.array([width / seen[0], height / seen[1]], np.float32)
    return _in_reading_order([Line(line.corners * ratio, line.score) for line in found])


def lines_of(ink: Floats, threshold: float) -> list[Line]:
    """The lines in a map [h, w] of probabilities that a pixel is text, in pixels of the map."""
    mask = cv2.dilate((ink > _INK).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours[:_MOST_CONTOURS]:
        middle, (wide, high), angle = cv2.minAreaRect(contour)
        if min(wide, high) < _THINNEST:
            continue
        score = _mean_inside(ink, cv2.boxPoints((middle, (wide, high), angle)))
        if score < threshold:
            continue
        more = wide * high * _UNCLIP / (wide + high)  # twice the distance, on both sides
        grown = cv2.boxPoints((middle, (wide + more, high + more), angle))
        found.append(Line(_from_top_left(grown), score))
    return found


def _mean_inside(ink: Floats, corners: Floats) -> float:
    height, width = ink.shape
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    mask = np.zeros(high[::-1] - low[::-1] + 1, np.uint8)
    cv2.fillPoly(mask, [(corners - low).astype(np.int32)], 1)
    part = ink[low[1] : high[1] + 1, low[0] : high[0] + 1]
    return float(part[mask > 0].mean()) if mask.any() else 0.0


def _from_top_left(corners: Floats) -> Floats:
    """The corners of a rectangle clockwise, the first the upper of the two on the left."""
    left, right = np.split(corners[np.argsort(corners[:, 0], kind="stable")], 2)
    top, bottom = left[np.argsort(left[:, 1], kind="stable")]
    up, down = right[np.argsort(right[:, 1], kind="stable")]
    return np.array([top, up, down, bottom], np.float32)


def _in_reading_order(found: list[Line]) -> list[Line]:
    """From top to bottom, and from left to right what stands at the same height."""
    ordered = sorted(found, key=lambda line: (float(line.corners[0, 1]), float(line.corners[0, 0])))
    rows: list[list[Line]] = []
    for line in ordered:
        top = float(line.corners[0, 1])
        high = float(np.linalg.norm(line.corners[3] - line.corners[0]))
        if rows and top - float(rows[-1][0].corners[0, 1]) < high / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda k: float(k.corners[0, 0]))]


def read(image: Pixels, line: Line) -> str:
    """What a line says; empty when the network is not sure."""
    strip = _cut_out(image, line.corners)
    height, width = strip.shape[:2]
    wide = min(_LONGEST_LINE, max(1, -(-_LINE_HEIGHT * width // height)))
    strip = cv2.resize(strip, (wide, _LINE_HEIGHT))
    room = max(2, -(-wide // _LINE_STEP)) * _LINE_STEP
    values = np.zeros((1, 3, _LINE_HEIGHT, room), np.float32)
    values[:, :, :, :wide] = _prepared(strip)
    (odds,) = _reader()(values)
    return decoded(odds[0], _characters())


def decoded(odds: Floats, characters: tuple[str, ...]) -> str:
    """The text of odds [steps, characters], the first of which is no character (CTC, greedily)."""
    best = odds.argmax(axis=1)
    new = np.concatenate([[True], best[1:] != best[:-1]]) & (best != 0)
    if not new.any() or odds.max(axis=1)[new].mean() < _SURE:
        return ""
    return "".join(characters[i] for i in best[new]).strip()


def _cut_out(image: Pixels, corners: Floats) -> Pixels:
    """The line as a picture of its own, level."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    wide, high = (max(1, round(float(max(sides[i], sides[i + 2])))) for i in (0, 1))
    level = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    turn = cv2.getPerspectiveTransform(corners, level)
    strip = cv2.warpPerspective(
        image, turn, (wide, high), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.rot90(strip).copy() if high >= _UPRIGHT * wide else strip


def _prepared(image: Pixels) -> Floats:
    """Values from -1 to 1 as the networks take them: [1, 3, h, w], blue first."""
    values = image[:, :, ::-1].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def _detector() -> Network:
    return network(DETECTOR, SCORER)


def _reader() -> Network:
    return network(READER, SCORER)


@cache
def _characters() -> tuple[str, ...]:
    """What the reader tells apart: nothing, the characters that its file lists, and the space."""
    return ("", *_reader().note("character").splitlines(), " ")


def load(*, reader: bool) -> None:
    """Load the weights. Raises ValueError when they are missing or not those meant."""
    _detector()
    if reader:
        _characters()
