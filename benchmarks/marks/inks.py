"""What marks are made of: words in fonts and icons of brands, as masks, by side of the split.

No font, word or icon is on two sides: what is measured is drawn with other ones than are learnt.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from benchmarks.marks.bases import PARTS, Part
from benchmarks.marks.fetch import LEARNT_FONTS, TESTED_FONTS, VALIDATION_FONTS

_FONTS = {"train": LEARNT_FONTS, "validation": VALIDATION_FONTS, "test": TESTED_FONTS}
Mask = npt.NDArray[np.float32]

_WORDS = {
    "learnt": (
        "PREVIEW", "sample", "Stockpile", "pixbank", "DRAFT", "do not copy", "COPYRIGHT", "Imagea",
        "picturehub.com", "www.fotoland.net", "© Anna Berg", "photo by M. Ruiz", "Studio Nord",
        "comp image", "For review only", "IMAGEVAULT", "Lumen Pictures", "fotolab", "clickstock",
        "© 2019 all rights reserved", "stockline", "PROOF", "unlicensed", "gallery-nine.org",
    ),
    "tested": (
        "SPECIMEN", "evaluation copy", "Photoquay", "wallbank", "not for sale", "VIEWFINDER",
        "shotmarket.com", "www.bilderhof.de", "© K. Tanaka", "by Jo Meyer 2021", "Atelier Sud",
        "layout only", "PICDEPOT", "Aperture House", "snapstore", "© all images reserved",
        "图片网", "样图 请勿商用", "版权所有", "watermarked", "framery.io",
    ),
}  # fmt: skip
_SAYINGS = {
    "learnt": (
        "When you come home", "SALE 50% OFF", "Happy Birthday!", "Exit", "Chapter one", "Bakery",
        "Open daily 9 to 5", "One more coffee", "The best day of the year", "KEEP LEFT", "Hotel",
        "I told you so", "Summer festival", "Welcome to our town", "Free delivery", "NEWS",
    ),
    "tested": (
        "Nobody expected this", "GRAND OPENING", "Merry Christmas", "Platform 4", "Fresh fish",
        "Closed on Mondays", "Monday mornings be like", "Winter concert", "NO PARKING", "Museum",
        "Try our new menu", "What is for dinner?", "Library", "今日营业", "TAXI",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Inks:
    """Fonts (path and face), words of watermarks, sayings that are none, icons (font and sign)."""

    fonts: tuple[str, ...]
    words: tuple[str, ...]
    sayings: tuple[str, ...]
    icons: tuple[tuple[str, str], ...]
    pictograms: tuple[tuple[str, str], ...]

    def pick(self, what: str, dice: np.random.Generator) -> str:
        """One of the words or sayings."""
        listed: tuple[str, ...] = getattr(self, what)
        return listed[dice.integers(len(listed))]

    def text(self, said: str, height: int, dice: np.random.Generator) -> Mask:
        """A text as a mask [h, w] of 0 to 1, about `height` pixels from line to line."""
        fonts = self.fonts if said.isascii() else self._with(said)
        font = ImageFont.truetype(fonts[dice.integers(len(fonts))], max(6, height))
        return drawn(said, font)

    def icon(self, side: int, dice: np.random.Generator, what: str = "icons") -> Mask:
        """An icon as a mask, `side` pixels long."""
        listed: tuple[tuple[str, str], ...] = getattr(self, what)
        path, sign = listed[dice.integers(len(listed))]
        mask = drawn(sign, ImageFont.truetype(path, 128))
        scale = side / max(mask.shape)
        size = max(2, round(mask.shape[1] * scale)), max(2, round(mask.shape[0] * scale))
        picture = Image.fromarray(mask).resize(size, Image.Resampling.BOX)
        found: Mask = np.asarray(picture, np.float32).clip(0, 1)
        return found

    def _with(self, said: str) -> tuple[str, ...]:
        """The fonts that have all the signs of a text; those that lack some draw boxes."""
        return tuple(path for path in self.fonts if _has(path, said))


def inks(data: Path, part: Part) -> Inks:
    """The inks of a side; validation has fonts and icons of its own, and the words of the train."""
    side = "tested" if part == "test" else "learnt"
    fonts = sorted(
        str(path)
        for name in _FONTS[part]
        for path in (data / "deb" / name).rglob("*")
        if path.suffix.lower() in (".ttf", ".otf", ".ttc") and "math" not in path.name.lower()
    )
    signs = _awesome(data, "solid")
    half = [sign for sign in signs if (_share(sign[1]) < 0.5) == (part == "test")]
    return Inks(tuple(fonts), _WORDS[side], _SAYINGS[side], tuple(_brands(data)[part]), tuple(half))


def drawn(said: str, font: ImageFont.FreeTypeFont) -> Mask:
    """What a font makes of a text, cut to its ink: one pixel of zero at least."""
    left, top, right, bottom = font.getbbox(said)
    size = max(2, round(right - left)), max(2, round(bottom - top))
    sheet = Image.new("L", size)
    ImageDraw.Draw(sheet).text((-left, -top), said, 255, font)
    found: Mask = np.asarray(sheet, np.float32) / np.float32(255)
    return found


def _brands(data: Path) -> dict[Part, list[tuple[str, str]]]:
    """Icons of brands by side; the test has other brands, some of them in another style."""
    package = data / "npm/simple-icons-font/package/font"
    listed = json.loads((package / "simple-icons.json").read_text("utf-8"))
    path = str(package / "SimpleIcons.ttf")
    found: dict[Part, list[tuple[str, str]]] = {part: [] for part in PARTS}
    known = set()
    for entry in sorted(listed, key=lambda entry: str(entry["slug"])):
        part = PARTS[sum(_share(entry["slug"]) >= bound for bound in (0.65, 0.75))]
        found[part].append((path, chr(int(entry["code"], 16))))
        if part != "test":
            known.add(entry["slug"])
    for (font, sign), name in zip(
        _awesome(data, "brands"), _awesome_names(data, "brands"), strict=True
    ):
        if not known & {name.replace("-", ""), *name.split("-")}:
            found["test"].append((font, sign))
    return found


def _awesome(data: Path, family: str) -> list[tuple[str, str]]:
    package = data / "npm/fontawesome-free/package"
    weight = {"brands": "fa-brands-400", "solid": "fa-solid-900"}[family]
    font = str(package / "webfonts" / f"{weight}.woff2")
    return [(font, chr(code)) for _, code in _awesome_codes(package, family)]


def _awesome_names(data: Path, family: str) -> list[str]:
    return [name for name, _ in _awesome_codes(data / "npm/fontawesome-free/package", family)]


@lru_cache(maxsize=2)
def _awesome_codes(package: Path, family: str) -> list[tuple[str, int]]:
    brands = _codes((package / "css/brands.min.css").read_text("utf-8"))
    if family == "brands":
        return sorted(brands.items())
    shared = _codes((package / "css/fontawesome.min.css").read_text("utf-8"))
    return sorted((name, code) for name, code in shared.items() if code >= 0xF000)


def _codes(style: str) -> dict[str, int]:
    pairs = re.findall(r'\.fa-([a-z0-9-]+)\{--fa:"\\([0-9a-f]{3,5})"', style)
    return {name: int(code, 16) for name, code in pairs}


def _share(name: str) -> float:
    digest = blake2b(f"marks {name}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


@lru_cache(maxsize=4096)
def _has(path: str, said: str) -> bool:
    font = ImageFont.truetype(path, 24)
    unknown = drawn("\U000f1234", font)  # a private sign, which no font of texts has
    return not any(np.array_equal(drawn(sign, font), unknown) for sign in {*said} if sign.isalnum())
