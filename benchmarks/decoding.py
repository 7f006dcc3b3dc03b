"""Prints what decoding a JPEG costs in CPU milliseconds: Pillow, OpenCV and this project.

    python benchmarks/decoding.py [picture.jpg ...]

Without pictures it makes two out of noise with the spectrum of photographs: 700 and 2560 pixels.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.decoding import decode, read_header

AT_LEAST = 224
ROUNDS = 7


def made_up(width: int, height: int, quality: int) -> bytes:
    """A JPEG whose spectrum falls off with frequency, as that of photographs does."""
    dice = np.random.default_rng(1)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    fall = 1 / np.maximum(np.hypot(down, across), 1 / max(width, height)) ** 1.3
    channels = []
    for _ in range(3):
        phases = np.exp(2j * np.pi * dice.random(fall.shape))
        values = np.fft.irfft2(fall * phases, s=(height, width))
        channels.append(np.clip(values / values.std() * 50 + 120, 0, 255))
    grey = channels[0]
    pixels = np.stack([0.7 * grey + 0.3 * c for c in channels], axis=-1).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def with_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def with_pillow_scaled(data: bytes) -> np.ndarray:
    image = Image.open(BytesIO(data))
    image.draft("RGB", (AT_LEAST, AT_LEAST))
    return np.asarray(image.convert("RGB"))


def with_opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def with_opencv_scaled(data: bytes) -> np.ndarray:
    flags = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
    header = read_header(data)
    factor = min(header.width, header.height) // AT_LEAST
    wanted = flags[4] if factor >= 4 else flags.get(factor, cv2.IMREAD_COLOR)
    return cv2.imdecode(np.frombuffer(data, np.uint8), wanted)


WAYS: dict[str, Callable[[bytes], object]] = {
    "header only": read_header,
    "Pillow, whole": with_pillow,
    "OpenCV, whole": with_opencv,
    "ours, whole": decode,
    "Pillow, scaled": with_pillow_scaled,
    "OpenCV, scaled": with_opencv_scaled,
    "ours, at_least=224": lambda data: decode(data, AT_LEAST),
}


def cost_ms(act: Callable[[], object]) -> float:
    """The best CPU time of some rounds of at least 50 ms each."""
    act()
    best = float("inf")
    for _ in range(ROUNDS):
        start, times = time.process_time(), 0
        while time.process_time() - start < 0.05:
            act()
            times += 1
        best = min(best, (time.process_time() - start) / times * 1e3)
    return best


def main(paths: list[str]) -> None:
    cv2.setNumThreads(1)
    files = {path: Path(path).read_bytes() for path in paths}
    files = files or {"700 px": made_up(700, 525, 85), "2560 px": made_up(2560, 1920, 85)}
    for name, data in files.items():
        header = read_header(data)
        print(f"{name}: {header.width} x {header.height}, {len(data) // 1000} KB")
        for way, act in WAYS.items():
            print(f"  {way:20} {cost_ms(lambda act=act, data=data: act(data)):8.3f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
