"""Recipes and commands that are wrong, by mistake or by malice: refused before anything is made."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from tests.commands import pairmill
from tests.conftest import RECIPE, tree, write_pair
from tests.pictures import jpeg
from tests.privileges import permissions_hold

HERE = "tests.test_bad_recipes"
STEP = "  - step: {{{}}}\nexport:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with photos; nothing here may add to it."""
    path = tmp_path_factory.mktemp("recipes")
    for name in ("a", "b"):
        write_pair(path / "photos", name, jpeg(ord(name)), f"picture {name}")
    return path


def refused(folder, recipe, *options):
    """The message of a build that is refused, having written nothing."""
    path = folder / "recipe.yaml"
    path.write_bytes(recipe if isinstance(recipe, bytes) else recipe.encode())
    code, text = pairmill("build", path, "--out", folder / "out", *options)
    assert code == 2, text
    assert set(tree(folder / "out")) <= {".lock"}
    return text


def with_step(text):
    return RECIPE.replace("export:", STEP.format(text))


def with_scorer(line):
    return RECIPE.replace("  caption: {}\n", "  caption: {}\n  " + line + "\n")


def with_where(condition):
    return RECIPE.replace("width is not null", condition)


UNKNOWN = {
    "where": with_where("nothing > 1"),
    "top": with_step("top: nothing, count: 1"),
    "one_per": with_step("one_per: nothing"),
    "best": with_step("one_per: width, best: nothing"),
    "per": with_step("top: width, count: 1, per: nothing"),
    "draw": with_step("draw: nothing"),
    "export json": RECIPE.replace("export: {", "export: {json: [nothing], "),
    "captions json": RECIPE + "captions: {json: [nothing]}\n",
    "txt": RECIPE + "captions: {txt: nothing}\n",
    "only": with_scorer("language: {only: nothing > 1}"),
}


@pytest.mark.parametrize("place", UNKNOWN)
def test_an_unknown_column_is_refused_wherever_it_is_named(folder, place):
    text = refused(folder, UNKNOWN[place])
    assert "column 'nothing'" in text
    assert "caption" in text  # the columns that are known
    assert text.startswith(f"{folder / 'recipe.yaml'}:")


