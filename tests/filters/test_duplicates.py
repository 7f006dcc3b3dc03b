"""Duplicates: one input for each rule, and what they make of real pictures."""

from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from filters import duplicates, neighbours
from filters.duplicates import Duplicates
from filters.hashes import Hashes
from tests.filters.duplicate_rows import PHOTO, SCHEMA, Row, column, reduced, row


def test_golden() -> None:
    rows = [
        row(1, PHOTO, 1, caption="small"),
        row(2, PHOTO ^ 0b111, 2, width=100, caption="big"),
        row(3, PHOTO, 1, caption="small"),
        row(4, ~PHOTO & (1 << 64) - 1, 3, caption="another"),
        row(5, PHOTO ^ 0b11000, caption="ünïcode 猫"),
        row(6, None, None),
    ]
    assert reduced(rows, merge_captions=True) == {
        1: told_row(2, 4, 3, True, ["big", "small", "ünïcode 猫"]),
        2: told_row(2, 4, 0, False, ["big", "small", "ünïcode 猫"]),
        3: told_row(2, 4, 3, True, ["big", "small", "ünïcode 猫"]),
        4: told_row(None, 1, None, False, ["another"]),
        5: told_row(2, 4, 5, False, ["big", "small", "ünïcode 猫"]),
        6: told_row(None, 1, None, False, None),
    }


def told_row(
    group: int | None, size: int, distance: int | None, exact: bool, captions: list[str] | None
) -> Row:
    return {
        "dup_group": group,
        "dup_size": size,
        "dup_distance": distance,
        "dup_exact": exact,
        "dup_captions": captions,
    }


# One rule, one input.


def test_equal_bytes_are_exact_even_when_flat_or_without_hash() -> None:
    flat = [row(key, 1, 7, hash_contrast=0.0) for key in (1, 2)]
    unhashed = [row(key, None, 8) for key in (3, 4)]
    out = reduced(flat + unhashed)
    assert [one["dup_group"] for one in out.values()] == [1, 1, 3, 3]
    assert all(one["dup_exact"] and one["dup_distance"] == 0 for one in out.values())


def test_equal_hashes_of_other_bytes_are_not_exact() -> None:
    out = reduced([row(1, PHOTO, 1), row(2, PHOTO, 2)])
    assert [one["dup_exact"] for one in out.values()] == [False, False]
    assert [one["dup_distance"] for one in out.values()] == [0, 0]


def test_rows_without_digest_are_never_exact() -> None:
    assert column("dup_exact", [row(1, PHOTO), row(2, PHOTO)]) == [False, False]


@pytest.mark.parametrize("contrast", [None, 0.0, 1.99, float("nan")])
def test_flat_pictures_are_not_near(contrast: float | None) -> None:
    rows = [row(key, PHOTO, key, hash_contrast=contrast) for key in (1, 2)]
    assert column("dup_group", rows) == [None, None]


def test_least_contrast_is_enough() -> None:
    rows = [row(key, PHOTO, key, hash_contrast=2.0) for key in (1, 2)]
    assert column("dup_size", rows) == [2, 2]


def test_hashes_of_few_bits_are_not_near() -> None:
    eleven, twelve = (1 << 11) - 1, 0xFFF << 30
    rows = [row(1, eleven, 1), row(2, eleven, 2), row(3, twelve, 3), row(4, twelve, 4)]
    assert column("dup_size", rows) == [1, 1, 2, 2]
    assert column("dup_size", rows, min_bits=11) == [2, 2, 2, 2]


def test_a_hash_speaks_for_all_rows_of_the_picture() -> None:
    rows = [row(1, None, 5, width=50), row(2, PHOTO, 5), row(3, PHOTO ^ 1, 6)]
    assert column("dup_group", rows) == [1, 1, 1]
    assert column("dup_distance", rows) == [0, 0, 1]


