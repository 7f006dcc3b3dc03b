"""Takedowns: what is listed is gone from every use, and comes back by no road."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipeline import takedown_record as record
from pipeline.pool import open_pool, read_base, read_stored
from pipeline.shards import read_shard
from pipeline.takedown_record import Entry
from tests import pictures
from tests.commands import done, pairmill
from tests.pipeline.takedowns import (
    everything,
    key,
    ledger,
    phash,
    shards,
    take_down,
    url,
    write_web,
)

LIST = "\n".join(
    [
        key(1),
        url(4).replace("https://", "HTTP://").replace("img4", "IMG4") + "#part",
        "img7.site1.example.org  # a host",
        hashlib.sha256(pictures.jpeg(9)).hexdigest(),
    ]
)
GONE = (1, 4, 7, 9)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build before anything is taken down: to be copied."""
    folder = tmp_path_factory.mktemp("takedown")
    recipe = write_web(folder)
    done("build", recipe, "--out", folder / "out")
    return folder


@pytest.fixture
def out(before: Path, tmp_path: Path) -> Path:
    shutil.copytree(before, tmp_path / "copy")
    return tmp_path / "copy" / "out"


def exported_keys(out: Path) -> set[str]:
    names = sorted((out / "shards").glob("*.tar"))
    return {sample.key for path in names for sample in read_shard(str(path))}


def test_what_is_listed_by_any_name_leaves_the_export_with_its_own_line(out: Path) -> None:
    before = exported_keys(out)
    assert {key(n) for n in GONE} <= before
    text = take_down(out, LIST, "--reason", "asked to")
    assert exported_keys(out) == before - {key(n) for n in GONE}
    assert ledger(out)["dropped"]["takedown"] == len(GONE)
    assert "4 of 12 are taken down (by domain 1, key 1, sha256 1, url 1)" in text
    assert "takedown" in (out / "report.html").read_text()
    done("verify", "--out", out)
    told = done("explain", key(7), "--out", out)
    assert "by domain, 2026-01-31, asked to" in told
    assert "taken down, before all steps" in told


@pytest.mark.slow
def test_it_leaves_a_record_and_running_again_adds_nothing(out: Path) -> None:
    take_down(out, LIST, "--reason", "asked to")
    outcome = json.loads((out / "takedown" / "00000.json").read_text())
    assert outcome["rows"] == {"domain": 1, "key": 1, "sha256": 1, "url": 1}
    (one,) = outcome["outputs"]
    assert one["out"] == "."
    assert one["changed"]
    there = {path.name: path.read_bytes() for path in (out / "takedown").iterdir()}
    text = take_down(out, LIST, "--date", "2030-01-01")
    assert "0 new entries, 4 known already" in text
    assert {path.name: path.read_bytes() for path in (out / "takedown").iterdir()} == there
    take_down(out, key(2))
    assert (out / "takedown" / "00000.parquet").read_bytes() == there["00000.parquet"]
    assert ledger(out)["dropped"]["takedown"] == len(GONE) + 1


@pytest.mark.slow
def test_taken_erased_kept_out_and_before_scoring_are_the_same_export(
    out: Path, tmp_path: Path
) -> None:
    """The rows influence nothing: not groups, not counts, not places."""
    take_down(out, LIST)
    taken, its_ledger = shards(out), ledger(out)
    take_down(out, LIST, "--erase")
    assert shards(out) == taken
    assert ledger(out) == its_ledger

    recipe = write_web(tmp_path / "new")
    fresh = tmp_path / "new" / "out"
    assert "there is no pool" in take_down(fresh, LIST)
    done("build", recipe, "--out", fresh)
    assert shards(fresh) == taken
    assert ledger(fresh) == its_ledger
    for path in sorted((fresh / "pool").iterdir()):
        assert path.read_bytes() == (out / "pool" / path.name).read_bytes(), path.name

    recipe = write_web(tmp_path / "late")
    late = tmp_path / "late" / "out"
    done("ingest", recipe, "--out", late)
    take_down(late, LIST)
    done("build", recipe, "--out", late)
    assert shards(late) == taken
    for folder in (out, fresh, late):
        done("verify", "--out", folder)


