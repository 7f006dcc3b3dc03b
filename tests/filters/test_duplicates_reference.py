"""Duplicates against a slow reference, which follows the rule of the docstring word by word."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates import Duplicates
from tests.filters.duplicate_rows import PHOTO, Row, readable, reduced, row


def reference(rows: list[Row], scorer: Duplicates) -> dict[int, Row]:
    pictures: dict[Any, list[Row]] = {}
    for one in sorted(rows, key=quality):
        sha256 = one["image_sha256"]
        pictures.setdefault(one["key"] if sha256 is None else sha256, []).append(one)
    hashed = [p for p in pictures.values() if picture_hash(p, scorer) is not None]
    groups = [[p] for p in pictures.values() if picture_hash(p, scorer) is None]
    groups += grouped(hashed, scorer)
    return {key: out for group in groups for key, out in told(group, scorer).items()}


def quality(one: Row) -> tuple[int, bytes]:
    sized = one["width"] is not None and one["height"] is not None
    return (-one["width"] * one["height"] if sized else 1, one["key"])


def picture_hash(picture: list[Row], scorer: Duplicates) -> int | None:
    for one in picture:  # best first
        phash, contrast = one["phash"], one["hash_contrast"]
        known = phash is not None and contrast is not None
        if known and contrast >= scorer.min_contrast and phash.bit_count() >= scorer.min_bits:
            return int(phash)
    return None


def bits(one: list[Row], other: list[Row], scorer: Duplicates) -> int:
    left, right = picture_hash(one, scorer), picture_hash(other, scorer)
    return 0 if left is None or right is None else (left ^ right).bit_count()


def grouped(pictures: list[list[Row]], scorer: Duplicates) -> list[list[list[Row]]]:
    """Groups of pictures; the best picture of each comes first."""
    groups = []
    left = sorted(pictures, key=lambda picture: quality(picture[0]))
    while left:
        component = [left.pop(0)]
        for member in component:
            linked = [p for p in left if bits(p, member, scorer) <= scorer.distance]
            left = [p for p in left if p not in linked]
            component += linked
        near = [p for p in component if bits(p, component[0], scorer) <= scorer.widest]
        groups.append(near)
        groups += grouped([p for p in component if p not in near], scorer)
    return groups


def told(group: list[list[Row]], scorer: Duplicates) -> dict[int, Row]:
    rows = sorted((one for picture in group for one in picture), key=quality)
    best, alone = rows[0], len(rows) == 1
    texts = [one["caption"] for one in [best, *sorted(rows, key=lambda one: one["key"])]]
    distinct = list(dict.fromkeys(text for text in texts if text is not None))
    outs = {}
    for picture in group:
        for one in picture:
            out = {
                "dup_group": None if alone else best["key"],
                "dup_size": len(rows),
                "dup_distance": None if alone else bits(picture, group[0], scorer),
                "dup_exact": len(picture) > 1,
            }
            if scorer.merge_captions:
                out["dup_captions"] = distinct[: scorer.max_captions] or None
            outs[int.from_bytes(one["key"], "big")] = readable(out)
    return outs


PHASHES = st.one_of(
    st.none(),
    st.integers(0, 3),
    st.lists(st.integers(0, 12), max_size=6).map(
        lambda flips: PHOTO ^ sum(1 << bit for bit in set(flips))
    ),
)


@st.composite
def pools(draw: st.DrawFn) -> list[Row]:
    small = st.one_of(st.none(), st.integers(0, 3))
    made = st.builds(
        row,
        st.integers(0, 1 << 40),
        PHASHES,
        st.one_of(st.none(), st.integers(0, 5)),
        hash_contrast=st.sampled_from([None, 0.5, 2.0, 30.0, 99.0, float("nan")]),
        width=small,
        height=small,
        caption=st.sampled_from([None, "", "a cat", "A cat", "猫", "é", "e\u0301"]),
    )
    return draw(st.lists(made, max_size=25, unique_by=lambda one: one["key"]))


@pytest.mark.slow
@given(
    pools(),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([1, 2, 10]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=120, deadline=None)
def test_agrees_with_the_reference_in_any_order(
    rows: list[Row], distance: int, more: int, most: int, random: Random
) -> None:
    parameters = {"distance": distance, "cap": distance + more, "max_captions": most}
    expected = reference(rows, Duplicates(**parameters, merge_captions=True))
    assert reduced(rows, **parameters, merge_captions=True) == expected
    random.shuffle(rows)
    assert reduced(rows, **parameters, merge_captions=True) == expected
