"""Blocklists: exact digests, near hashes as a plain comparison finds them, and lists refused."""

import hashlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.blocklist import MAX_DISTANCE, Blocklist, Near, parse
from filters.hashes import Hashes
from tests.pictures import photo

DIGEST = hashlib.sha256(b"a picture").digest()


@pytest.fixture
def listed(tmp_path):
    def write(*lines, name="list.txt"):
        path = tmp_path / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return str(path)

    return write


def ask(scorer, *rows):
    digests, hashes, contrasts = zip(*rows, strict=True)
    return scorer(
        {
            "image_sha256": list(digests),
            "phash": list(hashes),
            "hash_contrast": list(contrasts),
        }
    )


def test_exact_near_and_neither(listed):
    path = listed(
        DIGEST.hex().upper(), "00000000000000ff, a remark", "# nothing", "", "0x" + "f" * 16
    )
    other = bytes(32)
    values = ask(
        Blocklist(path),
        (DIGEST, 0x1234567812345678, 30.0),
        (other, 0xFF, 30.0),
        (other, 0xF0F, 30.0),
        (other, 0xF00000000000000F, 30.0),
        (other, 0xFF, 1.0),
        (DIGEST, 0x7F, 1.0),
    )
    assert values == {
        "blocked": [True, True, False, False, False, True],
        "blocked_by": ["sha256", "phash", None, None, None, "sha256"],
        "blocked_distance": [0, 0, None, None, None, 0],
    }
    assert ask(Blocklist(path, distance=8), (other, 0xF0F, 9.0))["blocked_distance"] == [8]


def test_a_list_of_digests_alone_needs_no_hashes(listed):
    scorer = Blocklist(listed(DIGEST.hex()))
    assert scorer.reads == ("image_sha256",)
    assert scorer({"image_sha256": [DIGEST, bytes(32)]})["blocked"] == [True, False]
    assert scorer({"image_sha256": []}) == {n: [] for n in scorer.writes.names}
    assert Blocklist(listed("0" * 16)).reads == ("image_sha256", "phash", "hash_contrast")


def test_an_empty_list_blocks_nothing(listed):
    scorer = Blocklist(listed("# none yet"))
    assert scorer({"image_sha256": [bytes(32)]})["blocked"] == [False]


def test_a_picture_saved_again_is_found(listed):
    import cv2

    values = Hashes()({"image": [photo(1, (300, 200)), photo(2, (300, 200))]})
    scorer = Blocklist(listed(f"{values['phash'][0]:016x}"))
    small = cv2.resize(photo(1, (300, 200)), (150, 100), interpolation=cv2.INTER_AREA)
    again = Hashes()({"image": [small, photo(2, (300, 200))]})
    rows = zip([bytes(32)] * 2, again["phash"], again["hash_contrast"], strict=True)
    assert ask(scorer, *rows)["blocked"] == [True, False]


def test_the_identity_is_the_content(listed):
    lines = [DIGEST.hex(), "0" * 16, "1" * 16]
    first = Blocklist(listed(*lines)).identity
    assert Blocklist(listed(*reversed(lines), "# same", name="other.csv")).identity == first
    assert Blocklist(listed(*lines[:2], name="third.csv")).identity != first


def test_what_is_no_list_is_refused(listed, tmp_path):
    for line in ("hello", "0" * 15, "0" * 17, "zz" * 32, "é" * 8):
        scorer = Blocklist(listed("0" * 16, line, name=f"{len(line)}{line[0]}.txt"))
        with pytest.raises(ValueError, match="line 2 is no hash of 64 or 16 hexadecimal digits"):
            scorer.prepare()
    with pytest.raises(ValueError, match="line 1 is no hash"):
        parse(b"\xff\xfe\x00" * 10**6)
    with pytest.raises(ValueError, match="there is no file"):
        Blocklist(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="distance must be 0 to 12"):
        Blocklist(listed(""), distance=13)


hashes = st.lists(st.integers(0, 2**64 - 1), max_size=40)


@settings(max_examples=60, deadline=None)
@given(hashes, hashes, st.integers(0, MAX_DISTANCE), st.randoms(use_true_random=False))
def test_the_nearest_is_that_of_a_plain_comparison(listed, asked, distance, dice):
    for value in listed[:10]:
        for bit in dice.sample(range(64), dice.randrange(distance + 2)):
            value ^= 1 << bit
        asked.append(value)
    found = Near(np.unique(np.array(listed, np.uint64)), distance).nearest(
        np.array(asked, np.uint64)
    )
    for value, near in zip(asked, found.tolist(), strict=True):
        expected = min(((value ^ other).bit_count() for other in listed), default=65)
        assert near == expected if expected <= distance else near > distance


@pytest.mark.slow
def test_many_hashes_are_asked_quickly_and_crowds_take_no_memory():
    dice = np.random.default_rng(0)
    many = np.unique(dice.integers(0, 2**64, 200_000, dtype=np.uint64))
    near, asked = Near(many, 4), many[:1000] ^ np.uint64(0b1011)
    start = time.process_time()
    assert near.nearest(asked).max() == 3
    assert time.process_time() - start < 0.5
    crowd = Near(np.arange(100_000, dtype=np.uint64), 4)
    assert set(crowd.nearest(np.full(300, 2**40, np.uint64)).tolist()) == {1}
