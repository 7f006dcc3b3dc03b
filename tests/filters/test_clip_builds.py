"""CLIP scores in builds: several models, shards of any size, and what makes a recipe wrong."""

import pytest

from pipeline.errors import RecipeError, ShardsFailed
from tests.conftest import RECIPE, tree
from tests.filters.tiny_models import save_model


def recipe(score):
    lines = RECIPE.partition("score:")[0] + "score:\n" + score
    return lines + "select:\n  - all: {where: key is not null}\ningest: {rows_per_shard: 5}\n"


def columns(build, *names):
    made = build.open_pool()
    writers = build.resolve(made)[0].writers
    return {n: [v for s in made.shards for v in writers[n].read(s)[n].to_pylist()] for n in names}


@pytest.mark.slow
def test_two_models_in_one_recipe(models, make_build):
    build = make_build(
        recipe(
            f"  clip: {{model: '{models['clip']}'}}\n"
            f"  other: {{scorer: clip, model: '{models['siglip']}', embeddings: true,"
            " columns: {clip_score: other_score, clip_truncated: other_truncated}}\n"
        ),
        after="ingest",
    )
    build.score()
    found = columns(build, "clip_score", "other_score", "clip_truncated", "clip_image")
    scored = [value is not None for value in found["clip_score"]]
    assert sum(scored) == 13  # of 17: broken, foreign, mute and doubled have none
    assert [v is not None for v in found["other_score"]] == scored
    assert [v is not None for v in found["clip_truncated"]] == scored
    assert [v is not None for v in found["clip_image"]] == scored
    assert found["clip_score"] != found["other_score"]


@pytest.mark.slow
def test_shards_of_any_size_have_the_same_scores(models, make_build):
    score = recipe(f"  clip: {{model: '{models['clip']}', batch_size: 4}}\n")
    small = make_build(score, "small", after="ingest")
    large = make_build(score.replace("shard: 5", "shard: 500"), "large", after="ingest")
    for build in (small, large):
        build.score()
    assert columns(small, "clip_score") == columns(large, "clip_score")


@pytest.mark.slow
def test_scoring_again_is_the_same_bytes(models, make_build):
    score = recipe(f"  clip: {{model: '{models['clip']}', embeddings: true}}\n")
    once, twice = (make_build(score, out, after="ingest") for out in ("once", "twice"))
    for build in (once, twice):
        build.score()
    assert tree(once.out, "columns/**/*") == tree(twice.out, "columns/**/*") != {}


def test_a_model_that_cannot_be_loaded_fails_the_shard_and_leaves_no_column(make_build):
    build = make_build(recipe("  clip: {model: ViT-B-32, pretrained: openai}\n"), after="ingest")
    with pytest.raises(ShardsFailed, match="take ViT-B-32-quickgelu"):
        build.score()
    assert tree(build.out, "columns/**/*") == {}


def test_a_wrong_model_is_an_error_of_the_recipe(make_build):
    with pytest.raises(RecipeError, match="knows no model 'ViT-B-33'") as error:
        make_build(recipe("  clip: {model: ViT-B-33, pretrained: openai}\n")).resolve()
    assert ":4:" in str(error.value.where)


def test_weights_beside_the_recipe_are_found_there(make_build, tmp_path):
    save_model(tmp_path / "tiny")
    build = make_build(recipe("  clip: {model: 'local-dir:tiny'}\n"), after="ingest")
    build.score()
    assert -1 <= columns(build, "clip_score")["clip_score"][0] <= 1
