import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CurationError, RecipeError
from pipeline.select import Resources, select
from pipeline.select_summary import Breakdown, Cut, Summary, ValueCount
from pipeline.steps import Draw, OnePer, Step, Subset, Top, Where, steps_until
from pipeline.subsets import write_subset
from tests.pipeline.selecting import QUICK, kept, pool, run, table_of


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    return Resources(tmp_path / "spill", memory_limit="200MB", threads=2)


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


@pytest.mark.slow
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


def test_a_warning_says_when_there_is_nothing_to_rank_by(resources: Resources) -> None:
    table = pool(score=[None] * 3)
    for top in (Top("score", fraction=0.5), Top("score", count=2)):
        _, summary = run(table, {"best": top}, resources)
        assert summary.warnings == (
            "step 'best' drops 3 of 3 rows, 100.0% (limit 95%): 'score' is NULL in all of them",
        )
    _, summary = run(pool(score=range(40)), {"best": Top("score", count=1)}, resources)
    assert summary.warnings == ("step 'best' drops 39 of 40 rows, 97.5% (limit 95%)",)


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
