"""Small graphs, each of which needs one feature of Beam, with the rows that it must give.

The rows are collected from files, not from exit codes: engines have been seen to lose rows and
report success.
"""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsList, AsMultiMap, AsSingleton
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import trigger, window

from tests.pipeline.probe_functions import (
    Bundles,
    Counting,
    InBatches,
    Numbers,
    PlusOne,
    Splittable,
    WithFinalizer,
    WithState,
    WithTime,
    WithTimer,
    WithWindow,
    counts,
    odd_or_even,
    refuse_three,
)

N = 60


@dataclass(frozen=True)
class Keep:
    """Where a probe leaves rows: `keep("name")` is a step that writes them to files."""

    folder: Path

    def __call__(self, name: str = "rows") -> beam.PTransform:
        return f"keep {name}" >> beam.Map(partial(_keep, folder=str(self.folder / name)))

    def rows(self) -> dict[str, list[Any]]:
        """What was kept, by name, in an order of its own."""
        kept = {}
        for folder in sorted(p for p in self.folder.iterdir() if p.is_dir()):
            files = folder.glob("*.json")
            kept[folder.name] = in_order(json.loads(file.read_text()) for file in files)
        return kept


def _keep(row: Any, folder: str) -> Any:
    os.makedirs(folder, exist_ok=True)
    path = Path(folder) / uuid.uuid4().hex
    path.write_text(json.dumps(row))
    path.rename(path.with_suffix(".json"))
    return row


def in_order(rows: Any) -> list[Any]:
    return sorted(rows, key=json.dumps)


@dataclass(frozen=True)
class Probe:
    """A graph and what it must give, or why our guard and our Dask runner refuse it."""

    name: str
    build: Callable[[beam.Pipeline, Keep], Any]
    rows: dict[str, list[Any]] = field(default_factory=dict)
    raises: str | None = None  # part of the message of the error that must reach the caller
    refused: str | None = None  # by the runner and the guard
    foreign: str | None = None  # by the guard alone


def run(probe: Probe, folder: Path, runner: Any, options: list[str]) -> dict[str, list[Any]]:
    """The rows that a probe kept on a runner."""
    keep = Keep(folder)
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(options))
    probe.build(pipeline, keep)
    pipeline.run().wait_until_finish()
    return keep.rows()


def _numbers(p: beam.Pipeline, count: int = N) -> beam.PCollection:
    return p | "numbers" >> beam.Create(range(count))


def _elements(p: beam.Pipeline, keep: Keep) -> None:
    doubled = _numbers(p) | "double" >> beam.Map(lambda x: 2 * x)
    kept = doubled | "filter" >> beam.Filter(lambda x: x % 3 == 0)
    _ = kept | "twice" >> beam.FlatMap(lambda x: [x, x]) | keep()


def _group(p: beam.Pipeline, keep: Keep, key: Callable[[int], Any]) -> None:
    pairs = _numbers(p) | "pair" >> beam.Map(lambda x: (key(x), x))
    _ = pairs | "group" >> beam.GroupByKey() | "count" >> beam.MapTuple(counts) | keep()


def _like_keys(p: beam.Pipeline, keep: Keep) -> None:
    pairs = p | "pairs" >> beam.Create([(1, "a"), (True, "b"), (1, "c"), ("1", "d")])
    groups = pairs | "group" >> beam.GroupByKey()
    _ = groups | "sort" >> beam.MapTuple(lambda key, values: sorted(values)) | keep()


def _cogroup(p: beam.Pipeline, keep: Keep) -> None:
    left = p | "left" >> beam.Create([("x", 1), ("y", 2)])
    right = p | "right" >> beam.Create([("x", 3)])
    joined = {"l": left, "r": right} | "join" >> beam.CoGroupByKey()
    _ = joined | "row" >> beam.MapTuple(lambda k, v: [k, list(v["l"]), list(v["r"])]) | keep()


def _flatten(p: beam.Pipeline, keep: Keep) -> None:
    left = p | "left" >> beam.Create([1, 2]) | "ten" >> beam.Map(lambda x: 10 * x)
    right = p | "right" >> beam.Create([3])
    _ = (left, right) | "flatten" >> beam.Flatten() | keep()


