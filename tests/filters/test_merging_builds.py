"""The option `merge` of clip: its fingerprint, its scores, and what a recipe may say of it."""

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from filters import clip_weights
from filters.clip import ClipScore, clip_of
from filters.consistency import ClipConsistency
from filters.merging import merged_encode_image, parse_plan
from filters.mirrored import Mirrored
from filters.tmars import MaskedClipScore
from pipeline.catalog import parameter_schemas
from pipeline.errors import RecipeError
from pipeline.instances import fingerprint, parameters
from tests.filters.test_clip import TEXTS, batch
from tests.filters.test_clip_builds import columns, recipe
from tests.filters.tiny_models import KINDS, save_model


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny model of three blocks: what the last one merges can't be seen in the class token."""
    kind = KINDS["clip"]
    parts = kind["model_cfg"]
    vision = {**parts["vision_cfg"], "layers": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "deep", {**kind, "model_cfg": {**parts, "vision_cfg": vision}})
        yield save_model(tmp_path_factory.mktemp("deep") / "model", "deep")


def name_of(scorer: object) -> str:
    return fingerprint(scorer, {}, "decoder")


def test_without_it_the_identity_of_clip_is_what_it_was(deep):
    scorer = ClipScore(deep)
    assert parameters(scorer) == {
        "model": "local-dir",
        "pretrained": None,
        "preprocess_tag": None,
        "precision": scorer.precision,
        "text": "caption",
        "embeddings": False,
        "batch_size": 32,
    }


def test_each_plan_has_its_own_fingerprint_whatever_its_spelling(deep):
    plans = (None, "tome:1", "tome:2", "tome:2:-1", "tome:2,1", "pitome:0.9", "pitome:0.8")
    names = {plan: name_of(ClipScore(deep, merge=plan)) for plan in plans}
    assert len(set(names.values())) == len(plans)
    assert name_of(ClipScore(deep, merge="tome:02")) == names["tome:2"]
    assert name_of(ClipScore(deep, merge="pitome:.90")) == names["pitome:0.9"]


def test_a_new_version_of_the_steps_changes_no_fingerprint_without_them(deep, monkeypatch):
    before = [name_of(ClipScore(deep, merge=plan)) for plan in (None, "tome:2")]
    monkeypatch.setattr("filters.merging.VERSION", 99)
    after = [name_of(ClipScore(deep, merge=plan)) for plan in (None, "tome:2")]
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize("plan", ["tome:3", "pitome:0.6"])
def test_the_score_is_the_cosine_of_the_merged_picture(deep, plan):
    loaded = clip_weights.load(clip_weights.Source(deep))
    given = batch(TEXTS)
    images = torch.stack([loaded.transform(Image.fromarray(image)) for image in given["image"]])
    with torch.inference_mode():
        seen = merged_encode_image(loaded.model.visual, images, parse_plan(plan))
        read = loaded.model.encode_text(loaded.tokenize(TEXTS), normalize=True)
    expected = (torch.nn.functional.normalize(seen) * read).sum(dim=1).tolist()
    scorer = ClipScore(deep, merge=plan)
    found = scorer(given)
    assert found["clip_score"] == pytest.approx(expected, abs=2e-6)
    alone = [scorer({n: values[i : i + 1] for n, values in given.items()}) for i in range(4)]
    assert [one["clip_score"][0] for one in alone] == found["clip_score"]
    plain = ClipScore(deep)(given)
    assert plain["clip_truncated"] == found["clip_truncated"]
    apart = [abs(a - b) for a, b in zip(plain["clip_score"], found["clip_score"], strict=True)]
    assert 1e-5 < max(apart) < 0.5


def test_stored_vectors_are_those_of_the_score(deep):
    values = ClipScore(deep, merge="tome:3", embeddings=True)(batch(TEXTS))
    pairs = zip(values["clip_image"], values["clip_text"], values["clip_score"], strict=True)
    for seen, read, score in pairs:
        assert float(seen @ read) == pytest.approx(score, abs=2e-3)


@pytest.mark.parametrize("kind", [Mirrored, ClipConsistency, MaskedClipScore])
def test_scorers_of_changed_images_are_not_merged_unless_told(deep, kind):
    scorer = kind(deep)
    assert clip_of(scorer).merge is None
    assert "merge" not in parameters(scorer)


def test_in_a_recipe_it_is_a_text(models):
    schema = parameter_schemas()["clip"]["properties"]["merge"]
    assert {"type": "string"} in schema["anyOf"]


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        ("tome:x", "merge 'tome:x': expected tome:COUNT"),
        ("8", "expected a string|valid string"),
        ("{tome: 8}", "merge"),
        ("pitome:0.2", "keeps half of its patches at least"),
        ("'tome:1,1,1,1'", "4 counts for 3 blocks"),
    ],
)
def test_a_wrong_plan_is_an_error_of_the_recipe(deep, make_build, merge, message):
    score = recipe(f"  clip: {{model: '{deep}', merge: {merge}}}\n")
    with pytest.raises(RecipeError, match=message) as error:
        make_build(score).resolve()
    assert ":4:" in str(error.value)


def test_the_embedded_encoder_is_refused_in_a_recipe(make_build):
    with pytest.raises(RecipeError, match="no tokens to merge"):
        make_build(recipe("  clip: {merge: tome:8}\n")).resolve()


@pytest.mark.slow
def test_both_can_be_scored_in_one_build(deep, make_build):
    renamed = "columns: {clip_score: fast_score, clip_truncated: fast_truncated}"
    build = make_build(
        recipe(
            f"  clip: {{model: '{deep}'}}\n"
            f"  fast: {{scorer: clip, model: '{deep}', merge: tome:3, {renamed}}}\n"
        ),
        after="ingest",
    )
    build.score()
    found = columns(build, "clip_score", "fast_score")
    pairs = [*zip(found["clip_score"], found["fast_score"], strict=True)]
    assert sum(plain is not None for plain, _ in pairs) == 13
    assert all((plain is None) == (fast is None) for plain, fast in pairs)
    assert any(plain != fast for plain, fast in pairs)
