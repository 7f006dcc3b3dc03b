import hashlib
import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import step_sql
from pipeline.errors import CurationError, RecipeError
from pipeline.select import VERDICTS, Resources, select
from pipeline.select_summary import Breakdown, Cut, Summary, ValueCount
from pipeline.steps import Draw, OnePer, Step, Subset, Top, Where, steps_until
from pipeline.subsets import write_subset

Row = dict[str, Any]
Verdict = tuple[str, int]
SCHEMA = pa.schema(
    {
        "shard": pa.int32(),
        "row": pa.int32(),
        "key": pa.binary(16),
        "failed": pa.string(),
        "score": pa.float32(),
        "size": pa.int64(),
        "weight": pa.float64(),
        "language": pa.string(),
        "source": pa.string(),
        "dup_group": pa.int64(),
        "good": pa.bool_(),
        "source_key": pa.string(),
    }
)


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    return Resources(tmp_path / "spill", memory_limit="200MB", threads=2)


def table_of(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def pool(**columns: Sequence[Any]) -> pa.Table:
    """Rows of one shard; keys rise with the row."""
    count = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    return table_of(
        [{"shard": 0, "row": i, "key": i.to_bytes(16, "big"), **row} for i, row in enumerate(rows)]
    )


def run(
    table: pa.Table, steps: Mapping[str, Step], resources: Resources, **options: Any
) -> tuple[dict[tuple[int, int], Verdict], Summary]:
    with select(table.to_batches(), steps, resources, **options) as selection:
        batches = list(selection.verdicts())
        summary = selection.summary
    verdicts = pa.Table.from_batches(batches, schema=VERDICTS).to_pylist()
    assert not list(resources.temp_dir.iterdir())
    places = [(row["shard"], row["row"]) for row in verdicts]
    assert places == sorted(places)
    keys = {(row["shard"], row["row"]): row["key"] for row in table.to_pylist()}
    assert {place: row["key"] for place, row in zip(places, verdicts, strict=True)} == keys
    return {p: (r["verdict"], r["times"]) for p, r in zip(places, verdicts, strict=True)}, summary


def kept(table: pa.Table, resources: Resources, **steps: Step) -> list[int]:
    """The row numbers that are kept, each as often as it is."""
    verdicts, _ = run(table, steps, resources)
    return [row for (_, row), (_, times) in verdicts.items() for _ in range(times)]


# The rules, one at a time


def test_null_and_nan_never_pass_even_under_not(resources: Resources) -> None:
    table = pool(score=[0.1, None, 0.9, math.nan])
    assert kept(table, resources, safe=Where("score < 0.2")) == [0]
    assert kept(table, resources, safe=Where("not (score >= 0.2)")) == [0]
    assert kept(table, resources, safe=Where("score is null")) == [1, 3]


def test_top_is_exact_under_ties(resources: Resources) -> None:
    table = pool(score=[0.5] * 10)
    assert kept(table, resources, best=Top("score", fraction=0.3)) == [0, 1, 2]
    assert kept(table, resources, best=Top("score", count=4)) == [0, 1, 2, 3]
    assert kept(table, resources, best=Top("score", count=40)) == list(range(10))


def test_ties_go_by_key_and_never_by_place(resources: Resources) -> None:
    keys = [bytes([9 - i]) * 16 for i in range(3)]
    rows = [
        {"shard": 0, "row": i, "key": key, "score": 1, "dup_group": 1} for i, key in enumerate(keys)
    ]
    for order in (rows, rows[::-1]):
        table = table_of(order)
        assert kept(table, resources, best=Top("score", count=1)) == [2]
        assert kept(table, resources, unique=OnePer("dup_group", "score")) == [2]
        assert kept(table, resources, unique=OnePer("dup_group")) == [2]


def test_a_fraction_is_the_number_that_was_written(resources: Resources) -> None:
    for fraction, count in [(0.1, 10), (0.3, 10), (0.7, 10), (0.55, 100), (0.29, 100), (1e-9, 3)]:
        rows = kept(pool(size=range(count)), resources, best=Top("size", fraction=fraction))
        assert len(rows) == math.ceil(Fraction(repr(fraction)) * count)


def test_top_counts_rows_that_have_a_value(resources: Resources) -> None:
    table = pool(score=[0.1, None, 0.2, None, 0.3, math.nan, 0.4])
    assert kept(table, resources, best=Top("score", fraction=0.5)) == [4, 6]
    assert kept(table, resources, best=Top("score", fraction=1.0)) == [0, 2, 4, 6]
    assert kept(table, resources, best=Top("score", fraction=0.5, lowest=True)) == [0, 2]
    assert kept(pool(score=[None, None]), resources, best=Top("score", count=1)) == []


def test_top_per_group_counts_null_as_a_group(resources: Resources) -> None:
    table = pool(
        score=[1, 2, 3, 4, 5, 6, None], language=["en", "en", None, None, None, "de", "fr"]
    )
    best = Top("score", fraction=0.5, per=("language",))
    assert kept(table, resources, best=best) == [1, 3, 4, 5]


def test_values_too_large_for_a_double_are_told_apart(resources: Resources) -> None:
    table = pool(size=[2**62, 2**62 + 1, 2**62 + 2, -(2**62)])
    assert kept(table, resources, best=Top("size", count=1)) == [2]
    assert kept(table, resources, best=Top("size", count=2)) == [1, 2]


def test_booleans_are_numbers_and_zeros_are_equal(resources: Resources) -> None:
    table = pool(good=[False, None, True, True], weight=[0.0, -0.0, -0.0, 0.0])
    assert kept(table, resources, best=Top("good", fraction=0.5)) == [2, 3]
    assert kept(table, resources, best=Top("weight", count=2)) == [0, 1]
    assert kept(table, resources, best=Top("weight", count=2, lowest=True)) == [0, 1]


def test_values_as_far_apart_as_doubles_can_be(resources: Resources) -> None:
    table = pool(weight=[1.7e308, -1.7e308, 5e-324, 0.0, math.inf])
    for count, rows in enumerate([[0], [0, 2], [0, 2, 3], [0, 1, 2, 3]], 1):
        assert kept(table, resources, best=Top("weight", count=count)) == rows


def published(scores: Sequence[float], fraction: float) -> set[int]:
    """DataComp's clip_score filter with a fraction; clamped where the original would stop."""
    descending = sorted(scores, reverse=True)
    threshold = descending[min(int(len(scores) * fraction), len(scores) - 1)]
    return {row for row, score in enumerate(scores) if score >= threshold}


def test_datacomp_keeps_one_more_and_all_ties(resources: Resources) -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.25]
    best = Top("score", fraction=0.3, mode="datacomp")
    assert kept(pool(score=scores), resources, best=best) == [5, 6, 7, 8]
    assert kept(pool(score=[0.5] * 10), resources, best=best) == list(range(10))
    assert kept(pool(score=[None]), resources, best=best) == []


QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(QUICK, max_examples=15)
@given(
    st.lists(st.integers(0, 12).map(lambda n: n / 8), min_size=1, max_size=40),
    st.floats(0.001, 1.0),
)
def test_datacomp_agrees_with_the_published_code(
    resources: Resources, scores: list[float], fraction: float
) -> None:
    best = Top("score", fraction=fraction, mode="datacomp")
    assert set(kept(pool(score=scores), resources, best=best)) == published(scores, fraction)


def test_datacomp_measures_the_whole_pool_not_the_survivors(resources: Resources) -> None:
    table = pool(score=[0.1, 0.2, 0.3, 0.4], good=[True, True, True, False])
    best = Top("score", fraction=0.5, mode="datacomp")
    assert kept(table, resources, good=Where("good"), best=best) == [1, 2]
    assert kept(table, resources, best=best, good=Where("good")) == [1, 2]
    failed = pool(score=[0.1, 0.2, 0.8, 0.9], failed=[None, None, "decode", "decode"])
    assert kept(failed, resources, best=best) == [0, 1]  # the second of two is the threshold


def test_representative_is_chosen_among_survivors(resources: Resources) -> None:
    table = pool(dup_group=[1, 1], score=[9, 5], good=[False, True])
    good, unique = Where("good"), OnePer("dup_group", "score")
    assert kept(table, resources, good=good, unique=unique) == [1]
    assert kept(table, resources, unique=unique, good=good) == []


