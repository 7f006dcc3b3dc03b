"""Whole builds of rows that meet in buckets: the bytes of one reduce, whatever stops on the way."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline import gathering
from pipeline.build import Build, Part
from pipeline.errors import CurationError, DamagedFile, ShardsFailed
from pipeline.gathering import GatherJob
from pipeline.recipe import parse_recipe
from pipeline.run import Engine
from tests.conftest import tree, write_pair
from tests.pictures import jpeg

pytestmark = pytest.mark.slow

RECIPE = """\
sources: {photos: {folder: photos/}}
score:
  mine: {scorer: "tests.pipeline.test_gathering:Meeting", columns: {met: friends}}
ingest: {rows_per_shard: 3}
"""
WORK = "work/gather"
Files = dict[str, bytes]
Make = Callable[..., Build]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build whose columns come from one reduce."""
    folder = tmp_path_factory.mktemp("ready")
    for number in range(12):
        image = b"<html></html>" if number == 5 else jpeg(number % 7, (32, 24))
        caption = None if number == 8 else f"{'abc'[number % 3]} number {number}"
        write_pair(folder / "photos", f"{number:02d}", image, caption)
    build = Build(parse_recipe(RECIPE, str(folder / "recipe.yaml")), str(folder / "out"))
    build.ingest()
    build.score()
    return build


@pytest.fixture
def expected(ready: Build) -> Files:
    return tree(ready.out, "columns/**/*")


@pytest.fixture
def make(tmp_path: Path, ready: Build) -> Make:
    """Builds over one copy of the pool."""
    shutil.copytree(Path(ready.out, "pool"), tmp_path / "out" / "pool")

    def made(recipe: str = RECIPE, **options: Any) -> Build:
        parsed = parse_recipe(recipe, str(tmp_path / "recipe.yaml"))
        return Build(parsed, str(tmp_path / "out"), **options)

    return made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets and groups of some rows; the plan is made here, so workers need not know."""
    monkeypatch.setattr(gathering, "SMALL_ROWS", 0)
    monkeypatch.setattr(gathering, "ROWS_AT_ONCE", 5)


def scored(build: Build) -> Files:
    build.score()
    assert not tree(Path(build.out) / WORK)
    return tree(build.out, "columns/**/*")


def stages(build: Build) -> set[str]:
    return {name.name for name in (Path(build.out) / "ledger").iterdir()}


def test_a_small_pool_is_one_task(ready: Build) -> None:
    assert stages(ready) == {"survey", "ingest", "score-mine"}


def test_a_build_in_buckets(make: Make, expected: Files, small: None) -> None:
    build = make()
    assert scored(build) == expected
    assert {"score-mine-gather", "score-mine-reduce", "score-mine-write"} <= stages(build)
    assert len(list((Path(build.out) / "ledger" / "score-mine-reduce").iterdir())) == 3
    before = {p: p.stat().st_mtime_ns for p in Path(build.out).rglob("*") if p.is_file()}
    assert scored(make()) == expected
    assert before == {p: p.stat().st_mtime_ns for p in Path(build.out).rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_build_in_buckets_by_processes(make: Make, expected: Files, small: None) -> None:
    assert scored(make(engine=Engine("procs", 2))) == expected


def stop_at(monkeypatch: pytest.MonkeyPatch, build: Build, work: str, task: int) -> None:
    """End a build where a kill may: Beam gives up, and no record is left of the task."""
    whole = getattr(gathering, work)

    def stop(descriptor: Any, job: GatherJob) -> Any:
        number = descriptor if isinstance(descriptor, int) else descriptor[0]
        if number == task:
            raise KeyboardInterrupt
        return whole(descriptor, job)

    with monkeypatch.context() as patch:
        patch.setattr(gathering, work, stop)
        with pytest.raises(CurationError, match="KeyboardInterrupt"):
            build.score()


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("gather_group", marks=pytest.mark.slow),
        "reduce_bucket",
        pytest.param("write_group", marks=pytest.mark.slow),
    ],
)
def test_a_build_that_is_stopped_goes_on_where_it_was(
    make: Make, expected: Files, small: None, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    build = make()
    stop_at(monkeypatch, build, work, 1)
    files = Path(build.out, WORK).rglob("*.arrow")
    before = {path.name: path.stat().st_mtime_ns for path in files}
    assert before
    stop_at(monkeypatch, make(), "write_group", 1)
    after = {p.name: p.stat().st_mtime_ns for p in Path(build.out, WORK).rglob("*.arrow")}
    assert {name: after[name] for name in before} == before
    assert scored(make()) == expected


def test_what_a_kill_behind_the_last_column_left_is_removed(
    make: Make, ready: Build, expected: Files, small: None
) -> None:
    build = make()
    shutil.copytree(Path(ready.out, "columns"), Path(build.out, "columns"))
    left = Path(build.out, WORK, "mine", "0123", "v1-2-2", "gathered-00000.arrow")
    left.parent.mkdir(parents=True)
    left.touch()
    assert scored(make()) == expected


@pytest.mark.slow
def test_a_lost_column_is_made_again(make: Make, expected: Files, small: None) -> None:
    assert scored(make()) == expected
    sorted(Path(make().out).glob("columns/mine/*/*"))[2].unlink()
    assert scored(make()) == expected


def test_parts_wait_for_one_another(
    make: Make, expected: Files, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "ROWS_AT_ONCE", 7)  # two tasks, so that a part has none
    parts = [Part(index, 3, wait_s=60, poll_s=0.02) for index in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(lambda part: make(part=part).score(), parts))) == 3
    assert scored(make()) == expected


@pytest.mark.slow
def test_a_part_may_find_that_all_is_done_and_removed(
    make: Make, expected: Files, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part finishes, and removes the work, while this one is about to read it."""
    build = make(part=Part(1, 2, wait_s=0))
    whole = gathering.reduce_bucket

    def removed(bucket: int, job: GatherJob) -> Any:
        monkeypatch.setattr(gathering, "reduce_bucket", whole)
        make().score()
        return whole(bucket, job)

    for index in (1, 0):  # both gather, and each gives up on the other
        with pytest.raises(CurationError, match="tasks of other parts"):
            make(part=Part(index, 2, wait_s=0)).score()
    monkeypatch.setattr(gathering, "reduce_bucket", removed)
    build.score()
    assert tree(build.out, "columns/**/*") == expected


