"""Pictures without marks, each on one side of the split, and cuts of them.

Photographs and renderings, screens and diagrams, drawings. None is of the quickstart pack.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.quickstart_pack.originals import read_items
from benchmarks.quickstart_pack.resources import read_resources

Pixels = npt.NDArray[np.uint8]
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

_SHARES = (0.6, 0.72)  # to train on; to calibrate with; the rest is the test
_SHORTEST = 240  # pixels of the short side of a photograph or screen
_LONGEST = 2000  # larger pictures are scaled down once
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_TEST_ONLY = ("scikit-image", "scikit-learn", "gcompris", "kphotoalbum", "povray-doc", "debian-")
_LEARNT_ONLY = ("gimp-help-en",)  # some of its pictures are in it under dozens of filters
_PHOTOS = {
    "digikam-data": "usr/share/digikam/data",
    "gnome-backgrounds": "usr/share/backgrounds",
    "hugin-data": "usr/share/hugin/xrc/data/help_en_EN",
    "kphotoalbum": "usr/share/kphotoalbum/demo",
    "lomiri-wallpapers-16.04": "usr/share/backgrounds",
    "lomiri-wallpapers-20.04": "usr/share/backgrounds",
    "mate-backgrounds": "usr/share/backgrounds",
    "opencv-doc": "usr/share/doc/opencv-doc/examples/data",
    "palapeli-data": "usr/share/palapeli",
    "plasma-workspace-wallpapers": "usr/share/wallpapers",
    "povray-doc": "usr/share/doc/povray/html",
    "tuxpaint-data": "usr/share/tuxpaint",
    "ukui-wallpapers": "usr/share/backgrounds",
    "wordpress-theme-twentytwentyone": "usr/share/wordpress",
    "wordpress-theme-twentytwentytwo": "usr/share/wordpress",
}
_SCREENS = {
    "debian-handbook": "usr/share/doc/debian-handbook/html/en-US/images",
    "gimp-help-en": "usr/share/gimp/2.0/help/en/images",
}
_DRAWINGS = {
    "openclipart-png": "usr/share/openclipart/png",
    "tuxpaint-stamps-default": "usr/share/tuxpaint/stamps",
}
_SAMPLES = {"scikit-image": "skimage/data", "scikit-learn": "sklearn/datasets/images"}
_SMALL_FILE = 12_000  # bytes: buttons and frames
# Pictures that carry what the marks are: signs of makers, logos, texts laid over.
_MARKED = ("splash", "logo", "watermark", "banner", "signature", "signs_and_symbols", "computer")


@dataclass(frozen=True)
class Base:
    """A picture without a mark: a file below the data, or a member of gcompris' `erase.rcc`.

    Pictures of one `group` may show the same.
    """

    kind: Literal["photo", "screen", "drawing"]
    package: str
    name: str
    path: str
    member: str = ""

    @property
    def group(self) -> str:
        """Its package and name without numbers."""
        return f"{self.package} {re.sub(r'[-_ ]*[0-9]+', '', self.name)}"

    @property
    def part(self) -> Part:
        """The side on which all pictures of its group are."""
        if self.package.startswith(_TEST_ONLY):
            return "test"
        if self.package.startswith(_LEARNT_ONLY):
            return "train"
        share = int.from_bytes(blake2b(f"marks {self.group}".encode()).digest()[:6], "big") / 2**48
        return PARTS[sum(share >= bound for bound in _SHARES)]


def bases(data: Path) -> list[Base]:
    """All pictures in the data, sorted; one file where a package has several sizes of a picture."""
    found: dict[tuple[str, str], Base] = {}
    for base in _candidates(data):
        if not any(word in base.path.lower() for word in _MARKED):
            found.setdefault((base.package, base.name), base)
    return [found[place] for place in sorted(found)]


def _candidates(data: Path) -> Iterator[Base]:
    for name, inner in _DRAWINGS.items():
        for path in _files(data / "deb" / name / inner):
            if path.name not in _quickstart():
                yield Base("drawing", name, path.stem, str(path.relative_to(data)))
    for name, inner in _PHOTOS.items():
        for path in _large(data / "deb" / name / inner):
            # Plasma's files are named after their size, the folder above them after the picture.
            called = path.parents[2].name if name.startswith("plasma") else path.stem
            yield Base("photo", name, called, str(path.relative_to(data)))
    for name, inner in _SCREENS.items():
        for path in _large(data / "deb" / name / inner):
            yield Base("screen", name, path.stem, str(path.relative_to(data)))
    for name, inner in _SAMPLES.items():
        for path in _large(data / "wheel" / name / inner):
            yield Base("photo", name, path.stem, str(path.relative_to(data)))
    activity = data / "deb/gcompris-qt-data/usr/share/gcompris-qt/rcc/erase.rcc"
    for member, content in sorted(_resources(activity).items()):
        if member.endswith(".webp") and len(content) > _SMALL_FILE:
            yield Base("photo", "gcompris", member, str(activity.relative_to(data)), member)


def _files(folder: Path) -> list[Path]:
    """Pictures below a folder, sorted."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS]
    return sorted(found)


