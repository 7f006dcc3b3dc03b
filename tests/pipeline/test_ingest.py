import json
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import ingest, pool
from pipeline.errors import DamagedFile, RecipeError
from pipeline.ingest import IngestJob
from pipeline.recipe import parse_recipe
from pipeline.shards import read_shard
from pipeline.sources.base import Incoming, Unit, captions_of
from pipeline.sources.folder import Folder
from pipeline.sources.of_recipe import all_units, make_sources
from tests import pictures
from tests.conftest import tree
from tests.pipeline.sources.server import ok, serving

PLAN = "a plan"


@dataclass(frozen=True)
class Rows:
    """A source in memory: a list of rows for each unit."""

    name: str
    lists: tuple[tuple[Incoming, ...], ...]
    fetches: bool = False
    web: None = None

    def units(self) -> list[Unit]:
        return [Unit(self.name, str(i)) for i in range(len(self.lists))]

    def read(self, unit: Unit) -> Iterator[Incoming]:
        return (replace(row) for row in self.lists[int(unit.path)])

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def row(name, *, text="t", **more):
    fields = {"image": pictures.jpeg(1), **more}
    return Incoming(source_key=name, captions=captions_of(text, "txt"), **fields)


def job_of(root, *sources, rows_per_shard=1000, plan=PLAN):
    return IngestJob(str(root), plan, {s.name: s for s in sources}, rows_per_shard)


def surveyed(job):
    """The write tasks of a job, after its survey."""
    units = [unit for source in job.sources.values() for unit in source.units()]
    for task in enumerate(units):
        ingest.survey_unit(task, job)
    return ingest.plan_writes(job, units)


def ingested(job):
    tasks = surveyed(job)
    for task in tasks:
        ingest.write_unit(task, job)
    return ingest.finish(job, "sources", tasks, "inputs")


def base_of(made):
    return [r for shard in made.shards for r in pool.read_base(made.root, shard).to_pylist()]


def reasons(made):
    return {r["source_key"]: r["failed"] for r in base_of(made)}


def test_every_row_that_came_in_has_a_base_row_and_every_good_one_a_sample(tmp_path, photos):
    made = ingested(job_of(tmp_path, Folder("photos", str(photos)), rows_per_shard=5))
    rows = base_of(made)
    assert [r["source_key"] for r in rows] == sorted(p.name for p in photos.glob("*.jpg"))
    found = reasons(made)
    assert found.pop("21_html.jpg") == "not_an_image"
    assert {found.pop("01.jpg"), found.pop("23_same_pair.jpg")} == {None, "duplicate_key"}
    assert set(found.values()) == {None}
    samples = [s for shard in made.shards for s in read_shard(pool.tar_path(made.root, shard.name))]
    assert [s.key for s in samples] == [r["key"].hex() for r in rows if r["extension"]]
    by_key = {r["key"].hex(): r for r in rows if r["extension"]}
    for sample in samples:
        known = by_key[sample.key]
        assert known["failed"] is None
        assert sample.parts[known["extension"]] == (photos / known["source_key"]).read_bytes()
        assert sample.parts.get("txt", b"").decode() == (known["caption"] or "")
    assert made.rows == 17
    assert [shard.rows for shard in made.shards] == [5, 5, 5, 2]
    assert sum(shard.samples for shard in made.shards) == 15


def test_bytes_that_are_no_image_fail_with_the_reason_of_the_decoder(tmp_path):
    bad = {
        "html": pictures.HTML,
        "empty": b"",
        "cut": pictures.jpeg(0)[:100],
        "bomb": pictures.bomb_png(),
    }
    rows = tuple(row(name, image=data) for name, data in bad.items())
    made = ingested(job_of(tmp_path, Rows("s", (rows,))))
    assert reasons(made) == {
        "html": "not_an_image",
        "empty": "empty",
        "cut": "truncated",
        "bomb": "too_many_pixels",
    }
    assert all(r["detail"] and r["retriable"] is False for r in base_of(made))
    assert made.shards[0].samples == 0


