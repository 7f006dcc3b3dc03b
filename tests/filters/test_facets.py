"""Facets: each part of a caption judged by itself, by the embedded encoder or a model."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filters import embedded, mllm
from filters.facets import QUESTIONS, Facets, against, answered, compared
from filters.phrases import Part, parts
from filters.served import keep_in
from filters.unread import UNREAD
from tests import pictures
from tests.conftest import RECIPE
from tests.filters.model_server import Action, failing, prompt_of, serve
from tests.filters.tiny_mllm import SIDE, save_mllm

FACETS = [f"facet_{kind}" for kind in ("object", "attribute", "number", "text", "style")]


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def batch(*texts, **columns):
    images = [pictures.photo(i) for i in range(len(texts))]
    return {"image": images, "caption": list(texts), **columns}


def row(found, place):
    return {name: values[place] for name, values in found.items()}


def test_a_facet_is_what_is_said_against_the_average_of_what_is_not():
    assert against(0.2, np.array([0.2, 0.2, 0.2]), 0.05) == pytest.approx(0.5)
    # p is proportional to e^4 and, of the others, e^2 and e^0
    expected = math.exp(4) / (math.exp(4) + (math.exp(2) + 1) / 2)
    assert against(0.4, np.array([0.2, 0.0]), 0.1) == pytest.approx(expected)
    assert against(-1, np.array([1.0]), 1e-4) == pytest.approx(0)
    assert against(1, np.array([-1.0]), 1e-4) == pytest.approx(1)


def test_adding_to_all_cosines_changes_nothing_and_the_score_rises_with_its_own():
    dice = np.random.default_rng(0)
    for _ in range(50):
        own, others = dice.normal(0, 0.2), dice.normal(0, 0.2, dice.integers(1, 20))
        assert against(own + 0.3, others + 0.3, 0.05) == pytest.approx(against(own, others, 0.05))
        assert against(own + 0.01, others, 0.05) > against(own, others, 0.05)


@pytest.mark.slow
def test_the_embedded_facets_are_those_of_the_plain_formula():
    caption = "Drawing of two red cars and a green house"
    scorer = Facets()
    found = row(scorer(batch(caption)), 0)
    seen = embedded.encode_images([pictures.photo(0)])[0].astype(float)
    scores = {}
    for part in parts(caption):
        texts = embedded.encode_texts([part.said, *part.others]).astype(float) @ seen
        p = np.exp(texts / 0.05)
        scores.setdefault(part.kind, []).append(p[0] / (p[0] + p[1:].mean()))
    assert set(scores) == {"object", "attribute", "number", "style"}
    for kind, values in scores.items():
        assert found[f"facet_{kind}"] == pytest.approx(min(values), abs=1e-5)
    assert found["facet_text"] is None
    least = min(value for values in scores.values() for value in values)
    assert found["facet_min"] == pytest.approx(least, abs=1e-5)


def test_what_is_not_said_is_null():
    found = Facets()(batch("a dog", "hm", "", "größe 猫", "word " * 500))
    assert found["facet_object"][0] is not None
    assert [row(found, 0)[name] for name in FACETS[1:]] == [None] * 4
    assert found["facet_min"][0] == found["facet_object"][0]
    for place in (1, 3):
        assert set(row(found, place).values()) == {None, False}
    assert found["facet_object"][2] is UNREAD
    assert found["facet_truncated"] == [False] * 4 + [True]
    assert Facets()(batch()) == {name: [] for name in Facets.writes.names}


@pytest.mark.slow
def test_a_row_has_its_values_in_any_company():
    texts = ("two red cars", "a painting of a dog", "a blue house")
    whole, rows = Facets()(batch(*texts)), batch(*texts)
    for place in range(3):
        alone = Facets()({name: [values[place]] for name, values in rows.items()})
        assert row(alone, 0) == row(whole, place)


@pytest.mark.slow
def test_on_real_pictures_objects_and_properties_are_told_from_wrong_ones():
    """What is said, and one alternative in its place: how often the right one has the higher score.

    A coin has 0.5; numbers are not asserted, for the encoder can't count.
    """
    found = {"object": [], "attribute": []}
    pairs = list(_described_photos())
    vectors = embedded.encode_images([image for image, _ in pairs])
    for vector, (_, caption) in zip(vectors, pairs, strict=True):
        for part in parts(caption):
            if part.kind in found:
                place = len(found[part.kind]) % len(part.others)
                others = (*part.others[:place], part.said, *part.others[place + 1 :])
                wrong = Part(part.kind, part.others[place], others)
                right, other = (compared(vector, [p], 0.05)[p.kind] for p in (part, wrong))
                found[part.kind].append(right > other)
    assert len(found["object"]) > 100
    assert np.mean(found["object"]) > 0.7
    assert np.mean(found["attribute"]) > 0.58


def _described_photos():
    folder = Path(__file__).parents[2] / "configs" / "quickstart"
    for line in csv.DictReader((folder / "faults.csv").open()):
        caption = (folder / "photos" / line["file"]).with_suffix(".txt")
        if line["fault"] == "none" and line["language"] == "en" and caption.exists():
            with Image.open(folder / "photos" / line["file"]) as picture:
                yield np.asarray(picture.convert("RGB")), caption.read_text(encoding="utf-8")


def test_text_is_compared_with_what_was_read():
    scorer = Facets(ocr_text="ocr_text")
    assert scorer.reads == ("image", "caption", "ocr_text")
    texts = ('a sign with "No Entry"', 'a sign with "No Entry"', "a dog", 'the word "STOP"')
    read = ["NO\nENTRY", "no way", "WOOF", ""]
    assert scorer(batch(*texts, ocr_text=read))["facet_text"] == [1.0, 0.5, None, 0.0]


def test_what_decides_is_identity():
    assert Facets().identity != Facets(temperature=0.1).identity
    assert Facets().identity != Facets(ocr_text="ocr_text").identity
    assert Facets().identity == Facets(batch_size=7).identity
    assert embedded.weights_digest() in Facets().weights_digest
    assert Facets().image_request == embedded.IMAGE_SIZE


SERVER = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"judge": "oracle"},
        {"judge": "served"},
        {"judge": "local"},
        {"server": SERVER},
        {"model": "a/b"},
        {"judge": "served", "server": SERVER, "ocr_text": "ocr_text"},
        {"judge": "local", "model": "a/b", "server": SERVER},
        {"temperature": 0.0},
    ],
)
def test_a_judge_and_what_it_needs_go_together(parameters):
    with pytest.raises(ValueError, match=r"judge|temperature"):
        Facets(**parameters)


def test_answers_become_facets():
    yes, no, none = (0.8, 0.1, 0.0), (0.1, 0.7, 0.1), (0.2, 0.1, 0.6)
    assert answered([yes, no, none, none, yes]) == pytest.approx(
        [8 / 9, 1 / 8, None, None, 8 / 9, 1 / 8]
    )
    assert answered([none] * 5) == [None] * 6
    failed = ValueError("why")
    assert answered([yes, failed, yes, yes, yes]) == [failed, *[None] * 5]


def test_the_questions_are_these():
    """A change of a word is a change of what is measured: raise PROMPTS with it."""
    import hashlib

    assert [f"facet_{kind}" for kind in QUESTIONS] == FACETS
    for question in QUESTIONS.values():
        assert question.count(mllm.TEXT) == 1
        assert "yes, no, or none" in question
    digest = hashlib.sha256("\n".join(QUESTIONS.values()).encode()).hexdigest()
    assert digest.startswith("f550abab6bebbbea")


def test_a_server_is_asked_a_question_for_each_facet():
    sure = Action("Yes", logprobs=[{"Yes": math.log(0.6), "No": math.log(0.2)}])
    unsaid = Action("None", logprobs=[{"None": math.log(0.9), "Yes": math.log(0.05)}])
    told = {QUESTIONS["number"].replace("{text}", "a dog"): unsaid}
    told[QUESTIONS["style"].replace("{text}", "a cat")] = failing(400, "no")
    with serve(sure, by_prompt=told) as server:
        scorer = Facets("served", server={"endpoints": [server.url], "model": "tiny"})
        found = scorer(batch("a dog", "a cat", " "))
        assert len({prompt_of(body) for body in server.asked}) == 10
    assert [row(found, 0)[name] for name in FACETS] == pytest.approx([0.75, 0.75, None, 0.75, 0.75])
    assert found["facet_min"][0] == pytest.approx(0.75)
    assert isinstance(found["facet_object"][1], Exception)
    assert found["facet_object"][2] is UNREAD
    assert scorer.weights_digest is None
    assert scorer.identity["served"] == "tiny"


@pytest.mark.slow
def test_a_local_model_is_asked_too(tmp_path):
    name = save_mllm(tmp_path / "qwen", "qwen")
    scorer = Facets("local", name, text_tokens=16, max_side=SIDE, batch_size=5)
    found = scorer(batch("a dog", "a red car", ""))
    for place in (0, 1):
        values = [v for v in (row(found, place)[name] for name in FACETS) if v is not None]
        assert all(0 < value < 1 for value in values)
        assert row(found, place)["facet_min"] == (min(values) if values else None)
    assert (found["facet_object"][2], found["facet_min"][2]) == (UNREAD, None)


@pytest.mark.slow
def test_a_build_has_facets_without_any_model_to_download(make_build):
    recipe = RECIPE.partition("score:")[0] + (
        "score:\n  facets: {scorer: 'filters.facets:Facets'}\ningest: {rows_per_shard: 5}\n"
    )
    build = make_build(recipe, after="ingest")
    build.score()
    pool = build.open_pool()
    written = build.resolve(pool)[0].writers["facet_min"]
    rows = [row for shard in pool.shards for row in written.read(shard).to_pylist()]
    assert sum(row["facet_truncated"] is False for row in rows) == 13
    assert {row["facet_min"] for row in rows} == {None}  # "picture number 3": nothing to check