def test_rows_without_a_group_are_unique(resources: Resources) -> None:
    table = pool(dup_group=[None, 1, None, 1, 1], score=[1, None, 2, 3, 3])
    assert kept(table, resources, unique=OnePer("dup_group", "score")) == [0, 2, 3]
    assert kept(table, resources, unique=OnePer("dup_group", "score", lowest=True)) == [0, 2, 3]
    assert kept(table, resources, unique=OnePer("dup_group")) == [0, 1, 2]
    table = pool(dup_group=[1, 1, 1, 1], source=["a", "b", None, None])
    assert kept(table, resources, unique=OnePer("dup_group", per=("source",))) == [0, 1, 2]


def many(count: int, **columns: Any) -> pa.Table:
    keys = [hashlib.blake2b(str(i).encode(), digest_size=16).digest() for i in range(count)]
    return table_of([{"shard": 0, "row": i, "key": key, **columns} for i, key in enumerate(keys)])


def test_a_draw_follows_its_probability_and_nests(resources: Resources) -> None:
    table = many(5000, source="a", weight=0.2)
    small, large = (kept(table, resources, mix=Draw(p)) for p in (0.1, 0.2))
    assert set(small) < set(large)
    assert abs(len(small) - 500) < 70
    assert kept(table, resources, mix=Draw("weight")) == large
    assert kept(table, resources, mix=Draw(1.0)) == list(range(5000))
    assert kept(table, resources, mix=Draw(0.2, seed=1)) != large
    other = kept(table, resources, other=Draw(0.2))
    assert abs(len(set(large) & set(other)) - 200) < 60  # steps of another name draw anew


def test_a_draw_of_a_share_per_group_is_exact(resources: Resources) -> None:
    table = many(1000, source="a")
    half = table.set_column(8, "source", pa.array(["a", "b", None, "a"] * 250))
    rows = kept(half, resources, mix=Draw(0.1, per=("source",)))
    assert [len([r for r in rows if r % 4 in which]) for which in ((0, 3), (1,), (2,))] == [
        50,
        25,
        25,
    ]
    assert len(kept(half, resources, mix=Draw(1, count=30, per=("source",)))) == 90
    assert set(kept(table, resources, mix=Draw(1, count=10))) < set(
        kept(table, resources, mix=Draw(1, count=20))
    )


def test_copies_are_the_whole_part_and_one_more_by_chance(resources: Resources) -> None:
    table = pool(weight=[0.0, 1.0, 2.0, 3.0, None, -1.0, math.nan])
    assert kept(table, resources, mix=Draw("weight", repeat=True)) == [1, 2, 2, 3, 3, 3]
    rows = kept(many(2000), resources, mix=Draw(2.25, repeat=True))
    assert {rows.count(row) for row in range(2000)} == {2, 3}
    assert abs(len(rows) - 4500) < 80


def test_copies_of_two_steps_multiply(resources: Resources) -> None:
    table = pool(weight=[1.0, 2.0, 3.0])
    double, by = Draw(2, repeat=True), Draw("weight", repeat=True)
    assert kept(table, resources, a=double, b=by) == [0] * 2 + [1] * 4 + [2] * 6
    tops = Top("weight", count=2)
    assert kept(table, resources, a=double, b=tops, c=by) == [1] * 4 + [2] * 6


def test_a_counted_draw_with_copies_has_exactly_that_many(resources: Resources) -> None:
    table = pool(weight=[0.0, 1.0, 2.0, 5.0, None, -1.0])
    rows = kept(table, resources, mix=Draw("weight", count=80, repeat=True))
    assert {row: rows.count(row) for row in set(rows)} == {1: 10, 2: 20, 3: 50}
    rows = kept(table, resources, mix=Draw("weight", count=3, repeat=True))
    assert len(rows) == 3
    assert set(rows) <= {1, 2, 3}
    assert kept(pool(weight=[0.0, None]), resources, m=Draw("weight", count=3, repeat=True)) == []


