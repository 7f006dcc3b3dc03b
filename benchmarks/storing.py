"""CPU and looks of storing photographs smaller, beside img2dataset's Resizer called as it is.

    python -m benchmarks.storing FOLDER [FOLDER ...]

The JPEGs and WebPs below the folders of at least 1.2 Mpix are cut and scaled down, none is
enlarged, to pictures of 1 to 4 Mpix (and small ones of 0.2 to 1) in JPEGs of quality 75 to 95.
Both make the longest side 256 (img2dataset: `keep_ratio_largest`) and JPEGs of quality 95; its
`area` is its default, its `cubic` leaves pixels out. One thread; of each picture the best of three
rounds counts, in turns. Likeness is the peak signal to noise ratio, in decibels, of what is stored
to the whole picture scaled by an antialiased Lanczos filter.
"""

import argparse
import os
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np
from img2dataset.resizer import Resizer
from PIL import Image

from benchmarks.measure import machine, table
from pipeline import aspect, decoding, encoding
from pipeline.storing import Store, stored

MAX_SIDE, QUALITY, ROUNDS, LEAST = 256, 95, 3, 1_200_000
QUALITIES = (75, 80, 85, 90, 95)
Ways = dict[str, Callable[[bytes], bytes]]


def sources(folders: Sequence[Path]) -> list[Path]:
    """The photographs that are large enough, in the order of their paths."""
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    found = [path for path in paths if path.suffix.lower() in (".jpg", ".jpeg", ".webp")]
    return [path for path in found if _pixels(path) >= LEAST]


def _pixels(path: Path) -> int:
    try:
        header = decoding.read_header(path.read_bytes())
    except decoding.Unreadable:
        return 0
    return header.width * header.height


def photographs(
    paths: Sequence[Path], count: int, mpix: tuple[float, float], format: str, **options: object
) -> list[bytes]:
    """`count` windows of the photographs by turns, at areas drawn between two numbers of Mpix."""
    made = []
    for place, path in enumerate(paths):
        picture = Image.fromarray(decoding.decode(path.read_bytes()))
        for number in range(place, count, len(paths)):
            dice = np.random.default_rng(number)
            quality = int(dice.choice(QUALITIES))
            buffer = BytesIO()
            window(picture, dice, mpix).save(buffer, format, quality=quality, **options)
            made.append(buffer.getvalue())
    return made


def window(
    picture: Image.Image, dice: np.random.Generator, mpix: tuple[float, float]
) -> Image.Image:
    """Any part of a picture of its shape, scaled down to an area; never enlarged."""
    width, height = picture.size
    most = min(mpix[1] * 1e6, width * height)
    area = np.exp(dice.uniform(np.log(mpix[0] * 1e6), np.log(most)))
    share = dice.uniform(np.sqrt(area / (width * height)), 1)
    left, top = dice.uniform(0, 1 - share, 2) * (width, height)
    box = (left, top, left + share * width, top + share * height)
    scale = np.sqrt(area / (width * height))
    size = round(width * scale), round(height * scale)
    return picture.resize(size, Image.Resampling.LANCZOS, box=box)


def rival(interpolation: str) -> Callable[[bytes], bytes]:
    """img2dataset's Resizer for a longest side."""
    resizer = Resizer(
        MAX_SIDE,
        "keep_ratio_largest",
        resize_only_if_bigger=True,
        downscale_interpolation=interpolation,
        encode_quality=QUALITY,
        encode_format="jpg",
    )
    return lambda data: resizer(BytesIO(data))[0]


def request(data: bytes) -> int:
    """What `stored` asks the decoder for."""
    header = decoding.read_header(data)
    return 2 * min(aspect.resized(header.width, header.height, MAX_SIDE, "longest").scaled)


def ours(data: bytes) -> bytes:
    return stored(data, Store(MAX_SIDE, "jpg", QUALITY), decoding.MAX_PIXELS)[0]


def bicubic(data: bytes) -> bytes:
    """The same with the filter of exports."""
    pixels = encoding.resize(decoding.decode(data, request(data)), MAX_SIDE)
    return encoding.encode(pixels, "jpg", QUALITY)


def cost_ms(pictures: Sequence[bytes], ways: Ways) -> dict[str, float]:
    """CPU milliseconds of an image, each way in turn on each picture."""
    best = {name: np.full(len(pictures), np.inf) for name in ways}
    for _ in range(ROUNDS):
        for place, data in enumerate(pictures):
            for name, act in ways.items():
                start = time.process_time()
                act(data)
                spent = time.process_time() - start
                best[name][place] = min(best[name][place], spent)
    return {name: 1e3 * float(values.mean()) for name, values in best.items()}


def likeness(pictures: Sequence[bytes], act: Callable[[bytes], bytes]) -> str:
    """Mean and worst PSNR to the whole picture made smaller."""
    found = []
    for data in pictures:
        small = decoding.decode(act(data)).astype(float)
        whole = Image.fromarray(decoding.decode(data))
        exact = whole.resize(small.shape[1::-1], Image.Resampling.LANCZOS)
        found.append(10 * np.log10(255**2 / np.mean((small - np.asarray(exact)) ** 2)))
    return f"{np.mean(found):.1f} ({min(found):.1f})"


def row(name: str, pictures: Sequence[bytes]) -> list[str]:
    """One kind of picture: what it costs, whole and in parts."""
    small = {data: decoding.decode(ours(data)) for data in pictures}
    ways: Ways = {
        "ours": ours,
        "area": rival("area"),
        "cubic": rival("cubic"),
        "bicubic": bicubic,
        "decode": lambda data: decoding.decode(data, request(data)).data,
        "encode": lambda data: encoding.encode(small[data], "jpg", QUALITY),
    }
    cost = cost_ms(pictures, ways)
    rest = cost["ours"] - cost["decode"] - cost["encode"]
    kilobytes = np.mean([len(data) for data in pictures]) / 1000
    return [
        f"{name} ({len(pictures)}, {kilobytes:.0f} KB)",
        f"{cost['ours']:.2f}",
        f"{cost['area']:.2f}",
        f"{cost['ours'] / cost['area']:.2f}",
        f"{cost['cubic']:.2f}",
        f"{cost['bicubic']:.2f}",
        f"{cost['decode']:.2f} + {rest:.2f} + {cost['encode']:.2f}",
        *(likeness(pictures, ways[way]) for way in ("ours", "bicubic", "area", "cubic")),
    ]


def rows(paths: Sequence[Path], count: int) -> Iterator[list[str]]:
    """Large photographs of several kinds, and small ones."""
    large, third = (1.0, 4.0), max(1, count // 3)
    yield row("JPEG", photographs(paths, count, large, "JPEG"))
    kind = "progressive JPEG"
    yield row(kind, photographs(paths, third, large, "JPEG", progressive=True))
    yield row("JPEG, 0.2 to 1 Mpix", photographs(paths, count, (0.2, 1.0), "JPEG"))
    yield row("WebP", photographs(paths, third // 2 or 1, large, "WEBP"))


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__ or ""))
    parser.add_argument("folders", type=Path, nargs="+", help="where photographs are")
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    paths = sources(options.folders)
    print(machine())
    print(f"\nCPU ms an image; windows of {len(paths)} photographs\n")
    head = ["what", "ours", "img2dataset area", "ours of it", "img2dataset cubic", "ours, bicubic"]
    head += ["ours: decode + make smaller + encode"]
    head += [f"likeness: {way}" for way in ("ours", "ours, bicubic", "area", "cubic")]
    print(table(head, list(rows(paths, options.count))))


if __name__ == "__main__":
    main()
