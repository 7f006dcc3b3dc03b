"""The command line as a person meets it: exit codes, what is printed, what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RECIPE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pairmill(tmp_path, photos, monkeypatch):
    """Runs `pairmill` in this process, in a folder with photos and recipe.yaml."""
    from typer.testing import CliRunner

    from pipeline.cli import app
    from pipeline.errors import CurationError, RecipeError

    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, RecipeError):
            return 2, str(result.exception)
        if isinstance(result.exception, CurationError):
            return 1, str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


LOCAL = ("--engine", "local")


def test_verb_by_verb_is_the_same_as_build(pairmill, tmp_path):
    for verb in ("ingest", "score", "select", "export"):
        assert pairmill(verb, "recipe.yaml", "--out", "steps", *LOCAL)[0] == 0
    code, output = pairmill("build", "recipe.yaml", "--out", "whole", *LOCAL)
    assert code == 0
    assert "pool: 17 rows, 15 samples in 4 shards" in output
    assert "13 samples" in output
    first, second = (tmp_path / name / "shards" / "manifest.json" for name in ("steps", "whole"))
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "whole" / "report.html").exists()


def test_a_row_can_be_explained_by_key_and_by_file(pairmill):
    pairmill("build", "recipe.yaml", "--out", "out", *LOCAL)
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


def test_diff_says_what_moved_and_by_which_step(pairmill, tmp_path):
    pairmill("build", "recipe.yaml", "--out", "a", *LOCAL)
    stricter = RECIPE.replace("between 2 and 64", "between 5 and 64")
    (tmp_path / "stricter.yaml").write_text(stricter)
    pairmill("build", "stricter.yaml", "--out", "b", *LOCAL)
    assert "the same 13 rows" in pairmill("diff", "a", "a")[1]
    text = pairmill("diff", "a", "b")[1]
    assert "1 rows are kept in both" in text
    assert "out: 12 rows, kept -> dropped by described" in text
    assert "in: 12 rows, dropped by described -> kept" in pairmill("diff", "b", "a")[1]


def test_a_changed_threshold_leaves_pool_and_columns_alone(pairmill, tmp_path):
    pairmill("build", "recipe.yaml", "--out", "out", *LOCAL)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("2 and 64", "5 and 64"))
    assert pairmill("build", "recipe.yaml", "--out", "out", *LOCAL)[0] == 0
    for path, stamp in before.items():
        if "verdicts" not in path.parts:
            assert path.stat().st_mtime_ns == stamp, path
    manifest = json.loads((tmp_path / "out" / "shards" / "manifest.json").read_text())
    assert manifest["ledger"]["kept"] == 1


def test_a_plan_writes_nothing(pairmill, tmp_path):
    code, text = pairmill("plan", "recipe.yaml", "--out", "out")
    assert code == 0, text
    assert "about 17 rows" in text
    assert not (tmp_path / "out").exists()
    pairmill("build", "recipe.yaml", "--out", "out", *LOCAL)
    assert "ingest   done: 17 rows" in pairmill("plan", "recipe.yaml", "--out", "out")[1]


def test_an_output_directory_of_other_sources_is_refused(pairmill, tmp_path):
    pairmill("ingest", "recipe.yaml", "--out", "out", *LOCAL)
    (tmp_path / "other.yaml").write_text(RECIPE.replace("photos: {", "others: {"))
    code, text = pairmill("build", "other.yaml", "--out", "out", *LOCAL)
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
def test_a_wrong_recipe_ends_with_2_before_anything_is_written(pairmill, tmp_path, recipe, message):
    (tmp_path / "wrong.yaml").write_text(recipe)
    code, text = pairmill("build", "wrong.yaml", "--out", "out", *LOCAL)
    assert code == 2
    assert message in text
    assert not (tmp_path / "out" / "pool").exists()


@pytest.mark.parametrize("part", ["3/3", "x", "1", "-1/2"])
def test_a_part_that_makes_no_sense_is_refused(pairmill, part):
    code, text = pairmill("score", "recipe.yaml", "--out", "out", f"--part={part}", *LOCAL)
    assert code == 2
    assert "expected I/N" in text


def test_selecting_before_scoring_says_what_to_do(pairmill):
    pairmill("ingest", "recipe.yaml", "--out", "out", *LOCAL)
    code, text = pairmill("select", "recipe.yaml", "--out", "out", *LOCAL)
    assert code == 1
    assert "run `pairmill score`" in text


def test_verbs_that_need_a_build_say_so(pairmill):
    for verb in (["verify"], ["report"], ["explain", "00000000"]):
        code, text = pairmill(*verb, "--out", "empty")
        assert code == 1
        assert "there is no build here" in text


def test_an_empty_source_is_refused(pairmill, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "e.yaml").write_text(RECIPE.replace("photos/}", "empty/}"))
    code, text = pairmill("build", "e.yaml", "--out", "out", *LOCAL)
    assert code == 2
    assert "there are no images" in text


def test_the_schema_is_json_and_names_the_scorers(pairmill):
    code, text = pairmill("schema")
    assert code == 0
    assert "duplicates" in json.dumps(json.loads(text))


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