def test_a_counted_draw_prefers_weight(resources: Resources) -> None:
    table = many(2000).set_column(6, "weight", pa.array([9.0] * 1000 + [1.0] * 1000))
    rows = kept(table, resources, mix=Draw("weight", count=200))
    assert len(set(rows)) == 200
    assert sum(row < 1000 for row in rows) > 150


def test_a_subset_keeps_what_it_lists_as_often(resources: Resources, tmp_path: Path) -> None:
    uids = [f"{i:032x}" for i in range(5)]
    path = str(tmp_path / "subset.npy")
    write_subset(path, uids[1:4], [1, 3, 1])
    table = pool(source_key=[*uids, None, "no uid"], score=[5, 4, 3, 2, 1, 9, 9])
    assert kept(table, resources, listed=Subset(path)) == [1, 2, 2, 2, 3]
    best = Top("score", count=5)
    assert kept(table, resources, best=best, listed=Subset(path)) == [1, 2, 2, 2]


def test_failed_and_taken_down_rows_take_no_part(resources: Resources) -> None:
    table = pool(score=[9, 8, 7, 6, 5], failed=["http_404", None, None, None, "decode"])
    keys = [i.to_bytes(16, "big") for i in (0, 1, 99)]
    verdicts, summary = run(table, {"best": Top("score", count=1)}, resources, takedown=keys)
    names = [verdict for verdict, _ in verdicts.values()]
    assert names == ["failed", "takedown", "kept", "best", "failed"]
    attrition = (("pool", 5), ("failed", 3), ("takedown", 2), ("best", 1))
    assert summary.attrition == attrition
    assert summary.kept == 1


# What is reported


def test_the_summary_counts_everything(resources: Resources) -> None:
    table = pool(
        score=[0.9, 0.8, 0.7, 0.6, 0.5, None, 0.1],
        language=["en", "en", "de", "de", "de", None, "en"],
        weight=[2.0] * 7,
        failed=[None] * 6 + ["decode"],
    )
    steps: dict[str, Step] = {
        "best": Top("score", fraction=0.5, per=("language",)),
        "twice": Draw("weight", repeat=True),
        "none": Where("score > 2"),
    }
    _, summary = run(table, steps_until(steps, "twice"), resources, report_by=("language",))
    assert summary == Summary(
        attrition=(("pool", 7), ("failed", 6), ("best", 3), ("twice", 3)),
        copies=6,
        cuts=(
            Cut("best", ("de",), 3, 2, pytest.approx(0.6)),
            Cut("best", ("en",), 2, 1, pytest.approx(0.9)),
        ),
        breakdowns=(
            Breakdown(
                "language",
                (ValueCount("de", 3, 2), ValueCount("en", 3, 1), ValueCount(None, 1, 0)),
                0,
                0,
                0,
            ),
        ),
        warnings=(),
    )
    _, summary = run(table, steps, resources)
    assert summary.warnings == ("step 'none' drops 3 of 3 rows, 100.0% (limit 95%)",)


def test_a_limit_of_its_own_decides_about_the_warning(resources: Resources) -> None:
    table = pool(score=range(10))
    _, summary = run(table, {"few": Where("score < 4", max_drop=0.5)}, resources)
    assert summary.warnings == ("step 'few' drops 6 of 10 rows, 60.0% (limit 50%)",)
    _, summary = run(table, {"few": Where("score < 4", max_drop=0.6)}, resources)
    assert summary.warnings == ()


def test_values_beyond_the_first_fifty_are_added_up(resources: Resources) -> None:
    table = pool(source=[f"s{i:02d}" for i in range(60)] + ["s59"], score=[1] * 55 + [0] * 6)
    _, summary = run(table, {"good": Where("score = 1")}, resources, report_by=("source",))
    (found,) = summary.breakdowns
    assert found.values[0] == ValueCount("s59", 2, 0)
    assert found.values[1:] == tuple(ValueCount(f"s{i:02d}", 1, 1) for i in range(49))
    assert (found.other_values, found.other_rows, found.other_kept) == (10, 10, 6)


# Edges


