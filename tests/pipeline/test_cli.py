"""The command line as a person meets it: exit codes, what is printed, what is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import pool, verbs
from pipeline.pool import Pool
from tests.commands import done, pairmill
from tests.conftest import RECIPE, VERBS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path, photos, monkeypatch):
    """The working directory, with photos and recipe.yaml."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_verb_by_verb_is_the_same_as_build(here):
    for verb in VERBS:
        done(verb, "recipe.yaml", "--out", "steps")
    output = done("build", "recipe.yaml", "--out", "whole")
    assert "pool: 17 rows, 15 samples in 4 shards\nfailed: 2 rows (duplicate_key 1, " in output
    assert "13 samples" in output
    first, second = (here / name / "shards" / "manifest.json" for name in ("steps", "whole"))
    assert first.read_bytes() == second.read_bytes()
    assert (here / "whole" / "report.html").exists()


def test_the_most_frequent_reasons_of_failure_are_told(tmp_path):
    """All of them, of every shard, but for earlier attempts of rows that were tried again."""
    rows = [{"key": bytes([n] * 16), "source": "s", "failed": f"r{n // 3}"} for n in range(31)]
    rows += [{"key": bytes([n] * 16), "source": "s", "failed": "retried"} for n in range(31, 40)]
    shards = []
    for number, part in enumerate((rows, [{"key": bytes(16), "source": "s"}], rows[:2])):
        table = pool.base_table(part)
        shard = pool.write_base(str(tmp_path), f"{number:05d}", table, 0, "plan")
        shards.append(replace(shard, samples=table["failed"].null_count))
    _, failed = verbs._pool_lines(Pool(str(tmp_path), "", tuple(shards)))
    most = "r0 5, r1 3, r2 3, r3 3, r4 3, r5 3, r6 3, r7 3, 3 more reasons"
    assert failed == f"failed: 33 rows ({most})"
    assert len(list(verbs._pool_lines(Pool(str(tmp_path), "", (shards[1],))))) == 1


def test_a_row_can_be_explained_by_key_and_by_file(here, make_build):
    make_build(after="export")
    code, text = pairmill("explain", "03.jpg", "--out", "out")
    assert code == 0
    assert "picture number 3 größe" in text
    assert "verdict   kept" in text
    assert ".tar, sample" in text
    key = text.split()[0]
    assert pairmill("explain", key[:8], "--out", "out")[1] == text
    assert "failed: not_an_image" in pairmill("explain", "21_html.jpg", "--out", "out")[1]
    assert "dropped by readable" in pairmill("explain", "20_cut.jpg", "--out", "out")[1]
    assert "truncated" in pairmill("explain", "20_cut.jpg", "--out", "out")[1]
    code, text = pairmill("explain", "nothing", "--out", "out")
    assert code == 1
    assert "no row has a key that begins with 'nothing'" in text


@pytest.mark.slow
def test_diff_says_what_moved_and_by_which_step(make_build):
    a = make_build(after="export").out
    stricter = RECIPE.replace("between 2 and 64", "between 5 and 64")
    b = make_build(stricter, "stricter", after="export").out
    assert "the same 13 rows" in pairmill("diff", a, a)[1]
    text = pairmill("diff", a, b)[1]
    assert "1 rows are kept in both" in text
    assert "out: 12 rows, kept -> dropped by described" in text
    assert "in: 12 rows, dropped by described -> kept" in pairmill("diff", b, a)[1]


def test_a_changed_threshold_leaves_pool_and_columns_alone(here, make_build):
    make_build(after="export")
    before = {p: p.stat().st_mtime_ns for p in (here / "out").rglob("*.parquet")}
    (here / "recipe.yaml").write_text(RECIPE.replace("2 and 64", "5 and 64"))
    assert pairmill("build", "recipe.yaml", "--out", "out")[0] == 0
    for path, stamp in before.items():
        if "verdicts" not in path.parts:
            assert path.stat().st_mtime_ns == stamp, path
    manifest = json.loads((here / "out" / "shards" / "manifest.json").read_text())
    assert manifest["ledger"]["kept"] == 1


def test_a_plan_writes_nothing(here, make_build):
    code, text = pairmill("plan", "recipe.yaml", "--out", "out")
    assert code == 0, text
    assert "about 17 rows" in text
    assert not (here / "out").exists()
    make_build(after="export")
    assert "ingest   done: 17 rows" in pairmill("plan", "recipe.yaml", "--out", "out")[1]


def test_an_output_directory_of_other_sources_is_refused(here, make_build):
    make_build(after="ingest")
    (here / "other.yaml").write_text(RECIPE.replace("photos: {", "others: {"))
    code, text = pairmill("build", "other.yaml", "--out", "out")
    assert code == 2
    assert "another `sources:` section" in text


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (RECIPE.replace("where:", "wheer:", 1), "wheer"),
        (RECIPE.replace("width is", "widht is"), "widht"),
        (RECIPE.replace("width is not null", "width is not nul"), "wrong.yaml:7:5"),
        (RECIPE.replace("width is not null", "(select 1 from 'x')"), "subquery"),
        (RECIPE.replace("photos/}", "nowhere/}"), "there is no folder"),
        (RECIPE.replace("samples_per_shard: 4", "samples_per_shard: four"), "whole number"),
        (RECIPE.replace("  image: {}\n", "  image: {}\n  pikture: {}\n"), "no scorer 'pikture'"),
    ],
)
def test_a_wrong_recipe_ends_with_2_before_anything_is_written(here, recipe, message):
    (here / "wrong.yaml").write_text(recipe)
    code, text = pairmill("build", "wrong.yaml", "--out", "out")
    assert code == 2
    assert message in text
    assert not (here / "out" / "pool").exists()


@pytest.mark.parametrize("part", ["3/3", "x", "1", "-1/2"])
def test_a_part_that_makes_no_sense_is_refused(here, part):
    code, text = pairmill("score", "recipe.yaml", "--out", "out", f"--part={part}")
    assert code == 2
    assert "expected I/N" in text


def test_selecting_before_scoring_says_what_to_do(here, make_build):
    make_build(after="ingest")
    code, text = pairmill("select", "recipe.yaml", "--out", "out")
    assert code == 1
    assert "run `pairmill score`" in text


def test_verbs_that_need_a_build_say_so(here):
    for verb in (["verify"], ["report"], ["explain", "00000000"]):
        code, text = pairmill(*verb, "--out", "empty")
        assert code == 1
        assert "there is no build here" in text


def test_an_empty_source_is_refused(here):
    (here / "empty").mkdir()
    (here / "e.yaml").write_text(RECIPE.replace("photos/}", "empty/}"))
    code, text = pairmill("build", "e.yaml", "--out", "out")
    assert code == 2
    assert "there are no images" in text


def test_the_schema_is_json_and_names_the_scorers(here):
    code, text = pairmill("schema")
    assert code == 0
    assert "duplicates" in json.dumps(json.loads(text))


@pytest.mark.slow
def test_exit_codes_of_the_program_itself(tmp_path):
    run = [sys.executable, "-m", "pipeline"]
    wrong = subprocess.run([*run, "build", "no.yaml", "--out", "x"], cwd=ROOT, capture_output=True)
    assert wrong.returncode == 2
    assert b"Traceback" not in wrong.stderr
    unknown = subprocess.run([*run, "grind"], cwd=ROOT, capture_output=True)
    assert unknown.returncode == 2
    empty = str(tmp_path)
    missing = subprocess.run([*run, "verify", "--out", empty], cwd=ROOT, capture_output=True)
    assert missing.returncode == 1
    assert b"there is no build here" in missing.stderr
