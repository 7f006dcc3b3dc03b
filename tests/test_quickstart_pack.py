"""The shipped quickstart pack: its tables tell the truth about its files; the plan is stable."""

import csv
import io
import re
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.embedded.splits import part
from benchmarks.quickstart_pack import pictures
from benchmarks.quickstart_pack.credits import LICENCES, Credit, readme_credits
from benchmarks.quickstart_pack.faults import KNOWN_LANGUAGES, STEPS, Counts, plan
from benchmarks.quickstart_pack.originals import Item, read_items
from benchmarks.quickstart_pack.packages import PACKAGES
from benchmarks.quickstart_pack.resources import read_resources

CONFIGS = Path(__file__).parents[1] / "configs"
PACK = CONFIGS / "quickstart"
PHOTOS = PACK / "photos"


def table(name: str) -> list[dict[str, str]]:
    with (PACK / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


FAULTS = {row["file"]: row for row in table("faults.csv")}
CREDITS = {row["file"]: row for row in table("attributions.csv")}
ITEMS = {item.name: item for item in read_items()}


def caption(name: str) -> str:
    return (PHOTOS / name).with_suffix(".txt").read_text(encoding="utf-8")


def upright(name: str) -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return ImageOps.exif_transpose(image).convert("RGBA").convert("RGB")


def having(*faults: str) -> list[str]:
    return [name for name, row in FAULTS.items() if row["fault"] in faults]


def item_of(name: str) -> Item:
    package, _, path = CREDITS[name]["package"].partition(": ")
    (source,) = (source for source, known in PACKAGES.items() if known == package)
    (found,) = (i for i in ITEMS.values() if i.source == source and path.endswith(i.file))
    return found


# --- the tables -----------------------------------------------------------------------------


def test_each_picture_has_a_caption_a_fault_row_and_a_credit() -> None:
    pictures_there = sorted(p.name for p in PHOTOS.iterdir() if p.suffix != ".txt")
    captions_there = sorted(p.stem for p in PHOTOS.glob("*.txt"))
    assert pictures_there == sorted(FAULTS) == sorted(CREDITS)
    assert captions_there == [name.partition(".")[0] for name in pictures_there]


def test_the_pack_is_small_and_its_names_give_nothing_away() -> None:
    assert sum(path.stat().st_size for path in PHOTOS.iterdir()) < 10e6
    assert all(re.fullmatch(r"\d{4}\.(jpg|png|webp)", name) for name in FAULTS)
    ranks = [rank for rank, name in enumerate(FAULTS) if FAULTS[name]["fault"] == "wrong_caption"]
    assert 0.35 < np.mean(ranks) / len(FAULTS) < 0.65


def test_every_licence_is_known_and_allows_changes() -> None:
    for row in CREDITS.values():
        assert row["author"]
        assert LICENCES[row["licence"]] == row["licence_url"]
        if row["licence"].startswith("CC-BY"):
            assert row["source_url"]


def test_the_faults_are_as_many_as_the_readme_says() -> None:
    counted = Counter(row["fault"] for row in FAULTS.values())
    told: dict[str, int] = {}
    for names, numbers in re.findall(
        r"^\| ([a-z_, ]+) \| ([\d, ]+) \|", (PACK / "README.md").read_text("utf-8"), re.MULTILINE
    ):
        told.update(zip(names.split(", "), map(int, numbers.split(", ")), strict=True))
    assert told == {fault: counted[fault] for fault in STEPS if fault != "none"}


def test_expectations_follow_from_the_fault_and_steps_are_those_of_the_recipe() -> None:
    recipe = (CONFIGS / "quickstart.yaml").read_text("utf-8")
    for row in FAULTS.values():
        assert row["step"] == STEPS[row["fault"]]
        assert row["expect"] == ("drop" if row["step"] else "keep")
        for step in row["step"].split("|"):
            assert not step or step.startswith("failed: ") or f"- {step}:" in recipe


# --- the files ------------------------------------------------------------------------------


def test_what_is_to_be_kept_is_readable_large_enough_and_described() -> None:
    for name in having("none", "rotated"):
        size = upright(name).size
        assert min(size) >= 224, name
        assert max(size) <= 3 * min(size), name
        words = caption(name).split()
        assert len(words) >= 2 or FAULTS[name]["language"] in ("ja", "th", "zh"), name
        assert FAULTS[name]["language"] in KNOWN_LANGUAGES


def test_honest_captions_are_those_of_the_items_and_no_two_are_alike() -> None:
    names = having("none", "rotated")
    assert len({caption(name) for name in names}) == len(names)
    for name in names:
        item = item_of(name)
        assert FAULTS[name]["language"] == item.language
        assert not item.caption or caption(name) == item.caption


def test_drawings_are_of_concepts_that_were_never_learnt() -> None:
    drawings = [item for item in ITEMS.values() if not item.is_photo]
    assert len(drawings) > 150
    assert all(part(item.concept) == "test" for item in drawings)
    assert all(not item.is_photo for item in ITEMS.values() if item.source != "gcompris")


def test_wrong_captions_belong_to_a_picture_of_another_kind() -> None:
    for name in having("wrong_caption"):
        own, other = item_of(name), item_of(FAULTS[name]["of"])
        assert own.kind != other.kind
        assert caption(name) == (other.caption or other.concept)


def test_copies_name_a_clean_original_that_looks_alike() -> None:
    def small(name: str) -> np.ndarray:
        return np.asarray(upright(name).convert("L").resize((16, 16)), np.float64)

    for name in having("duplicate", "exact_duplicate"):
        original = FAULTS[name]["of"]
        assert FAULTS[original]["fault"] == "none"
        is_same = (PHOTOS / name).read_bytes() == (PHOTOS / original).read_bytes()
        assert is_same == (FAULTS[name]["fault"] == "exact_duplicate")
        assert np.abs(small(name) - small(original)).mean() < 12
        assert min(upright(name).size) >= 200
        assert not is_same or caption(name) != caption(original)


def test_only_broken_files_are_broken() -> None:
    for name in FAULTS:
        if FAULTS[name]["fault"] != "broken":
            upright(name)
            continue
        with pytest.raises((OSError, SyntaxError)):  # Pillow's word for a bad PNG is SyntaxError
            upright(name)


def test_small_and_narrow_pictures_trip_one_limit_each() -> None:
    for name in having("tiny"):
        size = upright(name).size
        assert min(size) <= 150
        assert max(size) < 3 * min(size)
    for name in having("extreme_aspect"):
        size = upright(name).size
        assert min(size) >= 200
        assert max(size) > 4 * min(size)


def test_rotated_photos_say_so_in_their_exif() -> None:
    for name in having("rotated"):
        with Image.open(PHOTOS / name) as image:
            tag = image.getexif()[0x0112]
        assert FAULTS[name]["note"] == f"EXIF orientation {tag}"
    assert {FAULTS[name]["note"][-1] for name in having("rotated")} == {"3", "6", "8"}


def test_poor_captions_are_poor() -> None:
    assert all(not caption(name).strip() for name in having("empty_caption"))
    assert all(len(caption(name).split()) > 90 for name in having("too_long"))
    assert all(FAULTS[n]["language"] not in KNOWN_LANGUAGES for n in having("other_language"))
    boilerplate = [caption(name) for name in having("boilerplate")]
    assert len(set(boilerplate)) == len(boilerplate)
    hosts = re.findall(r"\w+\.(?:com|org|net)", " ".join(caption(name) for name in FAULTS))
    assert set(hosts) <= {"example.com"}


# --- the making -----------------------------------------------------------------------------


def items(count: int = 140) -> list[Item]:
    kinds = ("animal", "building", "tool")
    made = []
    for n in range(count):
        also = f"also {n}" if n < 20 else ""
        concept = "" if n % 2 else f"thing {n}"
        language = "fi" if n in (40, 41) else "en"
        kind = kinds[n % 3]
        made.append(Item("gcompris", f"{n}.webp", kind, language, f"text {n}", also, "", concept))
    return made


FEW = Counts(
    wrong_caption=(6, 6),
    rotated=(3, 0),
    broken=(2, 2),
    near_copies=4,
    exact_copies=3,
)


def test_a_plan_does_not_depend_on_the_order_of_items() -> None:
    planned = plan(items(), 0, FEW)
    assert plan(items()[::-1], 0, FEW) == planned
    assert plan(items(), 1, FEW) != planned


def test_a_plan_uses_every_item_once_and_copies_only_clean_ones() -> None:
    planned = plan(items(), 0, FEW)
    clean = {one.item for one in planned if one.fault == "none"}
    copies = [one for one in planned if one.item is not None and one.of == one.item]
    assert Counter(one.fault for one in copies) == {"duplicate": 4, "exact_duplicate": 3}
    assert all(one.of in clean for one in copies)
    own = [one.item for one in planned if one.item is not None and one not in copies]
    assert sorted(item.name for item in own) == sorted(item.name for item in items())


def test_a_plan_of_too_few_items_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        plan(items(60), 0, FEW)


@pytest.mark.parametrize("orientation", sorted(pictures.TURNS))
def test_a_picture_turned_sideways_comes_out_upright(orientation: int) -> None:
    ramp = np.add.outer(np.arange(40), 2 * np.arange(60)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp // 2, 255 - ramp], axis=-1))
    turned = pictures.sideways(image, orientation)
    content = pictures.encode(turned, "jpg", quality=95, orientation=orientation)
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert seen.size == image.size
    difference = np.asarray(seen, np.int64) - np.asarray(image, np.int64)
    assert np.abs(difference).mean() < 3


def test_a_drawing_loses_its_border_and_keeps_its_transparency() -> None:
    sheet = Image.new("RGBA", (500, 500), (0, 0, 0, 0))
    sheet.paste((200, 10, 10, 255), (100, 200, 300, 240))
    fitted = pictures.fit_drawing(sheet)
    left, upper, right, lower = fitted.getchannel("A").getbbox() or (0, 0, 0, 0)
    assert right - left == pytest.approx(272, abs=2)
    assert (right - left) / (lower - upper) == pytest.approx(5, rel=0.1)
    assert min(fitted.size) == 232
    assert fitted.getpixel((0, 0)) == (255, 255, 255, 0)


README = """Copyright: Jane Doe, 2018
License: CC-BY-SA 4.0
Source: https://example.com/a
Files:
a.webp
b.webp

Files: c.webp
License: Public domain
Copyright: John Roe

Copyright: 2000, 2008 Ann Poe
License: CC-BY 4.0
d.webp
Comment: based on a photo by Max Moe, license CC-BY 3.0, source at https://example.com/d
"""


def test_credits_are_read_from_a_readme() -> None:
    assert readme_credits(README) == {
        "a.webp": Credit("Jane Doe", "CC-BY-SA-4.0", "https://example.com/a"),
        "b.webp": Credit("Jane Doe", "CC-BY-SA-4.0", "https://example.com/a"),
        "c.webp": Credit("John Roe", "Public domain"),
        "d.webp": Credit(
            "Max Moe (CC-BY 3.0); changed by Ann Poe", "CC-BY-4.0", "https://example.com/d"
        ),
    }


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "CC-BY-ND 3.0", "all rights reserved"])
def test_a_picture_that_may_not_be_changed_is_refused(licence: str) -> None:
    with pytest.raises(KeyError, match="licence"):
        readme_credits(f"Copyright: Jane Doe\nLicense: {licence}\nFiles:\na.webp\n")


def resource_file(members: dict[str, bytes]) -> bytes:
    """A version 1 file whose root holds `members`; the second of them is compressed."""
    names, data, tree = b"", b"", struct.pack(">IHII", 0, 2, len(members), 1)
    for number, (name, content) in enumerate(members.items()):
        flags = int(number == 1)
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if flags else content
        tree += struct.pack(">IHHHI", len(names), flags, 0, 0, len(data))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        data += struct.pack(">I", len(stored)) + stored
    at = 20
    offsets = struct.pack(">IIII", 1, at, at + len(tree), at + len(tree) + len(data))
    return b"qres" + offsets + tree + data + names


def test_resource_files_are_read_stored_and_compressed(tmp_path: Path) -> None:
    members = {"README": b"hello", "ä.webp": b"x" * 1000}
    (tmp_path / "a.rcc").write_bytes(resource_file(members))
    assert read_resources(tmp_path / "a.rcc") == members


def test_another_file_is_no_resource_file(tmp_path: Path) -> None:
    (tmp_path / "a.rcc").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="not a Qt resource file"):
        read_resources(tmp_path / "a.rcc")
