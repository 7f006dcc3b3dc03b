"""The structure of JPEG files: what stripping keeps, what damage is found, what is forgiven."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.decoding import Unreadable, decode, read_header
from pipeline.jpeg import count_scans, segments, strip_jpeg_metadata
from tests import pictures

KINDS = {n: d for n, d in pictures.every_kind().items() if n.startswith("jpeg")}
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>somewhere</x:xmpmeta>"


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def talkative(data: bytes) -> bytes:
    """The same picture with metadata of all kinds, in the middle and behind the end as well."""
    said = segment(0xE1, pictures.exif(1, gps=True)) + segment(0xE1, XMP)
    said += segment(0xE2, b"MPF\0" + bytes(60)) + segment(0xED, b"Photoshop 3.0\x008BIM\4\4")
    said += segment(0xFE, b"a secret") + segment(0xE0, b"JFXX\0\x10" + pictures.jpeg(size=(8, 8)))
    scan = data.index(b"\xff\xda")
    return data[:20] + said + data[20:scan] + segment(0xFE, b"late") + data[scan:] + b"PK tail"


@pytest.mark.parametrize("name", KINDS)
def test_stripping_changes_no_pixel_as_stored(name: str) -> None:
    stored = np.asarray(Image.open(BytesIO(KINDS[name])))
    stripped = strip_jpeg_metadata(KINDS[name])
    assert np.array_equal(np.asarray(Image.open(BytesIO(stripped))), stored)
    assert strip_jpeg_metadata(stripped) == stripped


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "jpeg grey", "jpeg restart"])
def test_stripping_removes_every_word(name: str) -> None:
    loud = talkative(KINDS[name])
    assert np.array_equal(decode(loud), decode(KINDS[name]))
    stripped = strip_jpeg_metadata(loud)
    assert stripped == strip_jpeg_metadata(KINDS[name])
    for word in (b"Exif", b"somewhere", b"8BIM", b"secret", b"late", b"MPF", b"JFXX", b"tail"):
        assert word in loud
        assert word not in stripped
    assert pictures.MAKER.encode() not in stripped
    assert not Image.open(BytesIO(stripped)).getexif()
    assert {m for m, _, _ in segments(stripped)} <= {
        0,
        0xE0,
        0xDB,
        0xC0,
        0xC2,
        0xC4,
        0xDD,
        0xDA,
        0xD9,
    }


def test_a_thumbnail_in_the_first_segment_goes() -> None:
    data = KINDS["jpeg"]
    thumb = segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48\2\2" + b"thumbnail!!!")
    with_thumb = data[:2] + thumb + data[20:]
    assert np.array_equal(decode(with_thumb), decode(data))
    assert b"thumbnail" not in strip_jpeg_metadata(with_thumb)
    assert Image.open(BytesIO(strip_jpeg_metadata(with_thumb))).info["dpi"] == (72, 72)


def test_stripping_keeps_what_says_which_colours_are_meant() -> None:
    for name in ("jpeg rgb", "jpeg cmyk"):
        assert b"Adobe" in strip_jpeg_metadata(KINDS[name])
        assert np.array_equal(decode(strip_jpeg_metadata(KINDS[name])), decode(KINDS[name]))
    assert b"ICC_PROFILE" not in strip_jpeg_metadata(KINDS["jpeg icc"])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_cut_file_is_refused_wherever_it_is_cut(name: str) -> None:
    data = KINDS[name]
    for cut in range(3, len(data)):
        with pytest.raises(Unreadable) as caught:
            decode(data[:cut])
        assert caught.value.reason == "truncated"
    with pytest.raises(Unreadable):
        strip_jpeg_metadata(data[:-1])


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"jpeg progressive"}))
def test_a_cut_file_with_an_end_marker_is_refused_as_well(name: str) -> None:
    data = KINDS[name]
    for cut in range(data.index(b"\xff\xda") + 14, len(data) - 8, 5):
        with pytest.raises(Unreadable):
            decode(data[:cut] + b"\xff\xd9")


def test_a_lost_restart_marker_is_found() -> None:
    data = KINDS["jpeg restart"]
    place = data.index(b"\xff\xd3", data.index(b"\xff\xda"))
    with pytest.raises(Unreadable, match="corrupt"):
        decode(data[: place + 1] + b"\xd5" + data[place + 2 :])


def test_garbage_between_segments_is_found() -> None:
    data = KINDS["jpeg"]
    with pytest.raises(Unreadable, match="corrupt"):
        read_header(data[:20] + b"garbage" + data[20:])


ODD = {
    "unknown version": lambda d: d.replace(b"JFIF\0\1\1", b"JFIF\0\5\0"),
    "half a profile": lambda d: d[:20] + segment(0xE2, b"ICC_PROFILE\0\2\2rest") + d[20:],
    "a camera's scan": lambda d: d.replace(b"\3\x11\0\x3f\0", b"\3\x11\0\0\0"),
    "bytes before the end": lambda d: d[:-2] + bytes(7) + d[-2:],
    "filler": lambda d: d[:20] + b"\xff\xff\xff" + d[20:],
    "a tail": lambda d: d + b"\xff\xd8\xff" + bytes(99),
}


@pytest.mark.parametrize("what", ODD)
def test_oddities_that_touch_no_pixel_are_forgiven(what: str) -> None:
    data = KINDS["jpeg"]
    odd = ODD[what](data)
    assert odd != data
    assert read_header(odd).has_icc is False
    assert np.array_equal(decode(odd), decode(data))
    assert np.array_equal(decode(strip_jpeg_metadata(odd)), decode(data))


def test_a_profile_in_several_parts_is_put_together() -> None:
    profile = pictures.profile(1.0) + bytes(150_000)
    data = pictures.jpeg(icc_profile=profile)
    assert data.count(b"ICC_PROFILE") == 3
    assert np.array_equal(decode(data), decode(KINDS["jpeg icc"]))


def test_scans_are_counted() -> None:
    assert count_scans(KINDS["jpeg"]) == 1
    assert count_scans(KINDS["jpeg progressive"]) == 10