def test_no_rows_at_all(resources: Resources) -> None:
    steps: dict[str, Step] = {"good": Where("good"), "best": Top("score", count=1)}
    for table in (pa.table({}), pool(score=[1]).slice(1)):
        with select(table.to_batches(), steps, resources, report_by=("language",)) as selection:
            assert list(selection.verdicts()) == []
            attrition = selection.summary.attrition
            assert attrition == (("pool", 0), ("failed", 0), ("good", 0), ("best", 0))


def test_all_failed(resources: Resources) -> None:
    table = pool(failed=["decode"] * 3)
    for step in (Where("good"), Top("score", count=1), OnePer("dup_group"), Draw(1, count=2)):
        verdicts, _ = run(table, {"it": step}, resources)
        assert set(verdicts.values()) == {("failed", 0)}


def test_no_steps_keep_all(resources: Resources) -> None:
    assert kept(pool(score=[1, None]), resources) == [0, 1]


def test_columns_may_have_any_name_and_be_structs(resources: Resources) -> None:
    table = pool(score=[1, 2, 3])
    for name in ("s", "e", "r", "select", 'a "b"', "größe", "code", "place", "times", "value"):
        column = pa.array([{"x": i} for i in range(3)])
        named = table.append_column(name, column).append_column("group", pa.array([1, 1, 2]))
        quoted = '"' + name.replace('"', '""') + '"'
        condition = Where(f"{quoted}.x >= 1")
        assert kept(named, resources, best=OnePer("group", "score"), ok=condition) == [1, 2]


def test_a_later_step_is_not_asked_about_dropped_rows(resources: Resources) -> None:
    table = pool(language=["1", "en"], score=[1, 2])
    number, cast = Where("language ~ '^[0-9]+$'"), Where("cast(language as integer) = 1")
    assert kept(table, resources, number=number, cast=cast) == [0]
    best = Top("score", count=2)
    assert kept(table, resources, number=number, best=best, cast=cast) == [0]
    with pytest.raises(CurationError, match="select 'cast': Could not convert string 'en'"):
        kept(table, resources, cast=cast)
    with pytest.raises(CurationError, match="select 'best', 'cast': Could not convert"):
        kept(table, resources, best=best, cast=cast)
    assert not list(resources.temp_dir.iterdir())


def test_what_cannot_run_is_refused(resources: Resources) -> None:
    table = pool(score=[1.0])
    with pytest.raises(RecipeError, match="step 'large': unknown column 'scor'"):
        kept(table, resources, large=Where("scor > 1"))
    with pytest.raises(RecipeError, match="report by 'domain': there is no such column"):
        run(table, {}, resources, report_by=("domain",))
    with pytest.raises(RecipeError, match="in SQL, their names are the same"):
        run(
            table.append_column("Score", pa.array([1.0])),
            {"a": Where("score > 1"), "b": Top("Score", count=1)},
            resources,
        )
    with pytest.raises(ValueError, match="no column 'key'"):
        run(table.drop_columns(["key"]), {}, resources)
    with pytest.raises(ValueError, match="two rows have the same shard and row"):
        run(pa.concat_tables([table, table]), {}, resources)
    with pytest.raises(CurationError, match="copies of one row"):
        kept(table, resources, a=Draw(1e6, repeat=True), b=Draw(1e6, repeat=True))


# Against a slow reference

CONDITIONS: dict[str, Callable[[Row], bool | None]] = {
    "score > 0.3": lambda r: None if r["score"] is None else r["score"] > 0.3,
    "not (score > 0.3)": lambda r: None if r["score"] is None else not r["score"] > 0.3,
    "good": lambda r: r["good"],
    "language is null or language = 'en'": lambda r: r["language"] in (None, "en"),
    "size between -1 and 3": lambda r: None if r["size"] is None else -1 <= r["size"] <= 3,
    "coalesce(weight, 1) >= 1": lambda r: (1 if r["weight"] is None else r["weight"]) >= 1,
}


def drawn(key: bytes, seed: int, name: str) -> float:
    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    seeded = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    first, second = int.from_bytes(seeded[:8], "little"), int.from_bytes(seeded[8:], "little")
    upper, lower = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
    return (mix(mix(upper ^ first) ^ lower ^ second) >> 11) / 2**53


