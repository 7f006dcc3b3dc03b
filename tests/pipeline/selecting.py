"""Small pools for tests of the selection, and a slow and readable one to compare with."""

import hashlib
import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pipeline.select import VERDICTS, Resources, select
from pipeline.select_summary import Summary
from pipeline.steps import Draw, OnePer, Step, Top, Where

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


QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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