def test_a_work_file_that_is_damaged_is_named(
    make: Make, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = make()
    stop_at(monkeypatch, build, "reduce_bucket", 0)
    path = next(Path(build.out, WORK).rglob("gathered-00001.arrow"))
    whole = path.read_bytes()
    said = r"gathered-00001.arrow: can't be read; remove it"
    for data in (b"", whole[:-40], whole[100:]):
        path.write_bytes(data)
        with pytest.raises(DamagedFile, match=said):
            gathering._read_slice(str(path), 0, 3)
    with pytest.raises(ShardsFailed, match=said):
        make().score()
    assert not tree(build.out, "columns/mine/**/*")
    path.write_bytes(whole)
    with pytest.raises(DamagedFile, match="no work file of this build"):
        gathering._read_slice(str(path), 0, 17)


@pytest.mark.slow  # as work that is damaged, and what a scorer may break is tested without a build
def test_a_scorer_that_breaks_its_promise_leaves_no_columns(make: Make, small: None) -> None:
    build = make(RECIPE.replace("columns:", "broken: reduce, columns:"))
    with pytest.raises(ShardsFailed, match="ValueError: not today"):
        build.score()
    assert not tree(build.out, "columns/mine/**/*")


def test_only_some_rows_meet(make: Make) -> None:
    scorer = '{scorer: "tests.pipeline.test_gathering:AllMeet", only: "caption like \'a %\'"}'
    head, tail = RECIPE.split("score:")[0], RECIPE[RECIPE.index("ingest:") :]
    build = make(f"{head}score: {{mine: {scorer}}}\n{tail}")
    columns = build.score().instances[0].columns
    made = build.open_pool()
    found = [value for s in made.shards for value in columns.read(s)["n"].to_pylist()]
    assert sorted(found, key=str) == [4] * 4 + [None] * (made.rows - 4)