def _two_leaves(p: beam.Pipeline, keep: Keep) -> None:
    numbers = _numbers(p, 3)
    _ = numbers | "ten" >> beam.Map(lambda x: 10 * x) | keep("tens")
    _ = numbers | "hundred" >> beam.Map(lambda x: 100 * x) | keep("hundreds")


def _two_consumers(p: beam.Pipeline, keep: Keep) -> None:
    once = _numbers(p, 3) | keep("worked")
    _ = once | "ten" >> beam.Map(lambda x: 10 * x) | keep("tens")
    _ = once | "hundred" >> beam.Map(lambda x: 100 * x) | keep("hundreds")


def _side(p: beam.Pipeline, keep: Keep, view: Any, look: Callable[[str, Any], Any]) -> None:
    table = p | "table" >> beam.Create([("a", 1), ("b", 2), ("b", 3)])
    letters = p | "letters" >> beam.Create(["a", "b", "c"])
    _ = letters | "look up" >> beam.Map(look, view(table)) | keep()


def _side_total(p: beam.Pipeline, keep: Keep) -> None:
    numbers = p | "numbers" >> beam.Create([1, 2, 5])
    total = numbers | "total" >> beam.CombineGlobally(sum)
    _ = numbers | "share" >> beam.Map(lambda x, t: x / t, AsSingleton(total)) | keep()


def _tagged(p: beam.Pipeline, keep: Keep) -> None:
    split = _numbers(p, 6) | "split" >> beam.FlatMap(odd_or_even).with_outputs("odd", main="even")
    _ = split.even | keep("even")
    _ = split.odd | keep("odd")


def _tagged_in_part(p: beam.Pipeline, keep: Keep) -> None:
    split = _numbers(p, 6) | "split" >> beam.FlatMap(odd_or_even).with_outputs("odd", main="even")
    _ = split.even | keep("even")
    other = _numbers_again(p) | "again" >> beam.FlatMap(odd_or_even).with_outputs()
    _ = other.odd | keep("odd")


def _numbers_again(p: beam.Pipeline) -> beam.PCollection:
    return p | "numbers again" >> beam.Create(range(6))


def _twice_itself(p: beam.Pipeline, keep: Keep) -> None:
    numbers = _numbers(p, 2)
    _ = (numbers, numbers) | "flatten" >> beam.Flatten() | keep()