def test_ingest_writes_no_byte_of_what_is_listed(tmp_path: Path) -> None:
    recipe = write_web(tmp_path)
    take_down(tmp_path / "out", f"{LIST}\n{phash(11):016x}", "--reason", "asked to")
    done("ingest", recipe, "--out", tmp_path / "out")
    made = open_pool(str(tmp_path / "out"))
    assert made is not None
    rows = [row for s in made.shards for row in read_stored(made.root, s).to_pylist()]
    for number in (*GONE, 11):
        row = next(row for row in rows if row["key"].hex() == key(number))
        assert (row["failed"], row["detail"], row["retriable"]) == ("taken_down", "asked to", False)
        left = {name for name, value in row.items() if value is not None}
        assert left == {"key", "source", "failed", "detail", "retriable"}
        assert pictures.jpeg(number) not in everything(tmp_path / "out" / "pool")
    assert sum(row["failed"] is None for row in rows) == 12 - len(GONE) - 1


@pytest.mark.slow
def test_another_recipe_over_the_pool_does_not_get_the_rows(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy" / "other.yaml"
    other.write_text("pool: out\nselect:\n  - all: {where: caption is not null}\n")
    done("build", other, "--out", tmp_path / "copy" / "second")
    assert {key(n) for n in GONE} <= exported_keys(tmp_path / "copy" / "second")
    take_down(out, LIST)
    code, text = pairmill("verify", "--out", tmp_path / "copy" / "second")
    assert code == 1
    assert "is taken down since this was selected; build again" in text
    done("build", other, "--out", tmp_path / "copy" / "second")
    assert not {key(n) for n in GONE} & exported_keys(tmp_path / "copy" / "second")
    done("verify", "--out", tmp_path / "copy" / "second")


@pytest.mark.slow
def test_diff_says_which_rows_were_taken_down(out: Path, before: Path) -> None:
    take_down(out, LIST)
    text = done("diff", before / "out", out)
    assert "out: 4 rows, kept -> dropped by takedown" in text


@pytest.mark.slow
def test_verify_says_when_a_list_has_not_been_looked_up(out: Path) -> None:
    record.append(str(out), [Entry("key", key(1))])
    code, text = pairmill("verify", "--out", out)
    assert (code, "lists more than was looked up" in text) == (1, True)
    done("build", out.parent / "recipe.yaml", "--out", out)
    assert key(1) not in exported_keys(out)
    done("verify", "--out", out)


def test_a_list_that_hits_nothing_changes_nothing(out: Path) -> None:
    before = shards(out), (out / "verdicts" / "index.json").read_bytes()
    assert "0 of 12" in take_down(out, "f" * 64)
    assert (shards(out), (out / "verdicts" / "index.json").read_bytes()) == before


@pytest.mark.slow
def test_a_list_that_is_lost_or_changed_is_an_error_and_never_no_takedown(out: Path) -> None:
    take_down(out, LIST)
    recipe = out.parent / "recipe.yaml"
    path = out / "takedown" / "00000.parquet"
    data = path.read_bytes()
    path.unlink()
    code, text = pairmill("verify", "--out", out)
    assert (code, "bring it back" in text) == (1, True)
    (out / "takedown" / "taken.parquet").unlink()
    code, text = pairmill("build", recipe, "--out", out)
    assert (code, "bring it back" in text) == (1, True)
    path.write_bytes(data)
    done("build", recipe, "--out", out)
    (out / "takedown" / "index.json").rename(out / "index.json")
    code, text = pairmill("build", recipe, "--out", out)
    assert (code, "index.json: is missing, bring it back" in text) == (1, True)
    (out / "index.json").rename(out / "takedown" / "index.json")
    done("verify", "--out", out)


def test_other_readers_of_the_pool_see_no_more_than_the_key(out: Path) -> None:
    take_down(out, LIST)
    made = open_pool(str(out))
    assert made is not None
    rows = [row for s in made.shards for row in read_base(made.root, s).to_pylist()]
    hidden = [row for row in rows if row["failed"] == "taken_down"]
    assert {row["key"].hex() for row in hidden} == {key(n) for n in GONE}
    assert not any(row["caption"] or row["url"] or row["captions"] for row in hidden)
    texts = [t for s in made.shards for t in read_base(made.root, s, ["caption"]).to_pylist()]
    assert sum(text["caption"] is None for text in texts) == len(GONE)


@pytest.mark.slow
def test_a_recipe_that_has_moved_is_asked_for(out: Path, tmp_path: Path) -> None:
    path = out / "build.json"
    value = json.loads(path.read_text())
    del value["recipe_folder"]
    path.write_text(json.dumps(value))
    (tmp_path / "list.txt").write_text(key(1))
    code, text = pairmill("takedown", tmp_path / "list.txt", "--out", out, "--engine", "local")
    assert (code, "give --recipe RECIPE" in text) == (2, True)
    take_down(out, key(1), "--recipe", str(out.parent / "recipe.yaml"))
    assert key(1) not in exported_keys(out)
