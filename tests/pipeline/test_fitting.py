"""A fitted scorer learns from a sample that depends on the pool alone, then scores row by row."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from pipeline import fitting
from pipeline.build import Build
from pipeline.errors import DamagedFile, RecipeError, ShardsFailed
from pipeline.keys import draw_bits
from pipeline.recipe import parse_recipe
from pipeline.run import Engine
from tests.conftest import tree, write_pair
from tests.pictures import jpeg

Make = Callable[..., Build]


class TooFew(ValueError):
    """As a scorer of anybody's may raise it."""

    is_too_few = True


@dataclass(frozen=True)
class Centred:
    """How much longer a caption is than those it learnt from, on average."""

    fit_rows: int = 100
    least: int = 1
    wrong: str = ""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption", "caption_words")
    writes: ClassVar[pa.Schema] = pa.schema([("longer", pa.float32()), ("of", pa.int32())])

    def fit(self, rows: pa.Table) -> dict[str, Any]:
        keys = rows["key"].to_pylist()
        assert keys == sorted(keys)
        assert rows["caption_words"].null_count == 0
        if len(rows) < self.least:
            kind = TooFew if self.wrong == "few" else ValueError
            raise kind(f"needs {self.least} rows, found {len(rows)}")
        mean = np.nan if self.wrong == "nan" else np.mean(rows["caption_words"].to_numpy())
        names = np.frombuffer(b"".join(keys), np.uint8)
        return {"mean": np.array(mean, np.float32), "keys": names}

    def __call__(self, batch: dict[str, list[Any]], fitted: dict[str, Any]) -> dict[str, list[Any]]:
        assert not fitted["keys"].flags.writeable
        count = len(fitted["keys"]) // 16
        longer = [words - float(fitted["mean"]) for words in batch["caption_words"]]
        return {"longer": longer, "of": [count] * len(longer)}


@dataclass(frozen=True)
class Both(Centred):
    def reduce(self, rows: pa.Table) -> pa.Table:
        return rows


@dataclass(frozen=True)
class OfPixels(Centred):
    reads: ClassVar[tuple[str, ...]] = ("image", "caption_words")


@dataclass(frozen=True)
class Labelled(Centred):
    """Learns from a column that it does not need to score."""

    reads: ClassVar[tuple[str, ...]] = ("caption_words",)
    fit_reads: ClassVar[tuple[str, ...]] = ("caption_words", "width")


RECIPE = """\
sources: {photos: {folder: photos/}}
ingest: {rows_per_shard: 5}
score:
  caption: {}
  image: {}
  longer: {scorer: "tests.pipeline.test_fitting:CLASS", PARAMS}
select:
  - all: {where: key is not null}
"""


def recipe_text(kind: str = "Centred", params: str = "fit_rows: 6") -> str:
    return RECIPE.replace("CLASS", kind).replace("PARAMS", params)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with the columns that are learnt from: to be copied."""
    folder = tmp_path_factory.mktemp("fitting")
    for number in range(23):
        image = b"<html></html>" if number == 5 else jpeg(number, (32, 24))
        caption = None if number == 8 else "word " * (1 + number)
        write_pair(folder / "photos", f"{number:02d}", image, caption)
    lines = recipe_text().splitlines(keepends=True)
    recipe = "".join(line for line in lines if "longer:" not in line)
    build = Build(parse_recipe(recipe, str(folder / "recipe.yaml")), str(folder / "out"))
    build.ingest()
    build.score()
    return folder / "out"


@pytest.fixture(scope="module")
def fitted(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same when it has been learnt from, and scored: to be copied."""
    folder = tmp_path_factory.mktemp("fitted")
    shutil.copytree(pool, folder / "out")
    maker(folder)().score()
    return folder / "out"


def maker(folder: Path) -> Make:
    """Makes builds in a folder."""

    def made(kind: str = "Centred", params: str = "fit_rows: 6", **options: Any) -> Build:
        parsed = parse_recipe(recipe_text(kind, params), str(folder / "recipe.yaml"))
        return Build(parsed, str(folder / "out"), **options)

    return made


@pytest.fixture
def make(tmp_path: Path, pool: Path) -> Make:
    """Makes builds over a copy of the pool."""
    shutil.copytree(pool, tmp_path / "out")
    return maker(tmp_path)