def groups(rows: list[Row], per: Sequence[str]) -> list[list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[column] for column in per)].append(row)
    return list(found.values())


def best_of(rows: list[Row], step: Any, value: Callable[[Row], Any]) -> list[Row]:
    """The first `count` rows, or ceil(fraction * n), of each group that have a value."""
    chosen = []
    for group in groups(rows, step.per):
        ranked = sorted(
            (row for row in group if value(row) is not None), key=lambda r: (-value(r), r["key"])
        )
        fraction = step.fraction if isinstance(step, Top) else step.by
        share = step.count or math.ceil(Fraction(repr(float(fraction))) * len(ranked))
        chosen += ranked[:share]
    return chosen


def survivors(name: str, step: Step, rows: list[Row], whole_pool: list[Row]) -> list[Row]:
    """What one step leaves of rows, with their `times`."""
    if isinstance(step, Where):
        return [row for row in rows if CONDITIONS[step.condition](row)]
    if isinstance(step, Top) and step.mode == "datacomp":
        assert step.fraction is not None
        scores = sorted(r[step.column] for r in whole_pool if r[step.column] is not None)[::-1]
        if not scores:
            return []
        threshold = scores[min(int(len(scores) * step.fraction), len(scores) - 1)]
        return [r for r in rows if r[step.column] is not None and r[step.column] >= threshold]
    if isinstance(step, Top):
        column, sign = step.column, -1 if step.lowest else 1
        return best_of(rows, step, lambda r: None if r[column] is None else sign * r[column])
    if isinstance(step, OnePer):
        return one_per(rows, step)
    assert isinstance(step, Draw)
    return drawn_rows(name, step, rows)


def one_per(rows: list[Row], step: OnePer) -> list[Row]:
    chosen = [row for row in rows if row[step.group] is None]
    for group in groups([r for r in rows if r[step.group] is not None], (step.group, *step.per)):
        best, sign = step.best, 1 if step.lowest else -1
        chosen.append(
            min(
                group,
                key=lambda r: (
                    (best is not None and r[best] is None),
                    0 if best is None or r[best] is None else sign * r[best],
                    r["key"],
                ),
            )
        )
    return chosen


def drawn_rows(name: str, step: Draw, rows: list[Row]) -> list[Row]:
    def by(row: Row) -> float:
        value = row[step.by] if isinstance(step.by, str) else step.by
        return -1.0 if value is None else float(value)

    def draw(row: Row) -> float:
        return drawn(row["key"], step.seed, name)

    if step.count is None and not step.per:
        if not step.repeat:
            return [row for row in rows if draw(row) < by(row)]
        copies = {r["key"]: int(max(by(r), 0)) + (draw(r) < max(by(r), 0) % 1) for r in rows}
    elif not step.repeat:
        if not isinstance(step.by, str):
            return best_of(rows, step, lambda r: -draw(r))
        return best_of(rows, step, lambda r: math.log(1 - draw(r)) / by(r) if by(r) > 0 else None)
    else:
        copies = {}
        for group in groups(rows, step.per):
            copies |= resampled(name, step, sorted(group, key=lambda r: (draw(r), r["key"])), by)
    found = [{**row, "times": row["times"] * copies[row["key"]]} for row in rows]
    return [row for row in found if row["times"]]


def resampled(
    name: str, step: Draw, rows: list[Row], by: Callable[[Row], float]
) -> dict[bytes, int]:
    """Systematic resampling with every point spelled out."""
    assert step.count is not None
    seeded = hashlib.blake2b(f"{step.seed}:{name}".encode(), digest_size=16).digest()
    first = Fraction(int.from_bytes(seeded[:4], "little") >> 12, 2**20)
    largest = max(by(row) for row in rows)
    weights = [math.floor(max(by(r), 0) / largest * 2**30) if largest > 0 else 0 for r in rows]
    total, start, copies = sum(weights), 0, {}
    points = [(first + j) * total / step.count for j in range(step.count)]
    for row, weight in zip(rows, weights, strict=True):
        copies[row["key"]] = sum(start <= point < start + weight for point in points)
        start += weight
    return copies


