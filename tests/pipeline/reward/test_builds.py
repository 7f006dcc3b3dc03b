"""The reward within a build: it reads stored vectors; wrong weights are a wrong recipe."""

import pytest

from pipeline.errors import RecipeError
from tests.conftest import tree
from tests.filters import reward_files

pytestmark = pytest.mark.slow

RECIPE = """\
sources:
  photos: {{folder: photos/}}
score:
  clip: {{model: embedded, embeddings: true}}
  reward: {{scorer: "filters.reward:RewardScore", weights: {weights}}}
select:
  - liked: {{top: reward, fraction: 0.5}}
"""


def table(build, resolved, name):
    (instance,) = [one for one in resolved.instances if one.name == name]
    shards = build.ingest().shards
    return [row for shard in shards for row in instance.columns.read(shard).to_pylist()]


def test_it_scores_what_the_recipe_stored(tmp_path, make_build):
    weights = reward_files.write_embedded(tmp_path / "head.safetensors")
    build = make_build(RECIPE.format(weights=weights))
    build.ingest()
    resolved = build.score()
    rewards, clip = (table(build, resolved, name) for name in ("reward", "clip"))
    assert len(rewards) == len(clip) > 12
    for reward, row in zip(rewards, clip, strict=True):
        if row["clip_text"] is None or row["clip_image"] is None:
            assert reward["reward"] is None
        else:
            assert reward["reward"] == pytest.approx(10 * row["clip_score"], abs=2e-2)
    build.select()


def test_the_same_weights_elsewhere_are_not_computed_again(tmp_path, make_build):
    for name in ("one", "two"):
        weights = reward_files.write_embedded(tmp_path / name)
        build = make_build(RECIPE.format(weights=weights))
        build.ingest()
        build.score()
    folders = {name.split("/")[0] for name in tree(tmp_path / "out/columns/reward", "**/*.parquet")}
    assert len(folders) == 1


def test_missing_weights_are_said_with_the_place_in_the_recipe(tmp_path, make_build):
    build = make_build(RECIPE.format(weights=tmp_path / "none"))
    build.ingest()
    with pytest.raises(RecipeError, match=r"recipe\.yaml:5.*there is no such file"):
        build.score()
