"""Other encoders than the embedded one, and vectors that a build has stored."""

import json

import pytest

from filters.clip import ClipScore
from filters.reward import RewardScore
from pipeline.errors import RecipeError
from pipeline.pool import open_pool, read_base
from pipeline.reward import train as training
from pipeline.reward import vectors
from tests.conftest import built
from tests.filters.tiny_models import save_model

RECIPE = """\
sources:
  photos: {{folder: photos/}}
score:
  clip: {{model: "{model}", embeddings: true}}
select:
  - all: {{where: key is not null}}
"""
CONFIG = """\
preferences:
  - {{format: rankings, path: hard.jsonl}}
images: {images}
encoder: {encoder}
head: {{kind: linear}}
training: {{epochs: 2, batch: 16}}
split: {{validation: 0.2, test: 0.3}}
"""


@pytest.fixture
def material(tmp_path, make_build):
    """A build with a tiny model's vectors, and rankings over its pool."""
    model = save_model(tmp_path / "clip")
    out = built(make_build(RECIPE.format(model=model)), "select").out
    rows = []
    for shard in open_pool(out).shards:
        base = read_base(out, shard, ["key", "caption", "extension"]).to_pylist()
        rows += [
            {"image": row["key"].hex(), "captions": [row["caption"], "an image", "nothing"]}
            for row in base
            if row["extension"] and row["caption"]
        ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "hard.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path, out


def train(folder, images, encoder="'local-dir:clip'", out="head"):
    path = folder / f"{out}.yaml"
    path.write_text(CONFIG.format(images=images, encoder=encoder))
    return training.train_reward(str(path), str(folder / out))


@pytest.mark.slow
def test_a_head_over_open_clip_scores_what_that_model_stored(material):
    folder, _ = material
    card = train(folder, "{pool: out}")
    assert card["encoder"]["name"] == "local-dir"
    weights = str(folder / "head" / training.WEIGHTS)
    clip = ClipScore(model=f"local-dir:{folder / 'clip'}", embeddings=True)
    reward = RewardScore(weights)
    reward.check_inputs({"clip_image": clip, "clip_text": clip})
    with pytest.raises(ValueError, match="train the reward again on this encoder"):
        reward.check_inputs({"clip_image": ClipScore(embeddings=True)})
    with pytest.raises(ValueError, match="these are of 'embedded'"):
        RewardScore(weights, image="image", text="caption")


@pytest.mark.slow
def test_stored_vectors_give_the_same_head(material, monkeypatch):
    folder, _ = material
    train(folder, "{pool: out}")
    monkeypatch.setattr(vectors, "encode_images", None)  # nothing is computed but the check
    train(folder, "{pool: out, column: clip_image}", out="stored")
    one, other = ((folder / name / training.WEIGHTS).read_bytes() for name in ("head", "stored"))
    assert one == other


@pytest.mark.slow
def test_vectors_of_another_encoder_are_refused(material):
    folder, _ = material
    with pytest.raises(
        RecipeError, match=r"3:29: images\.column: 'clip_image' holds vectors of 24"
    ):
        train(folder, "{pool: out, column: clip_image}", encoder="embedded")
    save_model(folder / "other", seed=1)
    with pytest.raises(RecipeError, match="of another encoder: a cosine of"):
        train(folder, "{pool: out, column: clip_image}", encoder="'local-dir:other'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("{pool: out, column: clip_imag}", "the build has no column 'clip_imag'; it has clip_"),
        ("{folder: photos, column: clip_image}", "must be the output directory of a build"),
        ("{pool: out, column: clip_score}", "holds float, not vectors"),
    ],
)
def test_columns_that_are_not_there_are_refused(material, images, message):
    folder, _ = material
    with pytest.raises(RecipeError, match=message):
        train(folder, images)