def _partition(p: beam.Pipeline, keep: Keep) -> None:
    low, high = _numbers(p, 5) | "split" >> beam.Partition(lambda x, count: x // 3, 2)
    _ = low | keep("low")
    _ = high | keep("high")


def _tagged_joined(p: beam.Pipeline, keep: Keep) -> None:
    split = _numbers(p, 6) | "split" >> beam.FlatMap(odd_or_even).with_outputs("odd", main="even")
    even = split.even | "even" >> beam.Map(lambda x: ["even", x])
    odd = split.odd | "odd" >> beam.Map(lambda x: ["odd", x])
    _ = (even, odd) | "flatten" >> beam.Flatten() | keep()


def _dead_letters(p: beam.Pipeline, keep: Keep) -> None:
    mapped = _numbers(p, 5) | "refuse" >> beam.Map(refuse_three).with_exception_handling()
    _ = mapped.good | keep("good")
    _ = mapped.bad | "which" >> beam.MapTuple(lambda element, error: element) | keep("bad")


def _one_of_each(p: beam.Pipeline, keep: Keep) -> None:
    """As a global step has it: the smallest of each group, then a filter over all rows."""
    pairs = _numbers(p) | "pair" >> beam.Map(lambda x: (x % 10, x))
    first = pairs | "first" >> beam.CombinePerKey(min) | "value" >> beam.Values()
    rows = pairs | "number" >> beam.Values()
    _ = rows | "only" >> beam.Filter(lambda x, keepers: x in keepers, AsList(first)) | keep()


def _windows(p: beam.Pipeline, keep: Keep) -> None:
    timed = _numbers(p, 4) | "time" >> beam.Map(lambda x: window.TimestampedValue(("k", x), x))
    cut = timed | "window" >> beam.WindowInto(window.FixedWindows(2))
    _ = cut | "sum" >> beam.CombinePerKey(sum) | "row" >> beam.Map(list) | keep()


def _triggers(p: beam.Pipeline, keep: Keep) -> None:
    every = beam.WindowInto(
        window.GlobalWindows(),
        trigger=trigger.Repeatedly(trigger.AfterCount(1)),
        accumulation_mode=trigger.AccumulationMode.DISCARDING,
    )
    _ = _numbers(p, 4) | "trigger" >> every | keep()


def _pairs(p: beam.Pipeline) -> beam.PCollection:
    return p | "pairs" >> beam.Create([("a", 1), ("a", 2), ("b", 3)])


def _assertion(p: beam.Pipeline, keep: Keep) -> None:
    assert_that(_numbers(p, 2), equal_to([0, 2]))


def _write_text(p: beam.Pipeline, keep: Keep) -> None:
    lines = p | "lines" >> beam.Create(["a", "b"])
    _ = lines | "write" >> beam.io.WriteToText(str(keep.folder / "text"))


def _simple(step: beam.PTransform, count: int = N) -> Callable[[beam.Pipeline, Keep], None]:
    def build(p: beam.Pipeline, keep: Keep) -> None:
        _ = _numbers(p, count) | "step" >> step | keep()

    return build


def _rows(*rows: Any) -> dict[str, list[Any]]:
    return {"rows": in_order(rows)}


PROBES = [
    Probe("elements", _elements, _rows(*[2 * x for x in range(0, N, 3) for _ in range(2)])),
    Probe("no elements", _simple(beam.Map(str), 0)),
    Probe("integer keys", partial(_group, key=lambda x: x % 3), _rows([0, 20], [1, 20], [2, 20])),
    Probe("text keys", partial(_group, key=lambda x: f"é{x % 2}"), _rows(["é0", 30], ["é1", 30])),
    Probe("tuple keys", partial(_group, key=lambda x: (None, x % 2)),
          _rows([[None, 0], 30], [[None, 1], 30])),
    Probe("keys that compare equal", _like_keys, _rows(["a", "c"], ["b"], ["d"])),
    Probe("combine per key", _one_of_each, _rows(*range(10))),
    Probe("combine globally", _simple(beam.CombineGlobally(sum)), _rows(sum(range(N)))),
    Probe("combine nothing", _simple(beam.CombineGlobally(sum), 0), _rows(0)),
    Probe("mean", _simple(beam.combiners.Mean.Globally()), _rows((N - 1) / 2)),
    Probe("count", _simple(beam.combiners.Count.Globally()), _rows(N)),
    Probe("top", _simple(beam.combiners.Top.Of(3)), _rows([59, 58, 57])),
    Probe("quantiles", _simple(beam.ApproximateQuantiles.Globally(2)), _rows([0, 59])),
    Probe("sample", _simple(beam.combiners.Sample.FixedSizeGlobally(N)
                            | "size" >> beam.Map(len)), _rows(N)),
    Probe("distinct", _simple(beam.Map(lambda x: x % 4) | beam.Distinct()), _rows(0, 1, 2, 3)),
    Probe("reshuffle", _simple(beam.Reshuffle()), _rows(*range(N))),
    Probe("fan out, reshuffle", _simple(beam.FlatMap(lambda x: [x] * x) | beam.Reshuffle(), 4),
          _rows(1, 2, 2, 3, 3, 3)),
    Probe("flatten", _flatten, _rows(10, 20, 3)),
    Probe("flatten one", lambda p, keep: (_numbers(p, 2),) | "flatten" >> beam.Flatten() | keep(),
          _rows(0, 1)),
    Probe("join", _cogroup, _rows(["x", [1], [3]], ["y", [2], []])),
    Probe("two leaves", _two_leaves, {"tens": [0, 10, 20], "hundreds": [0, 100, 200]}),
    Probe("two consumers", _two_consumers,
          {"worked": [0, 1, 2], "tens": [0, 10, 20], "hundreds": [0, 100, 200]}),
    Probe("side list", partial(_side, view=AsList, look=lambda x, rows: [x, len(rows)]),
          _rows(["a", 3], ["b", 3], ["c", 3])),
    Probe("side iterable", partial(_side, view=AsIter, look=lambda x, rows: [x, len(list(rows))]),
          _rows(["a", 3], ["b", 3], ["c", 3])),
    Probe("side dict", partial(_side, view=AsDict, look=lambda x, rows: [x, rows.get(x, 0) > 0]),
          _rows(["a", True], ["b", True], ["c", False])),
    Probe("side multimap", partial(_side, view=AsMultiMap,
                                   look=lambda x, rows: [x, sorted(rows[x])]),
          _rows(["a", [1]], ["b", [2, 3]], ["c", []])),
    Probe("side total", _side_total, _rows(1 / 8, 2 / 8, 5 / 8)),
    Probe("tagged outputs", _tagged, {"even": [0, 2, 4], "odd": [1, 3, 5]}),
    Probe("tagged outputs in part", _tagged_in_part, {"even": [0, 2, 4], "odd": [1, 3, 5]}),
    Probe("flatten twice itself", _twice_itself, _rows(0, 0, 1, 1)),
    Probe("partition", _partition, {"low": [0, 1, 2], "high": [3, 4]}),
    Probe("tagged outputs joined", _tagged_joined,
          _rows(*[["odd" if x % 2 else "even", x] for x in range(6)])),
    Probe("bundles", _simple(beam.ParDo(Bundles()) | beam.Map(
        lambda row: row[2] if row[0] == "element" else row[1])
        | beam.Filter(lambda row: isinstance(row, list)), 2), _rows(*[["setup", "start"]] * 2)),
    Probe("rows of finish_bundle", _simple(beam.ParDo(Bundles()) | beam.Filter(
        lambda row: row[0] == "bundle") | beam.Map(lambda row: row[1])
        | "sum" >> beam.CombineGlobally(sum)), _rows(N)),
    Probe("batches", _simple(beam.BatchElements(4, 8) | beam.Map(len)
                             | "sum" >> beam.CombineGlobally(sum)), _rows(N)),
    Probe("window parameter", _simple(beam.ParDo(WithWindow()), 1), _rows("GlobalWindow")),
    Probe("metrics do no harm", _simple(beam.ParDo(Counting()), 3), _rows(0, 1, 2)),
    Probe("dead letters", _dead_letters, {"good": [0, 1, 2, 4], "bad": [3]}),
    Probe("error", _simple(beam.Map(refuse_three)), raises="three is refused"),
    Probe("assertion", _assertion, raises="Failed assert"),
    Probe("model in the graph", _simple(RunInference(PlusOne()), 3), _rows(1, 2, 3),
          foreign="models"),
    Probe("write text", _write_text, foreign="sources and sinks"),
    Probe("windows", _windows, _rows(["k", 1], ["k", 5]), refused="windows"),
    Probe("triggers", _triggers, _rows(0, 1, 2, 3), refused="triggers"),
    Probe("time stamps", _simple(beam.ParDo(WithTime()), 1),
          _rows("Timestamp(-9223372036854.775000)"), refused="time stamps"),
    Probe("state", lambda p, keep: _pairs(p) | "state" >> beam.ParDo(WithState()) | keep(),
          _rows(["a", 1], ["a", 2], ["b", 1]), refused="state"),
    Probe("timers", lambda p, keep: _pairs(p) | "timer" >> beam.ParDo(WithTimer()) | keep(),
          _rows("a", "a", "b", "late", "late"), refused="timers"),
    Probe("groups in batches", lambda p, keep: _pairs(p) | beam.GroupIntoBatches(2)
          | "size" >> beam.MapTuple(lambda key, values: [key, len(values)]) | keep(),
          _rows(["a", 2], ["b", 1]), refused="state"),
    Probe("finalizers", _simple(beam.ParDo(WithFinalizer()), 2), _rows(0, 1),
          refused="finalization"),
    Probe("batch functions", _simple(beam.ParDo(InBatches()), 2), _rows(1, 2), refused="batches"),
    Probe("splittable functions", _simple(beam.ParDo(Splittable()), 3), _rows(0, 0, 1),
          refused="splittable"),
    Probe("own source", lambda p, keep: p | "read" >> beam.io.Read(Numbers()) | keep(),
          _rows(0, 1, 2), refused="source", foreign="source"),
    Probe("read text", lambda p, keep: p | beam.io.ReadFromText(__file__)
          | "count" >> beam.combiners.Count.Globally() | beam.Map(lambda n: n > 9) | keep(),
          _rows(True), refused="source", foreign="source"),
]  # fmt: skip
