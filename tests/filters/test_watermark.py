"""Watermarks: names of agencies as readers see them, tiles, and what is none."""

import cv2
import numpy as np
import pytest

from filters.ocr import TextBoxes
from filters.watermark import Watermark, marks
from tests.pictures import photo


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("shutterstock", ["Shutterstock"]),
        ("www.SHUTTERST0CK.com - 12345", ["Shutterstock"]),
        ("gettyimages\nCredit: somebody", ["Getty Images"]),
        ("alamy stock photo", ["Alamy"]),
        ("IStock", ["iStock"]),
        ("1stockphoto", ["iStock"]),
        ("123RF", ["123RF"]),
        ("Adobe Stock | #1234", ["Adobe Stock"]),
        ("depositphotos\nDepositPhotos", ["Depositphotos"]),
        ("视觉中国", ["Visual China"]),
        ("studio anna\nStudio Anna\nstudio anna ", ["repeated: studio anna"]),
        ("© 2019 Anna", ["copyright"]),
        ("dreamstime.com\n(c) 2020", ["Dreamstime", "copyright"]),
    ],
)
def test_found(said, expected):
    assert marks(said) == expected
    has_mark = True if expected != ["copyright"] else None
    assert Watermark()({"ocr_text": [said]}) == {
        "has_watermark": [has_mark],
        "watermarks": [expected],
    }


@pytest.mark.parametrize(
    "said",
    [
        "",
        "in stock\nout of stock",
        "Stock Exchange, Woodstock, overstock, fish stock",
        "salamy, pixtape, envatology, pond 55",
        "1123rf, 123 rfc",
        "SALE\nSALE",
        "12\n12\n12\n12",
        "a\na\na",
        "\x00\ud800",
    ],
)
def test_none(said):
    assert Watermark()({"ocr_text": [said]}) == {"has_watermark": [None], "watermarks": [[]]}


def test_no_texts_another_column_and_a_huge_one():
    assert Watermark()({"ocr_text": []}) == {"has_watermark": [], "watermarks": []}
    assert Watermark(text="words").reads == ("words",)
    assert marks("x" * 10**6 + "shutterstock") == []


def test_a_mark_is_read_off_a_picture():
    pytest.importorskip("rapidocr")
    picture = photo(4, (640, 420))
    ink = np.zeros_like(picture)
    cv2.putText(ink, "dreamstime", (90, 230), cv2.FONT_HERSHEY_DUPLEX, 2, (255,) * 3, 3)
    marked = np.where(ink > 0, picture * 0.4 + 255 * 0.6, picture).astype(np.uint8)
    given = {"image": [picture, marked], "caption": ["a picture"] * 2}
    said = TextBoxes(read=True)(given)["ocr_text"]
    assert Watermark()({"ocr_text": said})["watermarks"] == [[], ["Dreamstime"]]
