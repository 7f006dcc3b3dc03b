"""Some thousand JPEGs of about 700 px and 66 KB with captions, made in code: what benchmarks read.

The pictures are windows of a field whose spectrum falls as that of photographs does (amplitude
about 1/f^1.2), so that they compress, decode and hash about as photographs.
"""

import argparse
import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

WIDTH, HEIGHT, FIELD, QUALITY = 700, 525, 3000, 80
_WORDS = ["red", "old", "small", "bright", "house", "river", "dog", "boat", "tree", "market"]


def field(seed: int = 0) -> npt.NDArray[np.uint8]:
    """A square picture of FIELD pixels with an amplitude spectrum of 1/f in every channel."""
    rng = np.random.default_rng(seed)
    fx, fy = np.fft.fftfreq(FIELD), np.fft.rfftfreq(FIELD)
    amplitude = 1 / np.maximum(np.hypot(fx[:, None], fy[None, :]), 1 / FIELD) ** 1.22
    channels = []
    for _ in range(3):
        phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
        wave = np.fft.irfft2(amplitude * np.exp(1j * phase), s=(FIELD, FIELD))
        low, high = np.percentile(wave, [0.5, 99.5])
        channels.append(np.clip((wave - low) / (high - low), 0, 1))
    mixed = np.stack(channels, axis=2) @ (np.full((3, 3), 0.2) + 0.4 * np.eye(3))
    grain = rng.normal(0, 0.006, mixed.shape)
    return (np.clip(mixed + grain, 0, 1) * 255).astype(np.uint8)


def picture(whole: npt.NDArray[np.uint8], number: int, times: int = 1) -> bytes:
    """The JPEG of a window of the field that depends on its number and size alone."""
    rng = np.random.default_rng(number)
    height, width = times * HEIGHT, times * WIDTH
    top, left = rng.integers(0, FIELD - height), rng.integers(0, FIELD - width)
    window = whole[top : top + height, left : left + width]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(window)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def make(folder: Path, count: int, times: int = 1) -> None:
    """Fill a folder with `count` pictures, so many times as wide and high, and captions; what is
    there is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(os.listdir(folder)) >= 2 * count:
        return
    whole = field()
    for number in range(count):
        rng = np.random.default_rng(number)
        text = f"a {' '.join(rng.choice(_WORDS, rng.integers(2, 9)))} number {number}"
        (folder / f"{number:06d}.jpg").write_bytes(picture(whole, number, times))
        (folder / f"{number:06d}.txt").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    options = parser.parse_args()
    make(options.folder, options.count)
    sizes = [path.stat().st_size for path in options.folder.glob("*.jpg")]
    print(f"{len(sizes)} pictures, {np.mean(sizes) / 1000:.1f} KB on average")


if __name__ == "__main__":
    main()
