"""What follows a retry: new samples are scored and selected, old columns stay, rows add up."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import packs, pool, retry_record, takedown_record
from pipeline.shards import read_shard
from tests import pictures
from tests.commands import done, pairmill
from tests.pipeline.retries import (
    DUE,
    HOSTS,
    ROWS,
    STEPS,
    base_of,
    build_of,
    current,
    flaky,
    ledger,
    lines,
    mend,
    pool_of,
    state_of,
    write,
)
from tests.pipeline.takedowns import everything, take_down

pytestmark = pytest.mark.slow
SHARED = ("image", "caption")  # scorers that look at a row alone


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A build, a retry that brought half of what was missing, and a build after it."""
    folder = tmp_path_factory.mktemp("retry")
    with flaky() as server:
        recipe = write(folder, lines(server), more=STEPS)
        out = folder / "out"
        first = done("build", recipe, "--out", out)
        was = state_of(out)
        (folder / "exported.json").write_text(json.dumps(sorted(exported(out))))
        mend(server, 0)
        told = done("ingest", recipe, "--out", out, "--retry")
        told += done("explain", url_key(recipe, 0), "--out", out)
        second = done("build", recipe, "--out", out)
    (folder / "texts.json").write_text(json.dumps([first, told, second]))
    return folder, was


@pytest.fixture
def out(before, tmp_path):
    shutil.copytree(before[0], tmp_path / "copy")
    return tmp_path / "copy" / "out"


def url_key(recipe: Path, number: int, host: str = HOSTS[0]) -> str:
    key: bytes = current(pool_of(recipe))[f"picture {number} of {host}"]["key"]
    return key.hex()


def exported(out: Path) -> set[str]:
    names = sorted((out / "shards").glob("*.tar"))
    return {sample.key for path in names for sample in read_shard(str(path))}


def test_new_samples_are_exported_and_old_columns_stay(before, out):
    folder, was = before
    known = set(json.loads((folder / "exported.json").read_text()))
    rows = current(pool_of(out.parent / "recipe.yaml")).values()
    kept = {row["key"].hex() for row in rows if row["failed"] is None}
    assert known < kept == exported(out)
    assert len(kept - known) == DUE // 2
    now = state_of(folder / "out")
    columns = [name for name in was if name.startswith(tuple(f"columns/{n}/" for n in SHARED))]
    assert len(columns) == len(SHARED) * 4
    assert {name: now[name] for name in columns} == {name: was[name] for name in columns}
    new = [n for n in now if n.startswith("columns/image/") and n not in was]
    assert len(new) == 2
    frequency = [name for name in now if name.startswith("columns/frequency/")]
    assert len(frequency) == 4 + 6  # of the pool as it was, and as it is