def reference(
    rows: list[Row], steps: Mapping[str, Step], takedown: set[bytes]
) -> dict[tuple[int, int], Verdict]:
    verdicts: dict[tuple[int, int], Verdict] = {}
    clean = [
        {**r, "times": 1, **{k: None for k, v in r.items() if isinstance(v, float) and v != v}}
        for r in rows
    ]
    whole_pool = [row for row in clean if row["failed"] is None]
    left = [row for row in whole_pool if row["key"] not in takedown]
    for row in clean:
        name = "takedown" if row["failed"] is None else "failed"
        verdicts[row["shard"], row["row"]] = (name, 0)
    for name, step in steps.items():
        for row in left:
            verdicts[row["shard"], row["row"]] = (name, 0)
        left = survivors(name, step, left, whole_pool)
    for row in left:
        verdicts[row["shard"], row["row"]] = ("kept", row["times"])
    return verdicts


PER = st.sampled_from([(), ("language",), ("language", "source"), ("dup_group",), ("good",)])
VALUES = st.sampled_from(["score", "size", "weight"])
SHARES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.999, 1.0])
SEEDS, COUNTS = st.integers(0, 2), st.integers(1, 9)
STEPS = st.one_of(
    st.builds(Where, st.sampled_from(sorted(CONDITIONS))),
    st.builds(Top, VALUES, fraction=SHARES, per=PER, lowest=st.booleans()),
    st.builds(Top, VALUES, count=COUNTS, per=PER, lowest=st.booleans()),
    st.builds(Top, VALUES, fraction=SHARES, mode=st.just("datacomp")),
    st.builds(OnePer, st.sampled_from(["dup_group", "language"]), VALUES, per=PER),
    st.builds(OnePer, st.just("dup_group"), VALUES, lowest=st.just(True)),
    st.builds(OnePer, st.just("source")),
    st.builds(Draw, SHARES | VALUES, seed=SEEDS),
    st.builds(Draw, SHARES, per=PER, seed=SEEDS),
    st.builds(Draw, st.just("weight") | st.just(1.5), repeat=st.just(True), seed=SEEDS),
    st.builds(Draw, st.just(1) | VALUES, count=COUNTS, repeat=st.booleans(), per=PER, seed=SEEDS),
)
ROWS = st.fixed_dictionaries(
    {
        "failed": st.sampled_from([None] * 9 + ["decode"]),
        "score": st.sampled_from([None, math.nan, -0.5, 0.0, 0.25, 0.5, 0.5, 0.75, 1.0]),
        "size": st.sampled_from([None, -2, 0, 1, 2, 3, 3, 2**53, 2**53 + 1]),
        "weight": st.sampled_from([None, math.nan, -1.0, 0.0, 0.5, 1.0, 1.0, 2.25, 7.0]),
        "language": st.sampled_from([None, "en", "en", "de", ""]),
        "source": st.sampled_from([None, "a", "b"]),
        "dup_group": st.sampled_from([None, None, 0, 1, 2, 3]),
        "good": st.sampled_from([None, True, True, False]),
    }
)


