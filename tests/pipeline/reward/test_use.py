"""The line that a recipe takes for what was trained, and parameters that a head has not."""

import pytest

from pipeline.errors import RecipeError
from pipeline.reward.config import load_config
from pipeline.reward.use import line_for
from pipeline.yaml_reader import parse_yaml

BASE = "preferences:\n  - {format: pairs, path: p.jsonl}\n"


def config(folder, more):
    path = folder / "train.yaml"
    path.write_text(BASE + more)
    return str(path)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("", 'reward: {weights: "/out/reward.safetensors", image: image}'),
        ("head: {kind: tokenwise}\n", 'reward: {weights: "/out/reward.safetensors"}'),
        (
            "head: {kind: side}\nencoder: {model: ViT-B-32, pretrained: openai, batch_size: 8}\n",
            'reward: {weights: "/out/reward.safetensors", model: "ViT-B-32", pretrained: openai}',
        ),
        (
            "encoder: {weights: heads.safetensors}\n",
            'reward: {weights: "/out/reward.safetensors", image: image,'
            ' encoder_weights: "HERE/heads.safetensors"}',
        ),
        (
            "cross: {model: 'local-dir:blip', max_tokens: 12}\n",
            'itm: {model: "local-dir:/out/model", max_tokens: 12}',
        ),
    ],
)
def test_the_line_for_a_recipe(tmp_path, more, line):
    found = line_for(config(tmp_path, more), "/out")
    assert found == line.replace("HERE", str(tmp_path))
    assert parse_yaml(found, "recipe").data


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("{kind: tokenwise, rank: 4}", ["train.yaml:3:25: head: a head of kind 'tokenwise'"]),
        ("{kind: tokenwise, hidden: 64}", ["has no 'hidden'"]),
        ("{kind: tokenwise, hidden: 8, blocks: [image]}", ["no 'hidden'", "no 'blocks'"]),
        ("{kind: mlp, rank: 4}", ["train.yaml:3:19", "'mlp' has no 'rank'"]),
        ("{rank: 4}", ["'mlp' has no 'rank'"]),
        ("{kind: linear, hidden: 4}", ["'linear' has no 'hidden'"]),
        ("{kind: side, hidden: 4}", ["'side' has no 'hidden'"]),
    ],
)
def test_parameters_that_a_kind_has_not_are_refused_at_their_line(tmp_path, head, said):
    with pytest.raises(RecipeError) as error:
        load_config(config(tmp_path, f"head: {head}\n"))
    assert all(text in str(error.value) for text in said)


@pytest.mark.parametrize(
    "head",
    [
        "{kind: tokenwise, cosine: false, dropout: 0.1}",
        "{kind: side, rank: 4, blocks: [product]}",
        "{kind: linear, blocks: [product]}",
        "{hidden: 4, blocks: [product]}",
    ],
)
def test_those_that_it_has_are_not(tmp_path, head):
    load_config(config(tmp_path, f"head: {head}\n"))
