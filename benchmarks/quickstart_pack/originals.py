"""The chosen pictures: a hand-written table of items, and where each one's pixels come from."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from benchmarks.embedded.splits import part
from benchmarks.quickstart_pack.credits import CLIPART, STAMPS, WORDS, Credit, readme_credits
from benchmarks.quickstart_pack.packages import PACKAGES
from benchmarks.quickstart_pack.resources import read_resources

Source = Literal["gcompris", "tuxpaint", "openclipart"]
ITEMS = Path(__file__).with_name("items.csv")
_GCOMPRIS = "gcompris/src/activities"
_FOLDERS = {
    "gcompris": "usr/share/gcompris-qt/rcc",
    "tuxpaint": "usr/share/tuxpaint/stamps",
    "openclipart": "usr/share/openclipart/png",
}
_STAMP_LANGUAGES = {"zh": "zh_CN"}


@dataclass(frozen=True)
class Item:
    """A row of items.csv.

    `concept` is the English name of a drawing by which splits are made; a photo has none.
    `also` is a second caption for copies. `use` reserves the item for one fault; empty otherwise.
    """

    source: Source
    file: str
    kind: str
    language: str
    caption: str
    also: str
    use: str
    concept: str

    @property
    def name(self) -> str:
        return f"{self.source}/{self.file}"

    @property
    def is_photo(self) -> bool:
        return not self.concept


@dataclass(frozen=True)
class Original:
    """An item with its pixels as published and its credit; the item's caption is never empty."""

    item: Item
    image: Image.Image
    credit: Credit

    @property
    def place(self) -> str:
        """The Debian package, the path in it and, within an archive, the path there."""
        source, file = self.item.source, self.item.file
        inside = f"{file.split('/')[0]}.rcc: {file}" if source == "gcompris" else file
        return f"{PACKAGES[source]}: {_FOLDERS[source]}/{inside}"


def read_items(path: Path = ITEMS) -> list[Item]:
    """All items in order; raises ValueError for a drawing the embedded encoder may train on."""
    with path.open(newline="", encoding="utf-8") as lines:
        items = [Item(**row) for row in csv.DictReader(lines)]  # type: ignore[arg-type]
    for item in items:
        if item.concept and part(item.concept) != "test":
            raise ValueError(f"{path}: {item.name}: {item.concept!r} is not in the test part")
    return items


def load_originals(items: Iterable[Item], folders: dict[str, Path]) -> Iterator[Original]:
    """The items with pixels, captions and credits from the unpacked packages in `folders`."""
    activities: dict[str, dict[str, bytes]] = {}
    for item in items:
        folder = folders[item.source] / _FOLDERS[item.source]
        if item.source == "gcompris":
            activity = item.file.split("/")[0]
            if activity not in activities:
                activities[activity] = read_resources(folder / f"{activity}.rcc")
            yield _from_activity(item, activities[activity])
        elif item.source == "tuxpaint":
            yield _stamp(item, folder)
        else:
            yield Original(item, _opened((folder / item.file).read_bytes()), CLIPART)


def _from_activity(item: Item, files: dict[str, bytes]) -> Original:
    image = _opened(files[f"{_GCOMPRIS}/{item.file}"])
    if item.file.startswith("lang/"):
        return Original(item, image, WORDS)
    folder, name = item.file.rsplit("/", 1)
    readme = f"{_GCOMPRIS}/{folder}/README"
    if readme not in files:  # explore_monuments has one README above its folders
        folder, last = folder.rsplit("/", 1)
        readme, name = f"{_GCOMPRIS}/{folder}/README", f"{last}/{name}"
    return Original(item, image, readme_credits(files[readme].decode())[name])


def _stamp(item: Item, folder: Path) -> Original:
    path = folder / item.file
    text = path.with_suffix(".txt").read_text(encoding="utf-8")
    captions = {"en": text.splitlines()[0].strip()}
    for code, caption in re.findall(r"^([\w@]+)\.utf8=(.*)$", text, flags=re.MULTILINE):
        captions[code] = " ".join(caption.split())
    if captions["en"] != item.concept:
        raise ValueError(f"{path}: captioned {captions['en']!r}, items.csv says {item.concept!r}")
    caption = captions[_STAMP_LANGUAGES.get(item.language, item.language)]
    captioned = Item(**{**vars(item), "caption": caption})
    return Original(captioned, _opened(path.read_bytes()), STAMPS)


def _opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")
