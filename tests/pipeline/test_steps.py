import hashlib

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import RecipeError
from pipeline.steps import (
    Draw,
    OnePer,
    Step,
    Subset,
    Top,
    Where,
    check_steps,
    columns_read,
    offset,
    parse_step,
    steps_until,
    uniform,
    words_of,
)

COLUMNS = {
    "clip_score": pa.float32(),
    "words": pa.int32(),
    "language": pa.string(),
    "source": pa.string(),
    "dup_group": pa.int64(),
    "scores": pa.list_(pa.float32()),
    "source_key": pa.string(),
}


def keys(count: int) -> pa.Array:
    digests = [hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(count)]
    return pa.array(digests, pa.binary(16))


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ({"where": "words > 3"}, Where("words > 3")),
        ({"where": "words > 3", "max_drop": 0.5}, Where("words > 3", max_drop=0.5)),
        (
            {"top": "clip_score", "fraction": 0.5, "per": "language"},
            Top("clip_score", fraction=0.5, per=("language",)),
        ),
        (
            {"top": "clip_score", "count": 9, "per": ["language", "source"], "lowest": True},
            Top("clip_score", count=9, per=("language", "source"), lowest=True),
        ),
        (
            {"top": "clip_score", "fraction": 0.3, "mode": "datacomp", "count": None},
            Top("clip_score", fraction=0.3, mode="datacomp"),
        ),
        ({"one_per": "dup_group", "best": "clip_score"}, OnePer("dup_group", "clip_score")),
        ({"one_per": "dup_group"}, OnePer("dup_group")),
        ({"draw": 0.1, "seed": 1, "per": "source"}, Draw(0.1, seed=1, per=("source",))),
        ({"draw": "clip_score"}, Draw("clip_score")),
        ({"draw": 2.5, "repeat": True}, Draw(2.5, repeat=True)),
        ({"draw": 1, "count": 1000}, Draw(1, count=1000)),
        (
            {"draw": "clip_score", "count": 128_000, "repeat": True},
            Draw("clip_score", count=128_000, repeat=True),
        ),
        ({"subset": "/lists/a.npy"}, Subset("/lists/a.npy")),
    ],
)
def test_a_recipe_names_each_step(written: dict[str, object], step: Step) -> None:
    assert parse_step(written) == step


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({}, "has one of where, top, one_per, draw, subset; found nothing"),
        ({"keep": 1}, "found keep"),
        ({"where": "true", "top": "words"}, "found where, top"),
        ({"where": "true", "per": "source"}, "where takes no 'per'; known: where, max_drop"),
        ({"where": 3}, "expected a condition"),
        ({"where": "true", "max_drop": 2}, "max_drop: 2 is not a share"),
        ({"top": "words"}, "give 'fraction' or 'count'"),
        ({"top": "words", "fraction": 0.5, "count": 3}, "give 'fraction' or 'count'"),
        ({"top": "words", "fraction": 0.0}, "fraction: 0.0 is not a share"),
        ({"top": "words", "fraction": 1.5}, "fraction: 1.5 is not a share"),
        ({"top": "words", "fraction": True}, "fraction: True is not a share"),
        ({"top": "words", "count": 0}, "count: 0 is not a whole number from 1"),
        ({"top": "words", "count": 2.0}, "count: 2.0"),
        ({"top": "", "count": 1}, "'' is not the name of a column"),
        ({"top": "__place", "count": 1}, "'__place' is not the name"),
        ({"top": "words", "fraction": 0.5, "mode": "exakt"}, "'exakt' is not exact or datacomp"),
        ({"top": "words", "count": 5, "mode": "datacomp"}, "goes with 'fraction'"),
        ({"top": "words", "fraction": 0.5, "mode": "datacomp", "per": "source"}, "without 'per'"),
        ({"one_per": "dup_group", "lowest": True}, "'lowest' needs 'best'"),
        ({"draw": 0}, "0 is not above 0"),
        ({"draw": 1.5}, "is above 1; for copies add `repeat: true`"),
        ({"draw": 0.5, "count": 5}, "all rows weigh the same"),
        ({"draw": "words", "per": "source"}, "'per' has no meaning here without 'count'"),
        ({"draw": 0.5, "repeat": True, "per": "source"}, "'per' has no meaning"),
        ({"draw": 0.5, "seed": -1}, "seed: -1"),
        ({"subset": ""}, "expected a path"),
    ],
)
def test_what_a_step_cannot_be_is_refused(written: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_step(written)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Where("word > 3"), "step 'it': unknown column 'word'; did you mean 'words'"),
        (Top("language", count=1), "column 'language' is string, expected numbers"),
        (OnePer("dup_group", "language"), "column 'language' is string, expected numbers"),
        (OnePer("scores"), "expected one value in each row"),
        (Draw("source"), "expected numbers"),
        (Top("words", count=1, per=("sourc",)), "unknown column 'sourc'; did you mean 'source'"),
    ],
)
def test_steps_are_checked_against_the_columns(step: Step, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_steps({"it": step}, COLUMNS)


@pytest.mark.parametrize("name", ["kept", "failed", "takedown"])
def test_names_of_verdicts_are_taken(name: str) -> None:
    with pytest.raises(RecipeError, match="the name is a verdict's"):
        check_steps({name: Where("true")}, COLUMNS)


def test_a_selection_reads_each_column_once() -> None:
    steps: dict[str, Step] = {
        "a": Where("words > 3 and clip_score > 0.2"),
        "b": Top("clip_score", count=3, per=("language",)),
        "c": OnePer("dup_group", "clip_score", per=("source",)),
        "d": Draw(0.5),
        "e": Subset("a.npy"),
    }
    check_steps(steps, COLUMNS)
    wanted = ("clip_score", "words", "language", "dup_group", "source", "source_key")
    assert columns_read(steps) == wanted
    assert columns_read(steps_until(steps, "a")) == ("clip_score", "words")
    assert list(steps_until(steps, "c")) == ["a", "b", "c"]
    with pytest.raises(RecipeError, match="unknown step 'z'; known: a, b, c, d, e"):
        steps_until(steps, "z")


def test_words_sort_as_keys_do() -> None:
    some = pa.array([b"\x00" * 15 + b"\x01", b"\xff" * 16, b"\x01" + b"\x00" * 15], pa.binary(16))
    upper, lower = words_of(some)
    assert upper.tolist() == [0, 2**64 - 1, 1 << 56]
    assert lower.tolist() == [1, 2**64 - 1, 0]
    assert [word.tolist() for word in words_of(some.slice(1))] == [
        [2**64 - 1, 1 << 56],
        [2**64 - 1, 0],
    ]
    assert [word.tolist() for word in words_of(some.cast(pa.binary()).slice(2))] == [[1 << 56], [0]]
    assert [len(word) for word in words_of(some.slice(3))] == [0, 0]
    with pytest.raises(ValueError, match="1 of 2 keys are NULL"):
        words_of(pa.array([None, b"\x00" * 16], pa.binary(16)))


def test_uniform_is_the_published_mix() -> None:
    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    some, seeded = keys(20), hashlib.blake2b(b"7:mix", digest_size=16).digest()
    first, second = int.from_bytes(seeded[:8], "little"), int.from_bytes(seeded[8:], "little")
    for key, drawn in zip(some.to_pylist(), uniform(some, 7, "mix"), strict=True):
        upper, lower = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
        assert drawn == (mix(mix(upper ^ first) ^ lower ^ second) >> 11) / 2**53


def test_uniform_keeps_its_values() -> None:
    golden = [0.9513078398708122, 0.8434047016389834, 0.01049989692285147]
    assert uniform(keys(3), 0, "draw").tolist() == golden
    assert offset(0, "draw") == 465072


def test_uniform_is_uniform_and_independent() -> None:
    some = keys(100_000)
    drawn = uniform(some, 0, "a")
    counts = np.histogram(drawn, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # chi-square of 99 degrees: 1 in 1000
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(set(drawn)) == len(drawn)
    for other in (uniform(some, 1, "a"), uniform(some, 0, "b"), uniform(some, 10, "a")):
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.02
        assert abs(((drawn < 0.1) & (other < 0.1)).sum() - 1000) < 150


def test_keys_that_count_upwards_draw_evenly_too() -> None:
    some = pa.array([i.to_bytes(16, "big") for i in range(10_000)], pa.binary(16))
    assert abs((uniform(some, 0, "x") < 0.1).sum() - 1000) < 120


def test_a_smaller_draw_is_part_of_a_larger_one() -> None:
    drawn = uniform(keys(10_000), 3, "mix")
    small, large = set(np.flatnonzero(drawn < 0.1)), set(np.flatnonzero(drawn < 0.2))
    assert small < large
    assert 900 < len(small) < 1100