def placed(rows: list[Row], seed: int) -> list[Row]:
    """The rows with keys and places, in any order."""
    order = random.Random(seed)
    numbers = order.sample(range(1000), len(rows))
    return [
        {**row, "key": hashlib.md5(b"%d" % n).digest(), "shard": n // 100, "row": n % 100}
        for row, n in zip(rows, numbers, strict=True)
    ]


def agrees(resources: Resources, rows: list[Row], chosen: list[Step], seed: int) -> None:
    steps = {f"step_{number}": step for number, step in enumerate(chosen)}
    given_rows = placed(rows, seed)
    takedown = {row["key"] for row in given_rows[:2]} if seed % 3 == 0 else set()
    expected = reference(given_rows, steps, takedown)
    found, summary = run(table_of(given_rows), steps, resources, takedown=takedown)
    assert found == expected
    left = dict(summary.attrition)
    for before, name in pairwise(left):
        assert left[before] - left[name] == sum(v == name for v, _ in expected.values())
    assert summary.copies == sum(times for _, times in expected.values())
    ordered = sorted(given_rows, key=lambda row: (row["shard"], row["row"]))
    again, same = run(table_of(ordered), steps, resources, takedown=takedown)
    assert (again, same) == (found, summary)


ANY_SELECTION = {
    "rows": st.lists(ROWS, min_size=1, max_size=40),
    "chosen": st.lists(STEPS, max_size=4),
    "seed": st.integers(0, 2**32),
}


@settings(QUICK, max_examples=25)
@given(**ANY_SELECTION)
def test_agrees_with_the_reference_in_any_order(
    resources: Resources, rows: list[Row], chosen: list[Step], seed: int
) -> None:
    agrees(resources, rows, chosen, seed)


@pytest.mark.slow
@settings(QUICK, max_examples=300)
@given(**ANY_SELECTION)
def test_agrees_with_the_reference_on_many_more(
    resources: Resources, rows: list[Row], chosen: list[Step], seed: int
) -> None:
    agrees(resources, rows, chosen, seed)


def big(count: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(count)
    columns = {
        "shard": pa.array((rows // 1000).astype(np.int32)),
        "row": pa.array((rows % 1000).astype(np.int32)),
        "key": pa.array([hashlib.md5(b"%d" % n).digest() for n in rows], pa.binary(16)),
        "failed": pa.array(["decode"] * count, mask=rows % 20 != 0),
        "score": pa.array((rows * 7919 % 1000 / 1000).astype(np.float32), mask=rows % 11 == 0),
        "weight": pa.array(rows % 13 / 4),
        "language": pa.array([("en", "de", "fr")[n % 3] for n in rows], mask=rows % 17 == 0),
        "source": pa.array([f"source-{n % 5}-with-a-long-name" for n in rows]),
        "dup_group": pa.array(rows % (count // 2)),
    }
    return pa.table(columns)


EVERYTHING: dict[str, Step] = {
    "words": Where("score > 0.1 or language = 'en'"),
    "aligned": Top("score", fraction=0.8, per=("language",)),
    "unique": OnePer("dup_group", "weight"),
    "chance": Draw("weight"),
    "most": Draw(0.9, per=("source",)),
    "copies": Draw("weight", count=50_000, repeat=True, per=("language",)),
}


def test_chunks_threads_buckets_and_order_change_nothing(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = big(20_000, 0)
    expected = run(table, EVERYTHING, resources, report_by=("source",))
    monkeypatch.setattr("pipeline.select_input._CHUNK_ROWS", 1500)
    monkeypatch.setattr("pipeline.select._LEAST_ROWS", 2000)
    in_order = table.sort_by([("shard", "ascending"), ("row", "ascending")])
    single = Resources(resources.temp_dir, threads=1)
    assert run(in_order, EVERYTHING, single, report_by=("source",)) == expected
    monkeypatch.setattr(step_sql, "BUCKETS", 3)
    backwards = in_order.take(list(range(len(table)))[::-1])
    assert run(backwards, EVERYTHING, resources, report_by=("source",)) == expected


def test_what_does_not_fit_spills_and_changes_nothing(resources: Resources) -> None:
    table = big(250_000, 1)
    expected = run(table, EVERYTHING, Resources(resources.temp_dir, "2GB", 1))
    spilled = Resources(resources.temp_dir, "32MB", 1)
    with select(table.to_batches(), EVERYTHING, spilled) as selection:
        files = [path for path in resources.temp_dir.rglob("*") if path.is_file()]
        assert files, "nothing was spilled"
        assert selection.summary == expected[1]
        found = pa.Table.from_batches(selection.verdicts()).to_pylist()
    assert [(v["verdict"], v["times"]) for v in found] == list(expected[0].values())


def test_too_little_memory_is_said(resources: Resources) -> None:
    with pytest.raises(CurationError, match="out of memory; raise the memory limit"):
        run(big(100_000, 2), EVERYTHING, Resources(resources.temp_dir, "4MB", 1))
    assert not list(resources.temp_dir.iterdir())