def test_a_picture_has_the_extension_of_its_true_format_and_keeps_other_members(tmp_path):
    parts = {"png": b"not the image", "txt": b"as it came", "cls": b"7"}
    made = ingested(job_of(tmp_path, Rows("s", ((row("a", image=pictures.png(1), parts=parts),),))))
    (sample,) = read_shard(pool.tar_path(made.root, "00000"))
    assert sample.parts == {
        "png": pictures.png(1),
        "other.png": b"not the image",
        "txt": b"as it came",
        "cls": b"7",
    }
    assert base_of(made)[0]["extension"] == "png"


@pytest.mark.parametrize("seed", range(4))
def test_of_equal_pairs_the_same_one_is_kept_in_any_order_of_inputs(tmp_path, seed):
    rows = [row(f"{i}", text=f"{i % 3}") for i in range(9)]
    random.Random(seed).shuffle(rows)
    made = ingested(job_of(tmp_path, Rows("s", (tuple(rows[:4]), tuple(rows[4:])))))
    found = reasons(made)
    assert sorted(found.values(), key=str) == [None] * 3 + ["duplicate_key"] * 6
    kept = {int(name) for name, reason in found.items() if reason is None}
    assert {name % 3 for name in kept} == {0, 1, 2}
    ranks = {i: row(f"{i}", text=f"{i % 3}").rank("s") for i in range(9)}
    assert kept == {min(range(start, 9, 3), key=ranks.__getitem__) for start in range(3)}


def test_a_pair_of_two_sources_is_kept_once_whichever_comes_first(tmp_path):
    one, two = Rows("one", ((row("a"),),)), Rows("two", ((row("a"),),))
    kept = []
    for number, sources in enumerate([(one, two), (two, one)]):
        made = ingested(job_of(tmp_path / str(number), *sources))
        assert made.rows == 2
        kept += [r["source"] for r in base_of(made) if r["failed"] is None]
    assert kept[0] == kept[1]
    assert len(kept) == 2


@pytest.mark.parametrize("bad", ["failed", "html"])
def test_a_row_that_has_no_sample_takes_it_from_no_other(tmp_path, bad):
    """Also when it has the smaller rank, as one of these has."""
    for number in range(8):
        good = row(f"good {number}", url="http://e.org/x")
        other = row(f"bad {number}", url="http://e.org/x", image=pictures.HTML)
        if bad == "failed":
            other = replace(other, image=None, failed="missing_sample")
        made = ingested(job_of(tmp_path / str(number), Rows("s", ((other, good),))))
        assert reasons(made)[f"good {number}"] is None
        expected = "missing_sample" if bad == "failed" else "duplicate_key"
        assert reasons(made)[f"bad {number}"] == expected


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=8), max_size=4),
    st.sampled_from([1, 3, 1000]),
)
def test_the_choice_among_equal_keys_agrees_with_a_slow_one(tmp_path, monkeypatch, lists, at_once):
    monkeypatch.setattr(ingest, "_ROWS_AT_ONCE", at_once)
    units = tuple(
        tuple(Incoming(source_key=str(n), url=f"http://e.org/{k}") for k, n in rows)
        for rows in lists
    )
    job = job_of(tmp_path, Rows("s", units))
    best: dict[bytes, tuple[bytes, int, int]] = {}
    for u, rows in enumerate(units):
        for p, incoming in enumerate(rows):
            candidate = (incoming.rank("s"), u, p)
            best[incoming.key("s")] = min(best.get(incoming.key("s"), candidate), candidate)
    keepers = {(u, p) for _, u, p in best.values()}
    for task in surveyed(job):
        marked = [r.failed for r in ingest._marked(task, job)]
        for position, failed in enumerate(marked):
            assert (failed is None) == ((task.number, position) in keepers)


def test_shards_end_where_units_end(tmp_path):
    lists = tuple(
        tuple(row(f"{u}.{i}", text=f"{u}.{i}") for i in range(n))
        for u, n in enumerate([3, 0, 4, 1])
    )
    made = ingested(job_of(tmp_path, Rows("s", lists), rows_per_shard=2))
    assert [shard.rows for shard in made.shards] == [2, 1, 2, 2, 1]
    assert [r["source_key"] for r in base_of(made)] == [
        r.source_key for part in lists for r in part
    ]
    assert [shard.name for shard in made.shards] == [f"0000{i}" for i in range(5)]


