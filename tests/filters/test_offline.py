"""The judges without a model: after a plain install, alone as in a batch, and told from models."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filters import embedded
from filters.mlm_filter import MlmFilter
from filters.unime import UniMe
from filters.unread import UNREAD, Unread
from filters.vqa_score import VqaScore
from pipeline.each import EachCaption
from recaption import captions
from recaption.captions import Caption
from tests import pictures
from tests.conftest import RECIPE, built

KINDS = (VqaScore, MlmFilter, UniMe)
SERVER = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}
TEXTS = ("a red dog", "two old houses near a lake", "größe", "a red dog", "IMG_0421.jpg")
PACK = Path(__file__).parents[2] / "configs" / "quickstart"


def batch(*texts):
    return {"image": [pictures.photo(i) for i in range(len(texts))], "caption": list(texts)}


@pytest.mark.parametrize("kind", KINDS)
def test_neither_model_nor_server_is_the_embedded_encoder(kind):
    assert kind() == kind(model="embedded")
    assert (kind().model, kind().device, kind().image_request) == ("embedded", "cpu", 224)
    assert kind().makes_batches
    assert not kind(server=SERVER).makes_batches


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_the_values_of_the_batch(kind):
    scorer, rows = kind(), batch(*TEXTS)
    whole = scorer(rows)
    assert list(whole) == scorer.writes.names
    for place in range(len(TEXTS)):
        alone = scorer({name: [values[place]] for name, values in rows.items()})
        assert {n: v[0] for n, v in alone.items()} == {n: v[place] for n, v in whole.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_and_texts_in_which_nothing_is_read(kind):
    scorer = kind()
    names = scorer.writes.names
    assert scorer(batch()) == {name: [] for name in names}
    found = scorer(batch("", " \n", "\u200b", " " * 3000 + "a dog"))
    assert found[names[0]] == [UNREAD] * 4
    assert {name: found[name] for name in names[1:-1]} == {n: [None] * 4 for n in names[1:-1]}
    assert found[names[-1]] == [False, False, False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_longer_than_is_read_is_flagged_and_the_rest_plays_no_part(kind):
    start = ("a red dog " * 300)[: embedded.TEXT_LENGTH]
    image = pictures.photo(0)
    rows = [kind()({"image": [image], "caption": [text]}) for text in (start, start + "x" * 50)]
    cut = [row.pop(kind().writes.names[-1 if kind is not UniMe else 1]) for row in rows]
    assert cut == [[False], [True]]
    assert rows[0] == rows[1]


def test_golden_values():
    rows = {"image": [pictures.photo(0)], "caption": ["a red dog"]}
    found = {**VqaScore()(rows), **MlmFilter()(rows), **UniMe()(rows)}
    told = {name: value for name, (value,) in found.items()}
    assert told == pytest.approx(GOLDEN, abs=2e-3)


GOLDEN = {
    "vqa_score": 0.5942,
    "vqa_mass": 1.0,
    "vqa_truncated": False,
    "mlm_matching": 56,
    "mlm_detail": 26,
    "mlm_quality": 75,
    "mlm_understanding": 3,
    "mlm_truncated": False,
    "unime_score": -0.1368,
    "unime_truncated": False,
}


def test_the_mass_is_one_and_scores_are_probabilities():
    found = VqaScore()(batch(*TEXTS))
    assert found["vqa_mass"] == [1.0] * 5
    assert all(0 < score < 1 for score in found["vqa_score"])
    assert len(set(found["vqa_score"])) == 5


def test_vectors_are_those_of_the_encoder():
    rows = batch("a red dog", "", "größe")
    found = UniMe(embeddings=True)(rows)
    seen = embedded.encode_images(rows["image"])
    for place, image in enumerate(found["unime_image"]):
        assert image == pytest.approx(seen[place], abs=1e-3)
    assert found["unime_text"][0] == pytest.approx(
        embedded.encode_texts(["a red dog"])[0], abs=1e-3
    )
    assert found["unime_text"][1] is None
    assert isinstance(found["unime_score"][1], Unread)
    assert found["unime_score"][1].kept["unime_image"] is found["unime_image"][1]


def test_only_the_questions_asked_are_answered():
    found = MlmFilter(questions=("quality", "matching"))(batch("a red dog", ""))
    assert list(found) == ["mlm_quality", "mlm_matching", "mlm_truncated"]
    assert found["mlm_quality"] == [75, UNREAD]
    assert found["mlm_matching"][1] is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_tells_it_from_models(kind):
    own = kind()
    others = [kind(server=SERVER), kind("a/b", "0" * 40)]
    assert all(own.identity != other.identity for other in others)
    assert json.loads(json.dumps(own.identity))["model"] == "embedded"
    assert own.identity == kind(batch_size=3).identity
    assert own.identity != kind(text="other").identity
    assert own.weights_digest.startswith(embedded.weights_digest())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"revision": "0" * 40}, "takes no `revision`"),
        ({"text_tokens": 9}, "takes no `text_tokens`"),
        ({"max_side": 9}, "takes no `max_side`"),
        ({"precision": "bf16"}, "takes no `precision`"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_models_are_refused(kind, more, message):
    with pytest.raises(ValueError, match=message):
        kind(**more)


def test_parameters_that_one_has_are_refused_too():
    for kind in (VqaScore, MlmFilter):
        with pytest.raises(ValueError, match="takes no `reasks`"):
            kind(reasks=2)
    for more in ({"image_prompt": "What?"}, {"text_prompt": "{text}?"}, {"form": "input"}):
        with pytest.raises(ValueError, match="takes no"):
            UniMe(**more)
    with pytest.raises(TypeError, match="give `model`"):
        VqaScore("embedded", server=SERVER)


@pytest.mark.parametrize("kind", KINDS)
def test_of_several_captions_each_has_a_value(kind):
    rows = [captions.rows([Caption(t) for t in some]) for some in (["a dog", "", "a cup"], [])]
    scorer = kind(text="long")
    found = EachCaption(scorer, "long")({"long": rows, "image": [pictures.photo(0)] * 2})
    first, none = found[scorer.writes.names[0]]
    assert str(first) == "ValueError: caption 2: nothing is read in the text"
    one = scorer({"image": [pictures.photo(0)], "long": ["a dog"]})
    assert first.kept[scorer.writes.names[0]][0] == one[scorer.writes.names[0]][0]
    assert none == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_prepared(kind):
    kind().prepare()


@pytest.mark.slow
def test_on_real_pictures_right_captions_are_above_exchanged_ones():
    rows = [*csv.DictReader((PACK / "faults.csv").open(encoding="utf-8"))]
    clean = [r["file"] for r in rows if r["fault"] == "none" and r["language"] == "en"][:60]
    paths = [PACK / "photos" / name for name in clean]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    texts = [path.with_suffix(".txt").read_text(encoding="utf-8") for path in paths]
    for scorer, least in ((VqaScore(), 0.8), (UniMe(), 0.8), (MlmFilter(), 0.8)):
        name = scorer.writes.names[0]
        right, wrong = (
            np.array(scorer({"image": images, "caption": told})[name])
            for told in (texts, [*texts[7:], *texts[:7]])
        )
        assert (right[:, None] > wrong).mean() > least


@pytest.mark.slow
def test_a_build_has_all_of_them_without_any_model_to_download(make_build):
    recipe = RECIPE.partition("score:")[0] + (
        "score:\n  vqa_score: {}\n  mlm_filter: {}\n  unime: {embeddings: true}\n"
    )
    build = built(make_build(recipe), "score")
    pool, writers = build.open_pool(), build.resolve(build.open_pool())[0].writers
    for column in ("vqa_score", "mlm_quality", "unime_score"):
        rows = [row for shard in pool.shards for row in writers[column].read(shard).to_pylist()]
        assert sum(row[column] is not None for row in rows) == 13
