"""Weights that can't be run, or not so, are refused at their line before anything is ingested."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from filters import reward_head
from pipeline.errors import RecipeError
from tests.conftest import RECIPE
from tests.filters import reward_files
from tests.filters.test_tuned_heads import write

HEAD = RECIPE.partition("score:")[0]


def refused(make_build, score):
    with pytest.raises(RecipeError) as error:
        make_build(f"{HEAD}score:\n  image: {{}}\n{score}\n").resolve()
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": np.array([np.nan])}, "share holds NaN or infinity"),
        ({"text.bias": np.zeros((1, 2))}, "holds no heads of the embedded encoder"),
    ],
)
def test_heads_of_the_embedded_encoder(make_build, tmp_path, changes, message):
    path = write(tmp_path / "h.safetensors", **changes)
    found = refused(make_build, f"  clip: {{weights: {path}}}")
    assert "recipe.yaml:5:3" in found
    assert message in found


def test_heads_of_a_reward_that_look_at_more_than_stored_vectors(make_build, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(reward_head.head_path(reward_head.SHIPPED).read_bytes())
    found = refused(make_build, f"  reward: {{weights: {path}, image: clip_image}}")
    assert "recipe.yaml:5:3" in found
    assert "look at patches and words of encoder 'embedded', which are not stored" in found
    make_build(f"{HEAD}score:\n  reward: {{weights: {path}}}\n").resolve()


def test_a_file_without_metadata(make_build, tmp_path):
    path = tmp_path / "plain.safetensors"
    save_file(reward_files.linear(), path)
    found = refused(make_build, f"  reward: {{weights: {path}}}")
    assert "recipe.yaml:5:3" in found
    assert "it has no `reward` metadata" in found
