"""What the drawings of the Open Clip Art Library are called."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.embedded import clipart


def draw(data: Path, name: str, title: str, author: str = "", *keywords: str) -> None:
    picture = data / clipart.PICTURES / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 3)).save(picture)
    svg = data / clipart.DRAWINGS / f"{name}.svg"
    svg.parent.mkdir(parents=True, exist_ok=True)
    bag = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords)
    told = f"<dc:title>{title}</dc:title><dc:creator><dc:title>{author}</dc:title></dc:creator>"
    svg.write_text(f"<svg><metadata>{told}{bag}</metadata></svg>", "utf-8")


def test_a_title_is_the_caption_and_keywords_leave_the_author_out(tmp_path: Path) -> None:
    draw(tmp_path, "food/grapes_leif_lodahl_02", "Ripe &amp; Red Grapes", "Leif", "fruit", "leif")
    (drawing,) = clipart.read_drawings(tmp_path)
    assert drawing.caption == "ripe & red grapes"
    assert drawing.keywords == ("fruit", "food")
    assert drawing.file_names == ("grapes leif lodahl", "grapes leif lodahl")
    assert drawing.filed == "grapes leif lodahl"


@pytest.mark.parametrize("title", ["", "Lemon Theme", "Clipart by Ann Lee - bee", "Ann Lee"])
def test_without_a_title_of_its_own_a_drawing_has_its_file_name(tmp_path: Path, title: str) -> None:
    draw(tmp_path, "animals/busyBee2_ann_le_01", title, "Ann Lee")
    (drawing,) = clipart.read_drawings(tmp_path)
    assert drawing.caption == "busy bee"


def test_a_title_of_many_names_is_a_collection(tmp_path: Path) -> None:
    for name in ("stop", "yield", "tunnel"):
        draw(tmp_path, f"signs/{name}", "SVG Road Signs")
    assert [d.caption for d in clipart.read_drawings(tmp_path)] == ["stop", "tunnel", "yield"]


def test_serial_numbers_are_no_words() -> None:
    assert clipart.words("star_82pt05step.png") == ["star"]
    assert clipart.words("firewall2_hash_0x89c79d4_01") == ["firewall", "hash"]
    assert clipart.words("home14") == ["home"]