def test_rows_without_images_by_design_have_neither_sample_nor_failure(tmp_path):
    rows = [
        Incoming(source_key=uid, uid=uid, url="http://cdn.e.org/x", metadata_only=True,
                 captions=captions_of("größe", "text"), meta={"score": 0.3})
        for uid in ("1", "2", "1")
    ]  # fmt: skip
    made = ingested(job_of(tmp_path, Rows("s", (tuple(rows),))))
    found = base_of(made)
    assert [(r["failed"], r["extension"]) for r in found] == [
        (None, None),
        (None, None),
        ("duplicate_key", None),
    ]
    assert found[0]["domain"] == "e.org"
    assert found[0]["captions"][0] | {"tokens": 0} == {
        "text": "größe", "language": None, "origin": "text", "kind": "raw", "box": None,
        "model": None, "prompt": None, "tokens": 0, "flags": None,
    }  # fmt: skip
    assert json.loads(found[0]["meta"]) == {"score": 0.3}
    assert list(read_shard(pool.tar_path(made.root, "00000"))) == []


def test_sources_without_rows_are_an_error(tmp_path):
    with pytest.raises(RecipeError, match="no rows at all"):
        ingested(job_of(tmp_path, Rows("s", ((), ()))))
    assert pool.open_pool(str(tmp_path)) is None


def many(root, count=23, rows_per_shard=5):
    rows = [row(f"{i}", text=f"{i % 20}", image=pictures.jpeg(i)) for i in range(count)]
    return job_of(
        root, Rows("s", (tuple(rows[:9]), tuple(rows[9:]))), rows_per_shard=rows_per_shard
    )


@pytest.mark.parametrize("kept", range(6))
def test_what_a_kill_left_is_completed_to_the_same_bytes(tmp_path, kept):
    """A kill after any number of shards, when of the next one the tar was there already."""
    whole = job_of(tmp_path / "whole", *many(tmp_path).sources.values(), rows_per_shard=5)
    ingested(whole)
    job = replace(whole, root=str(tmp_path / "killed"))
    tasks = surveyed(job)
    names = [name for task in tasks for name in task.shards]
    for task in tasks:
        ingest.write_unit(task, job)
    for name in names[kept:]:
        Path(pool.base_path(job.root, name)).unlink()
    for name in names[kept + 1 :]:
        Path(pool.tar_path(job.root, name)).unlink()
    before = [Path(pool.tar_path(job.root, n)).stat().st_mtime_ns for n in names[:kept]]
    made = ingested(job)
    assert [Path(pool.tar_path(job.root, n)).stat().st_mtime_ns for n in names[:kept]] == before
    assert tree(job.root) == tree(whole.root)
    assert made.rows == 23


def test_a_second_run_of_a_task_changes_nothing(tmp_path):
    job = many(tmp_path)
    tasks = surveyed(job)
    counts = [ingest.write_unit(task, job) for task in tasks]
    before = tree(tmp_path)
    assert [ingest.write_unit(task, job) for task in tasks] == counts
    assert tree(tmp_path) == before
    assert sum(count["rows"] for count in counts) == 23


def test_shards_of_another_plan_are_not_taken_over(tmp_path):
    ingested(many(tmp_path))
    other = replace(many(tmp_path), plan="another plan", rows_per_shard=7)
    made = ingested(other)
    assert [shard.rows for shard in made.shards] == [7, 2, 7, 7]
    assert all(pool.finished_shard(str(tmp_path), s.name, PLAN) is None for s in made.shards)