@pytest.mark.parametrize(("flips", "size"), [(4, 2), (5, 1)])
def test_distance_is_a_limit_that_still_counts(flips: int, size: int) -> None:
    rows = [row(1, PHOTO, 1), row(2, PHOTO ^ (1 << flips) - 1, 2)]
    assert column("dup_size", rows) == [size, size]


def test_best_has_most_pixels_then_smallest_key_and_unknown_sizes_come_last() -> None:
    rows = [
        row(1, PHOTO, width=None),
        row(2, PHOTO, width=2, height=2),
        row(3, PHOTO, width=4, height=1),
        row(4, PHOTO, width=1, height=1),
    ]
    assert column("dup_group", rows) == [2, 2, 2, 2]
    assert column("dup_group", rows[:1] + rows[3:]) == [4, 4]


def test_pixels_do_not_overflow() -> None:
    rows = [row(1, PHOTO, width=60_000, height=60_000), row(2, PHOTO, width=9, height=9)]
    assert column("dup_group", rows) == [1, 1]


def test_a_chain_is_cut_at_the_cap() -> None:
    steps = [PHOTO ^ (1 << 4 * n) - 1 for n in range(4)]  # 0, 4, 8, 12 bits from the first
    rows = [row(n + 1, phash, n) for n, phash in enumerate(steps)]
    assert column("dup_group", rows) == [1, 1, 1, None]
    assert column("dup_distance", rows) == [0, 4, 8, None]
    assert column("dup_group", rows, cap=12) == [1, 1, 1, 1]
    assert column("dup_group", rows, cap=4) == [1, 1, 3, 3]


def test_captions_of_a_group_are_distinct_and_the_best_row_speaks_first() -> None:
    texts = ["b", "a", None, "b", "best", "c"]
    rows = [row(n, PHOTO, width=99 if text == "best" else 9) for n, text in enumerate(texts)]
    rows = [one | {"caption": text} for one, text in zip(rows, texts, strict=True)]
    captions = column("dup_captions", rows, merge_captions=True)
    assert captions == [["best", "b", "a", "c"]] * 6
    captions = column("dup_captions", rows, merge_captions=True, max_captions=2)
    assert captions == [["best", "b"]] * 6


def test_a_best_row_without_caption_leaves_the_first_place_to_the_next() -> None:
    rows = [row(1, PHOTO, caption="a"), row(2, PHOTO, width=99)]
    assert column("dup_captions", rows, merge_captions=True) == [["a"], ["a"]]


def test_captions_may_exceed_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(n, PHOTO ^ n % 2 * 0xFFFF, n, caption=f"caption {n % 7}") for n in range(50)]
    whole = reduced(rows, merge_captions=True)
    monkeypatch.setattr(duplicates, "_BYTES_PER_PIECE", 100)
    table = pa.Table.from_pylist(rows, SCHEMA)
    assert Duplicates(merge_captions=True).reduce(table)["dup_captions"].num_chunks > 1
    assert reduced(rows, merge_captions=True) == whole


# The shape of tables.


def test_empty_table() -> None:
    scorer = Duplicates(merge_captions=True)
    for empty in (SCHEMA.empty_table(), pa.Table.from_batches([], SCHEMA)):
        result = scorer.reduce(empty)
        assert result.schema == scorer.writes
        assert len(result) == 0


def test_one_row() -> None:
    assert reduced([row(1, PHOTO, 1)]) == {
        1: {"dup_group": None, "dup_size": 1, "dup_distance": None, "dup_exact": False}
    }


def test_all_null() -> None:
    rows = [row(key, None, None, hash_contrast=None, width=None, height=None) for key in range(5)]
    assert column("dup_size", rows) == [1] * 5


def test_all_equal() -> None:
    rows = [row(key, PHOTO, 1) for key in range(1000)]
    assert set(column("dup_size", rows)) == {1000}
    assert set(column("dup_group", rows)) == {0}


