"""Pictures with their words, read from the unpacked packages: emoji, stamps, clip art and photos.

A pair keeps one English caption, its translations and looser keywords. Nothing is split here.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.embedded import clipart
from benchmarks.embedded.qt_resources import members
from benchmarks.embedded.splits import canonical

# The languages of the text backbone but English, by their CLDR codes.
LANGUAGES = tuple("ar de es fr it ja ko nl pl pt ru th tr zh zh-Hant".split())  # noqa: SIM905
VENDORS = ("google", "twitter")  # Noto and Twemoji are free; Apple's and Facebook's art is not
_PEOPLE = re.compile(r"\b(man|woman|men|women|person|people|boy|girl|male|female)\b")
_STAMP_LANGUAGES = {"pt": "pt_BR", "zh": "zh_CN", "zh-Hant": "zh_TW"}


@dataclass(frozen=True)
class Pair:
    """One picture (a path under the data folder) and what it is called.

    `other_names` are not learnt; the picture is not either if one of them is in the test part.
    `filed` is the caption of an earlier experiment: the name of the file with author and number.
    """

    source: str
    group: str
    path: str
    caption: str
    concept: str
    translations: dict[str, str] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    filed: str = ""


def read_pairs(data: Path) -> list[Pair]:
    """All pairs, sorted by source and path; captions of fewer than three letters are left out."""
    pairs = [*_emoji(data), *_stamps(data), *_clipart(data), *_photos(data), *_samples(data)]
    named = [p for p in pairs if sum(c.isalpha() for c in p.caption) >= 3]
    return sorted(named, key=lambda pair: (pair.source, pair.path))


def _emoji(data: Path) -> list[Pair]:
    words = {lang: _annotations(data, lang) for lang in ("en", *LANGUAGES)}
    pairs = []
    for vendor in VENDORS:
        package = Path("npm") / f"emoji-datasource-{vendor}" / "package"
        for entry in json.loads((data / package / "emoji.json").read_text("utf-8")):
            path = package / "img" / vendor / "64" / entry["image"]
            if entry[f"has_img_{vendor}"] and (data / path).exists():
                pairs.append(_emoji_pair(entry, str(path), words))
    return pairs


def _annotations(data: Path, language: str) -> dict[str, dict[str, list[str]]]:
    path = data / "npm/cldr-annotations-full/package/annotations" / language / "annotations.json"
    found: dict[str, dict[str, list[str]]] = json.loads(path.read_text("utf-8"))["annotations"][
        "annotations"
    ]
    return found


def _emoji_pair(
    entry: dict[str, str], path: str, words: dict[str, dict[str, dict[str, list[str]]]]
) -> Pair:
    symbol = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
    plain = symbol.replace("\ufe0f", "")
    told = {lang: table.get(symbol) or table.get(plain) or {} for lang, table in words.items()}
    names = {lang: known["tts"][0] for lang, known in told.items() if "tts" in known}
    caption = names.pop("en", None) or (entry["name"] or entry["short_name"]).lower()
    if entry["category"] == "Flags":
        caption = entry["name"].lower().replace(" flag", "") + " flag"
    keywords = tuple(told["en"].get("default", [])[:12])
    return Pair("emoji", entry["category"], path, caption, concept(caption), names, keywords)


def concept(caption: str) -> str:
    """What stays on one side of the split together: "man singer" and "singer" are one concept."""
    name = canonical(caption)
    return " ".join(_PEOPLE.sub(" ", name.split(":")[0]).split()) or name


def _stamps(data: Path) -> list[Pair]:
    root = Path("deb/tuxpaint-stamps-default/usr/share/tuxpaint/stamps")
    pairs = []
    for words in sorted((data / root).rglob("*.txt")):
        picture = words.with_suffix(".png")
        lines = words.read_text("utf-8", "replace").splitlines()
        if not lines or not picture.exists() or "_mirror" in picture.name:
            continue
        folders = words.parent.relative_to(data / root).parts
        caption = lines[0].strip().rstrip(".")
        pairs.append(
            Pair(
                "stamps",
                folders[0],
                str(picture.relative_to(data)),
                caption,
                concept(caption),
                _stamp_translations(lines[1:]),
                tuple(folders),
            )
        )
    return pairs


def _stamp_translations(lines: list[str]) -> dict[str, str]:
    told = dict(line.split(".utf8=", 1) for line in lines if ".utf8=" in line)
    codes = {lang: _STAMP_LANGUAGES.get(lang, lang) for lang in LANGUAGES}
    return {lang: told[code].strip() for lang, code in codes.items() if told.get(code, "").strip()}


def _clipart(data: Path) -> list[Pair]:
    return [
        Pair(
            "clipart",
            _clipart_group(drawing.folders),
            drawing.path,
            drawing.caption,
            concept(drawing.caption),
            keywords=drawing.keywords,
            other_names=tuple(name for name in drawing.file_names if name),
            filed=drawing.filed,
        )
        for drawing in clipart.read_drawings(data)
    ]


def _clipart_group(folders: tuple[str, ...]) -> str:
    """ "Themes" are icons of desktop themes, "Flags" are flags; else the first folder."""
    if any(folder.endswith("-theme") for folder in folders):
        return "Themes"
    return "Flags" if "flags" in folders else folders[0]


_PHOTO_ARCHIVES = {
    "explore_world_animals": "animals",
    "explore_farm_animals": "animals",
    "erase": "animals",
    "explore_monuments": "monuments",
}


def _photos(data: Path) -> list[Pair]:
    """The animal and monument photographs of GCompris: for tests only, never learnt from."""
    pairs = []
    for archive, group in _PHOTO_ARCHIVES.items():
        packed = data / f"deb/gcompris-qt-data/usr/share/gcompris-qt/rcc/{archive}.rcc"
        for inner, contents in members(packed):
            if not inner.endswith(".webp") or "/resource/" not in inner:
                continue
            path = data / "photos" / archive / Path(inner).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
            caption = " ".join(clipart.words(path.stem))
            pairs.append(
                Pair("photos", group, str(path.relative_to(data)), caption, canonical(caption))
            )
    return pairs


_SAMPLES = {
    "skimage/data/astronaut.png": "a smiling woman astronaut in an orange space suit",
    "skimage/data/camera.png": "a man with a camera on a tripod",
    "skimage/data/chelsea.png": "a close-up of a tabby cat",
    "skimage/data/coffee.png": "a cup of coffee on a saucer",
    "skimage/data/coins.png": "old coins",
    "skimage/data/rocket.jpg": "a rocket on the launch pad",
    "skimage/data/horse.png": "the black silhouette of a horse",
    "skimage/data/hubble_deep_field.jpg": "galaxies and stars in deep space",
    "skimage/data/moon.png": "the surface of the moon with a crater",
    "skimage/data/page.png": "a scanned page of printed text",
    "skimage/data/text.png": "handwriting on paper",
    "skimage/data/brick.png": "a brick wall",
    "skimage/data/grass.png": "grass",
    "skimage/data/gravel.png": "gravel and small stones",
    "skimage/data/clock_motion.png": "a clock, blurred by motion",
    "skimage/data/motorcycle_left.png": "a motorcycle in a garage",
    "skimage/data/retina.jpg": "the retina of an eye",
    "sklearn/datasets/images/china.jpg": "a Chinese temple with curved roofs",
    "sklearn/datasets/images/flower.jpg": "an orange flower",
}


def _samples(data: Path) -> list[Pair]:
    """Photographs that two Python packages ship, with captions of our own: tests only."""
    pairs = []
    for inner, caption in _SAMPLES.items():
        package = "scikit-image" if inner.startswith("skimage") else "scikit-learn"
        path = Path("wheel") / package / inner
        if (data / path).exists():
            pairs.append(Pair("samples", "samples", str(path), caption, canonical(caption)))
    return pairs
