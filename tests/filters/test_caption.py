"""CaptionStats: one rule at a time, then everything a page may put into a caption."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.caption import (
    CaptionStats,
    has_email,
    has_phone,
    has_url,
    is_boilerplate,
    is_filename,
    repetition,
    words,
)


def one(text):
    return {name: values[0] for name, values in CaptionStats()({"caption": [text]}).items()}


def test_golden():
    row = one("A cat, a DOG and 2 cats: www.pets.org")
    assert row == {
        "caption_chars": 37,
        "caption_words": 8,
        "caption_tokens": 8,
        "letter_share": 25 / 30,
        "digit_share": 1 / 30,
        "capital_share": 4 / 25,
        "repetition": 1 / 8,
        "is_boilerplate": False,
        "is_filename": False,
        "has_url": True,
        "has_email": False,
        "has_phone": False,
    }


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("  \u3000\t", 0),
        ("cat", 1),
        ("  a\u00a0cat ", 2),
        ("cat - dog", 3),  # as len(text.split()), which published recipes count
        ("一只猫", 2),
        ("一只猫，在沙发上。", 4),
        ("iPhone手机壳", 3),
        ("猫 犬", 2),
        ("ネコがソファで寝ている", 6),
        ("แมวนอนอยู่บนโซฟา", 4),
        ("고양이가 자고 있다", 3),
        ("बिल्ली सो रही है", 4),
    ],
)
def test_words(text, count):
    assert len(words(text)) == count
    assert one(text)["caption_words"] == count


@given(st.text(st.characters(max_codepoint=0xDFF)))
def test_words_are_those_of_split_where_words_are_spaced(text):
    assert words(text) == text.split()


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a dog and a cat", 0.2),
        ("A dog and a cat", 0.2),
        ("a a b b c", 0.4),
        ("dog", 0.0),
        ("dog dog dog", 2 / 3),
        ("图片图片图片图片", 0.75),
        ("", None),
    ],
)
def test_repetition(text, share):
    assert repetition(words(text)) == share


def test_a_repetition_of_one_in_five_is_not_above_a_limit_of_one_in_five():
    assert np.float32(one("a dog and a cat")["repetition"]) == np.float32(0.2)


@pytest.mark.parametrize(
    ("text", "letters", "digits", "capitals"),
    [
        ("", None, None, None),
        ("   ", None, None, None),
        ("1234", 0.0, 1.0, None),
        ("AB cd", 1.0, 0.0, 0.5),
        ("❤️😀", 0.0, 0.0, None),
        ("हिन्दी", 1.0, 0.0, None),
        ("e\u0301te\u0301", 1.0, 0.0, 0.0),
        ("٣٤ قطة", 0.6, 0.4, None),
    ],
)
def test_shares(text, letters, digits, capitals):
    row = one(text)
    assert (row["letter_share"], row["digit_share"], row["capital_share"]) == (
        letters,
        digits,
        capitals,
    )


@pytest.mark.parametrize(
    "text",
    [
        "image",
        "Photo 12",
        "[Untitled]",
        "Logo",
        "IMAGE NOT FOUND",
        "Sorry, image not available at the moment",
        "click to enlarge",
        "Click to enlarge image 3",
        "stock photo",
        "Buy now!",
        "thumbnail image",
        "alt text",
        "default alt",
        "placeholder",
        "photo of the",
        "No description",
        "Bild",
        "Sans titre",
        "暂无图片",
        "图片 1",
        "画像",
        "이미지 없음",
        "फोटो",
        "รูปภาพ",
        "صورة",
    ],
)
def test_boilerplate(text):
    assert is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12345",
        "A",
        "Two dogs on a beach, stock photo",
        "Red bicycle (click to enlarge)",
        "Photographer taking a picture",
        "The logo of a bakery",
        "imagery",
        "A puzzle with a missing image in the middle",
        "टी",
        "猫的图片",
        "Image not found " * 20,  # a text that long has something to say
    ],
)
def test_not_boilerplate(text):
    assert not is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    [
        "IMG_2034.JPG",
        "IMG_2034",
        "IMG-20200101-WA0003",
        "DSC00012",
        "dscn0001 (2)",
        "some-file-name.png",
        "my holiday 3.jpeg",
        "screenshot_2020-01-01",
        "Screenshot 2020-01-01 at 10.22.33",
        "PXL_20210101_123456789",
        "WhatsApp Image 2020-01-01 at 10.00.00",
        "image001",
        "photo-3",
        "GH010123",
        "hero_image",
        "12345678_10152_n",
        "9f86d081884c7d659a2feaa0c55ad015",
        "red-bicycle-on-the-beach",
        "000.jpg",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ],
)
def test_filename(text):
    assert is_filename(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Photo 12",
        "image 1",
        "Sam 16",
        "a state-of-the-art camera",
        "mother-in-law",
        "2019-10-12",
        "1-800-555-01-02",
        "12345-6789",
        "How to convert to .pdf",
        "imgur",
        "A cat. Sleeping",
        "https://example.com/cat.jpg",
        "--------",
        "deadbeef",
    ],
)
def test_not_filename(text):
    assert not is_filename(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://example.org/a", True),
        ("ftp://host/file", True),
        ("WWW.SHOP.DE", True),
        ("photo by 123RF.com", True),
        ("bbc.co.uk news", True),
        ("a.b", False),
        ("http status", False),
        ("welcome.common", False),
        ("end. Come in", False),
    ],
)
def test_url(text, expected):
    assert has_url(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to Jo.Doe+x@mail.example.com now", True),
        ("a@b.de", True),
        ("@john", False),
        ("a @ b.de", False),
        ("a@b", False),
        ("3 apples @1.50", False),
    ],
)
def test_email(text, expected):
    assert has_email(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+49 (0)30 1234567", True),
        ("555-123-4567", True),
        ("(555) 123-4567", True),
        ("Tel: 030 123 45 67", True),
        ("电话：010-12345678", True),
        ("call 911", False),
        ("1914-1918", False),
        ("2019-10-12", False),
        ("1024x768", False),
        ("iPhone 12 2020 2021", False),
        ("978-0-306-40615-7", False),
        ("1,234,567,890", False),
        ("+1", False),
    ],
)
def test_phone(text, expected):
    assert has_phone(text) is expected


@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_has_values_in_range(text):
    row = one(text)
    for name in ("letter_share", "digit_share", "capital_share", "repetition"):
        assert row[name] is None or 0 <= row[name] <= 1
    for name in list(row)[7:]:
        assert row[name] in (True, False)
    assert row["caption_words"] <= row["caption_chars"] == len(text)


HOSTILE = [
    "a",
    "a@",
    "a.",
    "a@a.",
    "+1",
    "1-",
    "(555) 123-",
    "http:/",
    "www.",
    "tel: 1",
    "_a",
    "a-",
]
HOSTILE += ["\0", "\ud800", " ", "猫", "่", "e\u0301", "click to ", "image ", "img 1", "İ", "\u200b"]


def seconds_for(text):
    start = time.process_time()
    one(text)
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_a_hostile_caption_takes_time_in_proportion(piece):
    """Quadratic work on so many characters takes half a minute; linear takes 50 ms."""
    body = piece * (100_000 // len(piece))
    assert seconds_for(body) + seconds_for("a@" + body) < 3


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_a_hostile_megabyte_takes_time_in_proportion(piece):
    assert seconds_for(piece * (1_000_000 // len(piece))) < 6


def test_reads_the_column_it_is_told_to():
    scorer = CaptionStats(text="long")
    assert scorer.reads == ("long",)
    assert scorer({"long": ["a b"]})["caption_words"] == [2]
    assert scorer({"long": []}) == {name: [] for name in scorer.writes.names}


def english(text):
    told = CaptionStats(english=True)({"caption": [text]})
    return told["determiners"][0], told["prepositions"][0]


@pytest.mark.parametrize(
    ("text", "determiners", "prepositions"),
    [
        ("a dog on the beach", 2, 1),
        ("The dog.", 1, 0),
        ("dog, (the) 'on'", 1, 1),
        ("dogs at play", 0, 1),
        ("my dog", 0, 0),  # a possessive is no determiner
        ("A.M. radio", 0, 0),
        ("another one, both of THESE", 3, 1),
        ("", 0, 0),
        ("...", 0, 0),
        ("猫在桌子上", 0, 0),
    ],
)
def test_english_words_are_counted_by_their_lists(text, determiners, prepositions):
    assert english(text) == (determiners, prepositions)


def test_english_columns_are_there_when_they_are_asked_for():
    plain, english = CaptionStats(), CaptionStats(english=True)
    assert english.writes.names == [*plain.writes.names, "determiners", "prepositions"]
    text = {"caption": ["a dog on the beach"]}
    assert {n: v for n, v in english(text).items() if n in plain.writes.names} == plain(text)
    assert plain.identity == {"text": "caption"}  # as it was: columns of before stay valid
    assert english.identity != plain.identity