def test_chunks_and_slices_make_no_difference() -> None:
    rows = [row(n, PHOTO ^ n % 3 << 50, n % 5, caption=f"{n % 4}") for n in range(20)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    chunked = pa.concat_tables([table.slice(0, 3), table.slice(3, 0), table.slice(3)])
    scorer = Duplicates(merge_captions=True)
    assert scorer.reduce(chunked).to_pylist() == scorer.reduce(table).to_pylist()
    assert len(scorer.reduce(table.slice(7, 5))) == 5


def test_popular_placeholder_is_cheap() -> None:
    size = 300_000
    keys = np.zeros((size, 2), ">u8")
    keys[:, 1] = np.arange(size)
    table = pa.table(
        {
            "key": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), size, [None, pa.py_buffer(keys.data)]
            ),
            "phash": np.full(size, PHOTO, np.uint64),
            "hash_contrast": np.full(size, 9, np.float32),
            "image_sha256": pa.nulls(size, pa.binary(32)),
            "width": np.full(size, 5, np.int32),
            "height": np.full(size, 5, np.int32),
        }
    )
    result = Duplicates().reduce(table)
    assert result["dup_size"].unique().to_pylist() == [size]


# Parameters.


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"distance": 11}, "distance is 0 to 10, got 11"),
        ({"distance": -1}, "distance is 0 to 10, got -1"),
        ({"distance": 4, "cap": 3}, r"cap is distance \(4\) to 64, got 3"),
        ({"cap": 65}, "to 64, got 65"),
        ({"min_contrast": -1.0}, "min_contrast is 0 or more, got -1"),
        ({"min_contrast": float("nan")}, "min_contrast is 0 or more, got nan"),
        ({"min_bits": 65}, "min_bits is 0 to 64, got 65"),
        ({"max_captions": 0}, "max_captions is 1 or more, got 0"),
    ],
)
def test_refuses_parameters(parameters: Row, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Duplicates(**parameters)


def test_refuses_a_distance_too_wide_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MANY_HASHES", 10)
    rows = [row(n, PHOTO ^ n, n) for n in range(11)]
    with pytest.raises(ValueError, match="distance 5 between 11 hashes"):
        reduced(rows, distance=5)


def test_a_cap_left_open_is_the_same_scorer_as_one_spelt_out() -> None:
    assert Duplicates().identity == Duplicates(cap=8).identity
    assert Duplicates(distance=2).identity["cap"] == 4


def test_reads_the_caption_only_to_merge_it() -> None:
    assert "caption" not in Duplicates().reads
    assert "caption" in Duplicates(merge_captions=True).reads
    assert "dup_captions" not in Duplicates().writes.names


# Real pictures.


def photo(seed: int) -> Any:
    """Soft coloured blobs, 300x400: low frequencies such as photos have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (400, 300), interpolation=cv2.INTER_CUBIC)


def jpeg(image: Any, quality_percent: int, scale: float) -> Any:
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality_percent])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def picture_rows(images: list[Any]) -> list[Row]:
    hashes = Hashes()({"image": images})
    both = zip(images, hashes["phash"], hashes["hash_contrast"], strict=True)
    return [
        row(n, phash, n, hash_contrast=contrast, width=image.shape[1], height=image.shape[0])
        for n, (image, phash, contrast) in enumerate(both)
    ]


def test_recompressed_copies_find_their_original() -> None:
    images = [jpeg(photo(0), 60, 0.5), photo(0), jpeg(photo(0), 85, 0.8), photo(1), photo(2)]
    assert column("dup_group", picture_rows(images)) == [1, 1, 1, None, None]


def test_plain_pictures_do_not_find_each_other() -> None:
    across = np.linspace(0, 255, 400).astype(np.uint8)[None, :, None]
    plain = [np.full((300, 400, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255))]
    gradients = [np.broadcast_to(across // divisor, (300, 400, 3)) for divisor in (1, 2, 3)]
    stripes = np.broadcast_to(np.uint8(across // 32 % 2 * 255), (300, 400, 3))
    images = [np.ascontiguousarray(image) for image in [*plain, *gradients, stripes]]
    assert column("dup_group", picture_rows(images)) == [None] * 6