def _large(folder: Path) -> Iterator[Path]:
    """Those that are no icons or strips."""
    for path in _files(folder):
        with Image.open(path) as picture:
            short, long = sorted(picture.size)
        if short >= _SHORTEST and long <= 3 * short:
            yield path


@lru_cache(maxsize=1)
def _quickstart() -> frozenset[str]:
    return frozenset(Path(item.file).name for item in read_items())


@lru_cache(maxsize=1)
def _resources(path: Path) -> dict[str, bytes]:
    return read_resources(path)


@lru_cache(maxsize=64)
def opened(data: Path, base: Base) -> Image.Image:
    """The whole picture, at most _LONGEST pixels on a side; drawings keep their alpha."""
    path = data / base.path
    file = BytesIO(_resources(path)[base.member]) if base.member else path
    with Image.open(file) as picture:
        picture.draft("RGB", (_LONGEST, _LONGEST))
        loaded = picture.convert("RGBA")
    loaded.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    return loaded


def cut(data: Path, base: Base, size: tuple[int, int], dice: np.random.Generator) -> Pixels:
    """A picture of (width, height): a part of a photograph or screen, or a drawing on a ground."""
    whole = opened(data, base)
    if base.kind == "drawing":
        return _on_ground(whole, size, dice)
    most = min(whole.width / size[0], whole.height / size[1])
    scale = most * (1 if dice.random() < 0.4 else dice.uniform(0.45, 1))
    wide, high = size[0] * scale, size[1] * scale
    left = dice.random() * max(0.0, whole.width - wide)
    top = dice.random() * max(0.0, whole.height - high)
    box = (left, top, min(left + wide, whole.width), min(top + high, whole.height))
    ground = Image.new("RGBA", whole.size, "white")
    ground.alpha_composite(whole)
    found = ground.convert("RGB").resize(size, Image.Resampling.BICUBIC, box, reducing_gap=2)
    if dice.random() < 0.5:
        found = found.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(found)


def _on_ground(drawing: Image.Image, size: tuple[int, int], dice: np.random.Generator) -> Pixels:
    colour = (255, 255, 255) if dice.random() < 0.6 else tuple(dice.integers(0, 256, 3).tolist())
    sheet = Image.new("RGBA", size, (*colour, 255))
    scale = dice.uniform(0.6, 1) * min(size[0] / drawing.width, size[1] / drawing.height)
    wide, high = (max(1, round(side * scale)) for side in drawing.size)
    small = drawing.resize((wide, high), Image.Resampling.BICUBIC, reducing_gap=2)
    left, top = (int(dice.integers(0, room + 1)) for room in (size[0] - wide, size[1] - high))
    sheet.alpha_composite(small, (left, top))
    return np.asarray(sheet.convert("RGB"))