@pytest.fixture
def make_again(tmp_path: Path, fitted: Path) -> Make:
    """Makes builds over a copy of what has been scored."""
    shutil.copytree(fitted, tmp_path / "out")
    return maker(tmp_path)


def columns(build: Build) -> dict[str, list[Any]]:
    """The columns of the scorer for the whole pool, with the keys."""
    build.score()
    made = build.open_pool()
    resolved, _ = build.resolve(made)
    found = resolved.writers["longer"].read_range(made.shards, ["longer", "of"])
    base = pa.concat_tables([pool_rows(build, shard) for shard in made.shards])
    words = resolved.writers["caption_words"].read_range(made.shards, ["caption_words"])
    return {**found.to_pydict(), **base.to_pydict(), **words.to_pydict()}


def pool_rows(build: Build, shard: Any) -> pa.Table:
    from pipeline.pool import read_base

    return read_base(build.root, shard, ["key", "failed"])


def reference(found: dict[str, list[Any]], count: int) -> float:
    """The mean number of words of the rows with the smallest draws, plainly."""
    rows = zip(found["key"], found["failed"], found["caption_words"], strict=True)
    whole = [(key, words) for key, failed, words in rows if failed is None and words is not None]
    whole.sort(key=lambda row: draw_bits(row[0], fitting.VERSION, "fit"))
    return float(np.mean([words for _, words in whole[:count]]))


def require_smallest(found: dict[str, list[Any]]) -> None:
    mean = reference(found, 6)
    for longer, of, words, failed in zip(
        found["longer"], found["of"], found["caption_words"], found["failed"], strict=True
    ):
        if failed is not None or words is None:
            assert longer is None
        else:
            assert longer == pytest.approx(words - mean, abs=1e-5)
            assert of == 6