WRONG = {
    "unknown key": (RECIPE.replace("seed:", "sead:"), "did you mean 'seed'"),
    "wrong type": (RECIPE.replace("seed: 0", "seed: zero"), "whole number, found the text 'zero'"),
    "sql error": (with_where("width is nott null"), "recipe.yaml:7:5"),
    "no truth value": (with_where("width + 1"), "must be true or false"),
    "text with number": (with_where("caption > 3"), "can't be compared"),
    "top of text": (with_step("top: caption, count: 1"), "expected numbers"),
    "group of lists": (with_step("one_per: captions"), "one value in each row"),
    "txt of numbers": (RECIPE + "captions: {txt: width}\n", "recipe.yaml:11:17: column 'width'"),
    "best of lists": (
        RECIPE + "captions: {txt: {best: {captions: width}}}\n",
        "'captions' holds lists of captions, and 'width' no score for each of them",
    ),
    "missing folder": (RECIPE.replace("photos/}", "none/}"), "there is no folder"),
    "missing tars": (RECIPE.replace("folder: photos/", 'webdataset: "*.tar"'), "there is no .tar"),
    "no such scheme": (RECIPE.replace("photos/}", '"foo://x"}'), "2:3: foo://x: can't be opened"),
    "missing subset": (with_step("subset: none.npy"), "there is no file"),
    "missing import": (RECIPE + "columns: {c: {import: x.parquet, on: url}}\n", "no .parquet at"),
    "missing pool": ("pool: none/\n", "there is no finished pool"),
    "step name": (RECIPE.replace("readable:", "Odd Name!:"), "lower-case letters"),
    "step of unicode": (RECIPE.replace("readable:", "größe:"), "lower-case letters"),
    "step is a verdict": (RECIPE.replace("readable:", "kept:"), "this name is a verdict"),
    "step twice": (RECIPE.replace("described:", "readable:"), "a step of this name"),
    "no such scorer": (with_scorer("huses: {}"), "no scorer 'huses'"),
    "no such module": (with_scorer("x: {scorer: 'no.such:X'}"), "no module 'no.such'"),
    "no such class": (with_scorer("x: {scorer: 'os:Nothing'}"), "no class 'Nothing'"),
    "no such parameter": (with_scorer("language: {modell: eldc}"), "no parameter 'modell'"),
    "parameter type": (with_scorer("duplicates: {distance: far}"), "6:26: scorer 'duplicates'"),
    "reads below": (with_scorer("duplicates: {}\n  hashes: {}"), "which 'hashes' writes further"),
    "long name": (with_scorer("a" * 201 + ": {scorer: language}"), "201 characters (limit 200)"),
    "empty": ("", "the recipe is empty"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "a list": ("- a\n", "expected a mapping"),
    "braces": (RECIPE.replace("folder: photos/", 'webdataset: "{0..99999999}.tar"'), "1,000,000"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_recipe_is_refused_with_what_is_wrong(folder, kind):
    recipe, message = WRONG[kind]
    assert message in refused(folder, recipe)


OPENING = [
    "read_csv('{path}') is not null",
    "(select count(*) from '{path}') > 0",
    "exists (from read_text('{path}'))",
    "width in (from '{path}')",
    "true; copy (select 1) to '{path}'",
    "true; attach '{path}'",
    "getenv('HOME') is not null",
    "width > (select 1)",
    "glob('{path}') is not null",
    "current_setting('memory_limit') = ''",
]


@pytest.mark.parametrize("condition", OPENING)
@pytest.mark.parametrize("place", ["where", "only"])
def test_no_condition_opens_a_file_or_looks_around(folder, condition, place):
    target = folder / "secret.parquet"
    text = '"' + condition.format(path=target) + '"'
    recipe = with_where(text) if place == "where" else with_scorer(f"language: {{only: {text}}}")
    assert "recipe.yaml" in refused(folder, recipe)
    assert not target.exists()


@pytest.mark.parametrize("name", [".", "none.yaml", "/dev/null", ""])
def test_a_recipe_that_is_no_file_is_refused(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    assert pairmill("build", name, "--out", folder / "out")[0] == 2


def test_a_recipe_that_may_not_be_read_is_refused(folder):
    path = folder / "closed.yaml"
    path.write_text(RECIPE)
    path.chmod(0)
    with permissions_hold():
        code, text = pairmill("build", path, "--out", folder / "out")
    assert (code, "no permission" in text) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "nothing"], "no engine 'nothing'"),
        (["--engine", "dask"], "--scheduler tcp://HOST"),
        (["--engine", "beam"], "needs --runner=NAME"),
        (["--scheduler", "tcp://x"], "goes with the dask engine"),
        (["--workers", "-1"], "--workers -1: expected a number"),
        (["--workers", "many"], "--workers many: expected a number from 0, or gpu"),
        (["--workers", "gpu"], "--workers gpu goes with the procs engine, not with local"),
        (["--wait", "-1"], "greater than or equal to 0"),
        (["--part", "2/2"], "expected I/N"),
        (["--part", "٣/٤"], "expected I/N"),
        (["--memory", "lots"], "memory limit 'lots'"),
        (["--memory", "-5GB"], "must be more than nothing"),
        (["--", "--runner=X"], "options of Beam"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(folder, options, message):
    engine = [] if "--engine" in options else ["--engine", "local"]
    assert message in refused(folder, RECIPE, *engine, *options)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("recipe.yaml", "is a file"),
        ("recipe.yaml/below", "is a file or lies below one"),
        ("", "the name of a directory is empty"),
        ("foo://out", "Protocol not known"),
        ("\udcff", "a name in UTF-8"),
    ],
)
def test_an_output_directory_that_can_be_none_is_refused(folder, monkeypatch, out, message):
    monkeypatch.chdir(folder)
    (folder / "recipe.yaml").write_text(RECIPE)
    code, text = pairmill("build", "recipe.yaml", "--out", out)
    assert code == 2
    assert message in text


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("folder: out/shards", "out", "where this build writes"),
        ("webdataset: out/pool/*.tar", "out", "where this build writes"),
        ("folder: .", "out", "holds the output directory"),
        ("folder: photos", "photos", "holds the output directory"),
        ('webdataset: "**/*.tar"', "out", "holds the output directory"),
    ],
)
def test_a_build_never_writes_into_its_sources(folder, monkeypatch, source, out, message):
    """A second run would take the files of the first for rows."""
    monkeypatch.chdir(folder)
    (folder / "recipe.yaml").write_text(RECIPE.replace("folder: photos/", source))
    code, text = pairmill("build", "recipe.yaml", "--out", out)
    assert code == 2
    assert message in text


# scorers of a user