@pytest.mark.parametrize("change", ["one less", "one more", "another", "another order"])
def test_inputs_that_change_after_the_survey_are_noticed_and_surveyed_anew(tmp_path, change):
    before = many(tmp_path)
    rows = list(before.sources["s"].lists[1])
    after = {
        "one less": rows[:-1],
        "one more": [*rows, row("new", text="new")],
        "another": [*rows[:-1], row("new", text="new")],
        "another order": [rows[1], rows[0], *rows[2:]],
    }[change]
    first = before.sources["s"].lists[0]
    job = replace(before, sources={"s": Rows("s", (first, tuple(after)))})
    tasks = surveyed(before)
    units = [task.unit for task in tasks]
    ingest.write_unit(tasks[0], job)
    with pytest.raises(DamagedFile, match=r"1: has changed since it was surveyed; ingest again"):
        ingest.write_unit(tasks[1], job)
    assert [ingest.is_surveyed(job, n, unit) for n, unit in enumerate(units)] == [True, False]
    made = ingested(job)
    assert [r["source_key"] for r in base_of(made)] == [r.source_key for r in (*first, *after)]


def test_the_plan_changes_with_files_options_and_recipe(tmp_path, photos):
    def plan(sources="x", rows=5, pixels=100):
        units = Folder("photos", str(photos)).units()
        return ingest.plan_digest(sources, units, rows, pixels)

    plans = {plan(), plan("y"), plan(rows=6), plan(pixels=101)}
    (photos / "00.jpg").write_bytes(pictures.jpeg(99))
    plans.add(plan())
    (photos / "new.jpg").write_bytes(b"")
    plans.add(plan())
    assert len(plans) == 6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_shard(tmp_path):
    @dataclass(frozen=True)
    class Large(Rows):
        def read(self, unit):
            for number in range(100):
                yield row(str(number), text=str(number), image=pictures.jpeg(1) + bytes(1_000_000))

    job = job_of(tmp_path, Large("s", ((),)))
    tasks = surveyed(job)
    tracemalloc.start()
    ingest.write_unit(tasks[0], job)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_every_kind_of_source_in_one_recipe(tmp_path, photos):
    """Two folders and metadata, of which one folder repeats the other."""
    table = pa.table({"uid": ["1"], "url": ["http://e.org/1"], "text": ["t"]})
    pq.write_table(table, tmp_path / "0.parquet")
    recipe = parse_recipe(
        "sources:\n  a: {folder: photos}\n  b: {folder: photos}\n  c: {datacomp: 0.parquet}\n",
        str(tmp_path / "recipe.yaml"),
    )
    sources = make_sources(recipe)
    job = IngestJob(str(tmp_path / "out"), PLAN, sources)
    units = all_units(recipe, sources)
    assert [unit.source for unit in units] == ["a", "b", "c"]
    made = ingested(job)
    rows = base_of(made)
    assert len(rows) == 17 + 17 + 1
    assert [shard.source for shard in made.shards] == ["a", "b", "c"]
    keys = [r["key"] for r in rows if r["failed"] is None]
    assert len(keys) == len(set(keys)) == 16


def test_a_table_of_urls_becomes_a_pool(tmp_path):
    answers = {"1.jpg": ok(pictures.jpeg(1)), "2": ok(pictures.png(2)), "html": ok(pictures.HTML)}
    with serving(answers) as server:
        lines = [f"{server.url(name)},größe {name}" for name in ("1.jpg", "2", "html", "gone", "2")]
        (tmp_path / "t.csv").write_text("\n".join(["url,alt", *lines, ",none", "file:///x,y"]))
        recipe = parse_recipe(
            "sources:\n  web: {table: t.csv, url: url, caption: alt,"
            " fetch: {engine: img2dataset, allow_hosts: [127.0.0.1], timeout_s: 3}}\n",
            str(tmp_path / "recipe.yaml"),
        )
        job = IngestJob(str(tmp_path / "out"), PLAN, make_sources(recipe), rows_per_shard=10)
        made = ingested(job)
    rows = base_of(made)
    assert [r["failed"] for r in rows if "/html" in str(r["url"])] == ["not_an_image"]
    assert sorted(str(r["failed"]) for r in rows) == [
        "None", "None", "bad_scheme", "duplicate_key", "fetch_failed", "no_url", "not_an_image",
    ]  # fmt: skip
    assert sorted(str(r["extension"]) for r in rows[:5]) == ["None"] * 3 + ["jpg", "png"]
    assert rows[0]["url"].endswith("/1.jpg")