@pytest.mark.parametrize("rows_at_once", [pytest.param(1, marks=pytest.mark.slow), 10])
def test_the_sample_is_that_of_the_smallest_draws(
    make: Make, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(fitting, "ROWS_AT_ONCE", rows_at_once)
    require_smallest(columns(make()))


def test_the_sample_of_a_pool_that_is_read_at_once_is_the_same(make_again: Make) -> None:
    require_smallest(columns(make_again()))


@pytest.mark.slow  # to learn from another column is to learn from all rows, too
def test_a_pool_smaller_than_the_sample_is_learnt_from_whole(make: Make) -> None:
    found = columns(make(params="fit_rows: 1000"))
    assert {of for of in found["of"] if of is not None} == {21}


@pytest.mark.slow
def test_engines_and_parts_give_the_same_bytes(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fitting, "ROWS_AT_ONCE", 5)
    build = make()
    build.score()
    whole = tree(build.out, "columns/**/*")
    assert any(name.endswith("fitted.safetensors") for name in whole)
    shutil.rmtree(tmp_path / "out" / "columns")
    again = make(engine=Engine("procs", workers=2))
    again.score()
    assert tree(again.out, "columns/**/*") == whole
    assert not (tmp_path / "out" / "work" / "fit" / "longer").exists()


def test_a_column_that_is_lost_is_made_again_without_learning_again(
    make_again: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build = make_again()
    whole = tree(build.out, "columns/longer/**/*")
    next(iter(sorted((tmp_path / "out" / "columns" / "longer").glob("*/00001.parquet")))).unlink()
    monkeypatch.setattr(fitting, "fit_pool", None)
    build.score()
    assert tree(build.out, "columns/longer/**/*") == whole


def test_what_was_learnt_is_made_again_when_it_is_lost_with_a_column(
    make_again: Make, tmp_path: Path
) -> None:
    build = make_again()
    whole = tree(build.out, "columns/longer/**/*")
    for path in (tmp_path / "out" / "columns" / "longer").glob("*/*"):
        if path.name in ("00001.parquet", "fitted.safetensors"):
            path.unlink()
    build.score()
    assert tree(build.out, "columns/longer/**/*") == whole


def test_only_some_rows_are_asked_but_all_are_learnt_from(make: Make) -> None:
    found = columns(make(params='fit_rows: 6, only: "caption_words > 10"'))
    mean = reference(found, 6)
    for longer, words, failed in zip(
        found["longer"], found["caption_words"], found["failed"], strict=True
    ):
        if failed is None and words is not None and words > 10:
            assert longer == pytest.approx(words - mean, abs=1e-5)
        else:
            assert longer is None


def test_it_may_learn_from_columns_that_it_does_not_score_by(make: Make) -> None:
    found = columns(make("Labelled", "fit_rows: 1000"))
    assert {of for of in found["of"] if of is not None} == {21}


@pytest.mark.parametrize(
    ("kind", "message"),
    [("Both", "`fit` or `reduce`, not both"), ("OfPixels", "columns alone, not 'image'")],
)
def test_what_can_not_be_fitted_is_refused_before_it_runs(
    make: Make, kind: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        make(kind).resolve()


def test_no_rows_to_be_fitted_on(make: Make) -> None:
    with pytest.raises(RecipeError, match="fit_rows"):
        make(params="fit_rows: 0").resolve()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("least: 500", "fitted on 21 rows: needs 500 rows, found 21"),
        ("wrong: nan", "learnt NaN or infinity"),
    ],
)
def test_a_fit_that_fails_says_so(make: Make, params: str, message: str) -> None:
    with pytest.raises(ShardsFailed, match=message):
        make(params=params).score()


def test_what_was_learnt_is_damaged(make_again: Make, tmp_path: Path) -> None:
    folder = next((tmp_path / "out" / "columns" / "longer").iterdir())
    (folder / "fitted.safetensors").write_bytes(b"nothing")
    (folder / "00002.parquet").unlink()
    fitting.read_fitted.cache_clear()
    with pytest.raises(ShardsFailed, match=r"fitted\.safetensors: can't be read"):
        make_again().score()
    with pytest.raises(DamagedFile, match="is missing"):
        fitting.read_fitted(str(tmp_path / "none"))


def test_an_empty_pool_can_be_fitted(tmp_path: Path) -> None:
    write_pair(tmp_path / "photos", "00", b"<html></html>", "no picture")
    build = maker(tmp_path)("Centred", "least: 0")
    build.ingest()
    with np.errstate(all="ignore"), pytest.raises(ShardsFailed, match="NaN"):
        build.score()


def test_a_pool_too_small_to_learn_from_stops_nothing(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    build = make(params="least: 500, wrong: few")
    found = columns(build)
    assert set(found["longer"]) == set(found["of"]) == {None}
    reasons = reasons_of(build)
    failed = [reason is not None for reason in found["failed"]]
    told = "TooFew: needs 500 rows, found 21"
    assert reasons == [None if gone else told for gone in failed]
    assert reasons.count(None) == 1  # the row without a caption has the reason, too
    warning = "scorer 'longer' has no value for any row, as there are too few to learn from: "
    assert caplog.messages.count(f"{warning}needs 500 rows, found 21") == 1
    assert sum("'longer'" in text for text in caplog.messages) == 1
    before = tree(build.out, "columns/longer/**/*")
    caplog.clear()
    build.score()
    assert tree(build.out, "columns/longer/**/*") == before
    assert sum("needs 500 rows" in text for text in caplog.messages) == 1


def test_who_is_not_asked_has_no_reason(make: Make) -> None:
    build = make(params='least: 500, wrong: few, only: "caption_words > 10"')
    found = columns(build)
    for reason, words, failed in zip(
        reasons_of(build), found["caption_words"], found["failed"], strict=True
    ):
        is_asked = failed is None and words is not None and words > 10
        assert (reason is not None) == is_asked


@pytest.mark.slow
def test_more_rows_are_learnt_from_anew(tmp_path: Path) -> None:
    params = "fit_rows: 100, least: 3, wrong: few"
    for number in range(2):
        write_pair(tmp_path / "photos", f"{number}", jpeg(number, (32, 24)), "a few words")
    few = maker(tmp_path)(params=params)
    few.ingest()
    assert set(columns(few)["longer"]) == {None}
    write_pair(tmp_path / "photos", "2", jpeg(2, (32, 24)), "a few more words")
    shutil.rmtree(tmp_path / "out" / "pool")
    more = maker(tmp_path)(params=params)
    more.ingest()
    assert sum(columns(more)["longer"]) == pytest.approx(0, abs=1e-5)
    assert reasons_of(more) == [None] * 3


def reasons_of(build: Build) -> list[str | None]:
    made = build.open_pool()
    writer = build.resolve(made)[0].writers["longer"]
    reasons: list[str | None] = writer.read_range(made.shards, ["longer_error"])[
        "longer_error"
    ].to_pylist()
    return reasons