@dataclass(frozen=True)
class Fine:
    """A scorer that is as it must be; the others differ in one thing."""

    weight: float = 1.0
    version: ClassVar[int] = 1
    reads: ClassVar[Any] = ("caption",)
    writes: ClassVar[Any] = pa.schema([("value", pa.float32())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {self.writes.names[0]: [self.weight] * len(batch["caption"])}


class NoScorer:
    """Would leave a mark if it were made."""

    made: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.made.append("made")


class NoWrites(NoScorer):
    version, reads = 1, ("caption",)

    def __call__(self, batch: Any) -> Any:
        return batch


class NoCall(NoScorer):
    version, reads, writes = Fine.version, Fine.reads, Fine.writes


class ReadsText(Fine):
    reads = "caption"


class ReadsNothingKnown(Fine):
    reads = ("nothing",)


class ReadsItself(Fine):
    reads = ("value",)


class WritesList(Fine):
    writes: ClassVar[Any] = ["value"]


class WritesNoColumn(Fine):
    writes: ClassVar[Any] = pa.schema([])


class WritesTwice(Fine):
    writes: ClassVar[Any] = pa.schema([("value", pa.int32()), ("value", pa.int32())])


class WritesKey(Fine):
    writes: ClassVar[Any] = pa.schema([("key", pa.int32())])


class WritesRow(Fine):
    writes: ClassVar[Any] = pa.schema([("row", pa.int32())])


class WritesUpper(Fine):
    writes: ClassVar[Any] = pa.schema([("WIDTH", pa.int32())])


class WritesReasons(Fine):
    writes: ClassVar[Any] = pa.schema([("image_error", pa.string())])


class BatchOfText(Fine):
    batch_size = "many"


@dataclass(frozen=True)
class Raises(Fine):
    def __post_init__(self) -> None:
        raise KeyError("nothing")


class RaisesLater(Fine):
    @property
    def weights_digest(self) -> str:
        raise FileNotFoundError("weights.bin")


class PixelsAtOnce(Fine):
    reads = ("image",)

    def reduce(self, rows: pa.Table) -> pa.Table:
        return rows


SCORERS = {
    "NoScorer": "is no scorer: it has no version, reads, writes, __call__ or reduce",
    "NoWrites": "it has no writes",
    "NoCall": "it has no __call__ or reduce",
    "ReadsText": "`reads` must be a tuple of names, not 'caption'",
    "ReadsNothingKnown": "reads 'nothing', which nothing above it writes",
    "ReadsItself": "reads 'value', which nothing above it writes",
    "WritesList": "`writes` must be a schema",
    "WritesNoColumn": "`writes` must be a schema of pyarrow with a column at least",
    "WritesTwice": "writes 'value' twice",
    "WritesKey": "'key' is a base column",
    "WritesRow": "no column can be called 'row'",
    "WritesUpper": "scorers 'image' and 'mine' both write 'WIDTH'",
    "WritesReasons": "scorers 'image' and 'mine' both write 'image_error'",
    "BatchOfText": "`batch_size` must be a whole number",
    "Raises": "scorer 'mine': KeyError: 'nothing'",
    "RaisesLater": "FileNotFoundError: weights.bin",
    "PixelsAtOnce": "reads columns alone, not 'image'",
}


@pytest.mark.parametrize("kind", SCORERS)
def test_a_class_that_is_no_good_scorer_is_refused_and_none_is_made_of_what_is_none(folder, kind):
    text = refused(folder, with_scorer(f"mine: {{scorer: '{HERE}:{kind}'}}"))
    assert SCORERS[kind] in text
    assert f"{folder / 'recipe.yaml'}:6:" in text
    assert NoScorer.made == []


def test_two_scorers_that_read_each_other_are_refused(folder):
    cycle = with_scorer(
        "one: {scorer: 'tests.test_bad_recipes:ReadsItself', columns: {value: other}}\n"
        "  two: {scorer: 'tests.test_bad_recipes:Fine'}"
    )
    assert "scorer 'one' reads 'value', which nothing above it writes" in refused(folder, cycle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('at import')\n", "can't be imported: RuntimeError: at import (bad"),
        ("def x(:\n", "can't be imported: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "can't be imported: SystemExit: 3"),
        ("import not_there_at_all\n", "needs the module 'not_there_at_all'"),
    ],
)
def test_a_module_that_fails_when_imported_is_named(folder, tmp_path, monkeypatch, text, message):
    name = f"bad_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert message in refused(folder, with_scorer(f"mine: {{scorer: '{name}:X'}}"))


def test_no_recipe_runs_a_program_by_the_name_of_a_class(folder):
    mark = folder / "mark"
    line = f"mine: {{scorer: 'subprocess:Popen', args: [touch, '{mark}']}}"
    assert "is no scorer" in refused(folder, with_scorer(line))
    assert not mark.exists()
