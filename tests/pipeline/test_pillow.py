"""Hostile bytes: whatever is done to a file, it gives pixels or Unreadable, quietly."""

import threading
import warnings
import zlib

import numpy as np
import pytest

from pipeline.decoding import EXTENSIONS, REASONS, Unreadable, decode, read_header
from tests import pictures

KINDS = pictures.every_kind()
PER_KIND = 60


def damaged(data: bytes, dice: np.random.Generator) -> bytes:
    """A file with bytes changed, lost, added or cut off."""
    place, changed = int(dice.integers(len(data))), bytearray(data)
    match int(dice.integers(5)):
        case 0:
            return data[:place]
        case 1:
            changed[place] ^= int(dice.integers(1, 256))
        case 2:
            for near in dice.integers(min(len(data), 400), size=20):
                changed[near] = int(dice.integers(256))
        case 3:
            del changed[place : place + int(dice.integers(1, 50))]
        case 4:
            start = int(dice.integers(min(len(data), 600)))
            changed[start : start + 4] = bytes.fromhex(str(dice.choice(["ffffffff", "0" * 8])))
    return bytes(changed)


def with_right_checksums(data: bytes) -> bytes:
    """A damaged PNG that its checksums do not betray."""
    parts, place = [data[:8]], 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        body = data[place + 4 : end]
        parts += [data[place : place + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        place = end + 4
    return b"".join(parts)


@pytest.mark.parametrize("format", EXTENSIONS)
def test_damaged_files_give_pixels_or_unreadable(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    dice, seen = np.random.default_rng(20), set()
    for name in (name for name in KINDS if name.split()[0] == format):
        for _ in range(PER_KIND):
            data = damaged(KINDS[name], dice)
            if format == "png" and dice.random() < 0.7:
                data = with_right_checksums(data)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    header, pixels = read_header(data), decode(data)
            except Unreadable as fault:
                seen.add(fault.reason)
            else:
                seen.add("pixels")
                assert pixels.shape == (header.height, header.width, 3)
    assert seen <= set(REASONS) | {"pixels"}
    assert {"pixels", "truncated"} <= seen
    said = capfd.readouterr()
    assert said.out == ""
    if format != "tiff":  # libtiff talks, and can't be stopped from here
        assert said.err == ""


@pytest.mark.parametrize("name", sorted(n for n in KINDS if not n.startswith("jpeg")))
def test_a_cut_file_gives_all_pixels_or_none(name: str) -> None:
    data = KINDS[name]
    whole = decode(data)
    cuts = {*range(0, len(data), len(data) // 60 + 1), *range(len(data) - 20, len(data))}
    for cut in sorted(cuts):
        try:
            pixels = decode(data[:cut])
        except Unreadable:
            continue
        assert np.array_equal(pixels, whole)


def test_threads_get_the_pixels_that_one_gets() -> None:
    names = ["tiff", "tiff tiff_lzw", "avif", "jpeg icc", "png icc", "gif"]
    alone = {name: decode(KINDS[name]) for name in names}
    wrong: list[str] = []

    def work() -> None:
        for name in names * 10:
            if not np.array_equal(decode(KINDS[name]), alone[name]):
                wrong.append(name)

    before = list(warnings.filters)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert warnings.filters == before