def test_every_row_that_came_in_is_accounted_for_once(before, out):
    first, told, second = json.loads((before[0] / "texts.json").read_text())
    assert f"pool: {ROWS} rows, {ROWS - DUE} samples in 4 shards" in first
    assert f"retried: {DUE} rows, {DUE // 2} fetched, {DUE // 2} failed again (empty 4)" in told
    line = f"pool: {ROWS} rows, {ROWS - DUE // 2} samples in 6 shards, and {DUE} earlier attempts"
    assert line in told
    assert line in second
    assert f"{DUE} earlier attempts of rows that were tried again count no more" in second
    found = ledger(out)
    assert (found["rows_in"], found["failed"]) == (ROWS, {"empty": DUE // 2})
    assert found["rows_in"] == found["kept"] + sum(found["failed"].values())
    assert f"| came in | {ROWS} |" in (out / "shards" / "README.md").read_text()
    text = done("verify", "--out", out)
    assert f"all is as promised: {ROWS} rows in 6 pool shards" in text
    summary = json.loads((out / "verdicts" / "index.json").read_text())["summary"]
    assert (summary["rows"], summary["retried"]) == (ROWS, DUE)
    for breakdown in summary["breakdowns"]:
        assert sum(value["rows"] for value in breakdown["values"]) == ROWS, breakdown["column"]
    verdicts = [pq.read_table(path) for path in sorted((out / "verdicts").glob("*.parquet"))]
    counts = Counter(v for table in verdicts for v in table["verdict"].to_pylist())
    assert counts == {"kept": ROWS - DUE // 2, "failed": DUE + DUE // 2}
    page = (out / "report.html").read_text()
    assert f"{ROWS} rows in = {ROWS - DUE // 2} kept + 0 dropped + {DUE // 2} failed." in page
    assert "retried" not in page.partition("Time and memory")[0]
    assert f"{ROWS} rows in 6 shards" in done(
        "ingest", out.parent / "recipe.yaml", "--out", out, "--dry-run"
    )


def test_explain_tells_the_newest_state_and_those_before(before, out):
    told = json.loads((before[0] / "texts.json").read_text())[1]
    assert "none yet: the pool has grown since rows were selected; build again" in told
    recipe = out.parent / "recipe.yaml"
    url = current(pool_of(recipe))[f"picture 0 of {HOSTS[0]}"]["url"]
    for name in (url_key(recipe, 0), url_key(recipe, 0)[:9], url):
        text = done("explain", name, "--out", out)
        assert text.count("  source    ") == 1
        assert "stored as jpg" in text
        assert "  earlier   failed at 20" in text
        assert ": empty (" in text
        assert "  verdict   kept" in text
        assert "image     " in text
    text = done("explain", url_key(recipe, 2), "--out", out)
    assert "failed: empty" in text
    assert "can be retried" in text
    assert text.count("earlier") == 1
    assert "earlier" not in done("explain", url_key(recipe, 1), "--out", out)


def test_diff_says_what_a_retry_brought(before, out):
    old = out.parent / "old"
    shutil.copytree(out, old)
    done("build", out.parent / "recipe.yaml", "--out", out)
    index = old / "pool" / "index.json"
    value = json.loads(index.read_text())
    value["shards"] = [
        {name: v for name, v in shard.items() if name != "retried"} for shard in value["shards"][:4]
    ]
    index.write_text(json.dumps(value))
    done("build", out.parent / "recipe.yaml", "--out", old)
    text = done("diff", old, out)
    assert f"{ROWS - DUE} rows are kept in both" in text
    assert f"in: {DUE // 2} rows, failed -> kept" in text


def listed(out: Path) -> str:
    recipe = out.parent / "recipe.yaml"
    return "\n".join(url_key(recipe, number, HOSTS[1]) for number in (0, 1, 2))


def test_rows_that_were_tried_again_can_be_taken_down_and_erased(before, out):
    recipe = out.parent / "recipe.yaml"
    text = listed(out)
    keys = text.split()
    names = [current(pool_of(recipe))[f"picture {n} of {HOSTS[1]}"]["url"] for n in (0, 1, 2)]
    take_down(out, text)
    assert exported(out).isdisjoint(keys)
    once = ledger(out)
    assert once["rows_in"] == ROWS
    assert once["dropped"] == {"takedown": 3, "readable": 0}
    shown = [row for row in base_of(pool_of(recipe)) if row["key"].hex() in keys]
    assert Counter(row["failed"] for row in shown) == {"taken_down": 3, "retried": 2}
    assert {row["url"] for row in shown} == {None}
    done("verify", "--out", out)
    assert "out: 2 rows, kept -> dropped by takedown" in done("diff", before[0] / "out", out)
    sidecars = state_of(out / "pool")
    assert names[0].encode() in everything(out / "pool")

    take_down(out, text, "--erase")
    assert ledger(out) == once
    for name in names:
        assert name.encode() not in everything(out / "pool")
    for name, state in state_of(out / "pool").items():
        assert not name.endswith("retried.parquet") or state == sidecars[name]
    made = pool_of(recipe)
    assert (made.rows, made.rows_in) == (ROWS + DUE, ROWS)
    shown = [row for row in base_of(made) if row["key"].hex() in keys]
    assert Counter(row["failed"] for row in shown) == {"taken_down": 3, "retried": 2}
    done("verify", "--out", out)
    told = done("explain", keys[0], "--out", out)
    assert told.count("  source    ") == 1
    assert "earlier   failed: taken_down" in told


def test_an_erasure_takes_along_what_an_unfinished_retry_has_left(out):
    recipe = out.parent / "recipe.yaml"
    text = listed(out)
    made = pool_of(recipe)
    begun = retry_record.OpenRetry("plan", ("00005", "00006", "00007"))
    retry_record.write_open(made.root, begun)
    for name in ("00006.tar", "00006.parquet", "00007.tar", "survey/sites.spool"):
        (out / "pool" / name).write_bytes(pictures.jpeg(0))
    done("build", recipe, "--out", out)  # leaves it for the next --retry
    assert (out / "pool" / "survey" / "sites.spool").exists()
    take_down(out, text, "--erase")
    assert not (out / "pool" / "survey").exists()
    assert sorted(path.name for path in (out / "pool").glob("*.tar")) == [
        f"{number:05d}.tar" for number in range(6)
    ]
    done("verify", "--out", out)


def test_a_packed_pool_is_selected_the_same(before, out, monkeypatch):
    recipe = out.parent / "recipe.yaml"
    shutil.copytree(out, out.parent / "packed")
    monkeypatch.setattr(packs, "PACK_FROM", 5)
    shutil.rmtree(out.parent / "packed" / "columns")
    shutil.rmtree(out.parent / "packed" / "shards")
    shutil.rmtree(out.parent / "packed" / "verdicts")
    done("build", recipe, "--out", out.parent / "packed")
    assert (out.parent / "packed" / "pool" / packs.NAME).exists()
    assert list((out.parent / "packed" / "columns").rglob(packs.NAME))
    assert exported(out.parent / "packed") == exported(out)
    assert ledger(out.parent / "packed") == ledger(out)
    done("verify", "--out", out.parent / "packed")


def test_another_recipe_over_the_pool_sees_the_newest_rows(out):
    other = out.parent / "other.yaml"
    other.write_text("pool: out\nselect:\n  - all: {where: caption is not null}\n")
    done("build", other, "--out", out.parent / "second")
    assert exported(out.parent / "second") == exported(out)
    code, text = pairmill("ingest", other, "--out", out.parent / "second", "--retry")
    assert (code, "needs the `sources:`" in text) == (2, True)


def test_takedowns_listed_since_are_looked_up_for_new_rows_too(out):
    recipe = out.parent / "recipe.yaml"
    key = url_key(recipe, 0)
    take_down(out, key)
    taken = takedown_record.taken_rows(str(out)).to_pylist()
    made = pool_of(recipe)
    places = {(row["shard"] in {s.name for s in made.shards[:4]}) for row in taken}
    assert places == {True, False}
    assert len(taken) == 2
    assert build_of(recipe).ready_pool() == made
    assert pool.read_base(made.root, made.shards[0], ["failed"]).num_rows == made.shards[0].rows
