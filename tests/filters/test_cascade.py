"""A dear score asked only within a band of a cheap one: what is asked, and that values stay."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.build import Build
from pipeline.recipe import load_recipe
from tests.conftest import RECIPE, MakeBuild, tree
from tests.filters.tiny_blip import save_blip

CASCADE = Path(__file__).parents[2] / "configs" / "cascade.yaml"
DEAR = "filters.likelihood:CaptionLikelihood"
WORDS = "caption_logp"


def recipe(only: str | None, dear: str = f"scorer: '{DEAR}'", where: str = "true") -> str:
    band = "" if only is None else f", only: '{only}'"
    head = RECIPE.partition("score:")[0]
    return (
        f"{head}score:\n  clip: {{model: embedded}}\n  dear: {{{dear}{band}}}\n"
        f"select:\n  - aligned: {{where: '{where}'}}\ningest: {{rows_per_shard: 5}}\n"
    )


def scored(build: Build, *names: str) -> list[tuple[Any, ...]]:
    """The values of these columns, row by row over all shards."""
    build.score()
    pool = build.open_pool()
    writers = build.resolve(pool)[0].writers
    columns = [
        [value for shard in pool.shards for value in writers[n].read(shard, [n])[n].to_pylist()]
        for n in names
    ]
    return list(zip(*columns, strict=True))


def middle(values: list[float]) -> tuple[float, float]:
    """A band that holds the middle half of some values and ends between two of them."""
    found = sorted(set(values))
    quarter = len(found) // 4
    low = (found[quarter - 1] + found[quarter]) / 2
    high = (found[-quarter - 1] + found[-quarter]) / 2
    return low, high


@pytest.mark.slow
@pytest.mark.parametrize("with_blip", [False, True], ids=["embedded", "blip"])
def test_values_within_the_band_are_those_of_a_full_run(
    make_build: MakeBuild, tmp_path: Path, with_blip: bool
) -> None:
    dear, column = f"scorer: '{DEAR}'", WORDS
    if with_blip:
        model = save_blip(tmp_path / "blip")
        dear = f"scorer: 'filters.matching:ImageTextMatching', model: '{model}', max_tokens: 12"
        column = "itm_score"
    full = scored(make_build(recipe(None, dear), "full", after="ingest"), "clip_score", column)
    low, high = middle([clip for clip, _ in full if clip is not None])
    band = f"clip_score >= {low} and clip_score < {high}"
    some = scored(make_build(recipe(band, dear), "some", after="ingest"), "clip_score", column)
    within = [clip is not None and low <= clip < high for clip, _ in full]
    assert 0 < sum(within) < sum(clip is not None for clip, _ in full)
    assert [c for c, _ in some] == [c for c, _ in full]
    assert [d for _, d in some] == [
        value if is_in else None for is_in, (_, value) in zip(within, full, strict=True)
    ]


@pytest.mark.slow
def test_a_band_of_everything_is_full_scoring(make_build: MakeBuild) -> None:
    full = scored(make_build(recipe(None), "full", after="ingest"), WORDS, "caption_gain")
    every = make_build(recipe("clip_score >= -1"), "every", after="ingest")
    assert scored(every, WORDS, "caption_gain") == full
    assert any(value is not None for value, _ in full)
    none = make_build(recipe("clip_score > 1"), "none", after="ingest")
    assert set(scored(none, WORDS, "caption_gain")) == {(None, None)}


@pytest.mark.slow
def test_a_wider_band_changes_no_value(make_build: MakeBuild) -> None:
    build = make_build(recipe("clip_score < 0.0"), "out", after="ingest")
    narrow = scored(build, WORDS)
    before = tree(build.out, "columns/dear/**/*.parquet")
    wide = make_build(recipe("clip_score < 0.1"), "out")
    found = scored(wide, WORDS)
    assert all(new == old for (old,), (new,) in zip(narrow, found, strict=True) if old is not None)
    assert sum(v is not None for (v,) in found) >= sum(v is not None for (v,) in narrow)
    after = tree(build.out, "columns/dear/**/*.parquet")
    assert before.items() <= after.items()


@pytest.mark.slow
def test_the_selection_joins_both_scores(make_build: MakeBuild) -> None:
    full = scored(make_build(recipe(None), "full", after="ingest"), "clip_score", WORDS)
    low, high = middle([clip for clip, _ in full if clip is not None])
    line = sorted(words for _, words in full if words is not None)[6]
    where = f"coalesce(caption_logp >= {line}, clip_score >= {high})"
    band = f"clip_score >= {low} and clip_score < {high}"
    build = make_build(recipe(band, where=where), "out", after="ingest")
    build.score()
    verdicts = [v for table in build.select().tables() for v in table["verdict"].to_pylist()]
    kept = sum(
        clip is not None and (clip >= high or (clip >= low and words >= line))
        for clip, words in full
    )
    assert 0 < kept < len(full)
    assert verdicts.count("kept") == kept


def test_the_shipped_recipe_is_whole(tmp_path: Path) -> None:
    build = Build(load_recipe(str(CASCADE)), str(tmp_path / "out"))
    names = [instance.name for instance in build.resolve()[0].instances]
    assert names.index("clip") < names.index("likelihood")
