"""Texts in which nothing is read: one rule, one wording, in every scorer of text and picture."""

from types import SimpleNamespace

import pytest

from filters import mllm
from filters.clip import ClipScore
from filters.comclip import ComClip
from filters.facets import Facets
from filters.likelihood import CaptionLikelihood
from filters.matching import ImageTextMatching
from filters.mlm_filter import MlmFilter
from filters.reward import RewardScore
from filters.transport import WordRegionTransport
from filters.unime import UniMe
from filters.unread import UNREAD, Unread, is_blank
from filters.vqa_score import VqaScore
from pipeline.each import EachCaption
from recaption import captions
from recaption.captions import Caption
from tests import pictures
from tests.conftest import RECIPE, built, write_pair

NOWHERE = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}  # so nobody may be asked
OFFLINE = (
    *(ComClip, Facets, ImageTextMatching, RewardScore, WordRegionTransport),
    *(VqaScore, MlmFilter, UniMe),
)
SLOW = pytest.param(CaptionLikelihood(), marks=pytest.mark.slow)  # encodes a list of words
SERVED = (
    VqaScore(server=NOWHERE),
    MlmFilter(server=NOWHERE),
    Facets("served", server=NOWHERE),
    UniMe(server=NOWHERE),
)


def batch(*texts):
    return {"image": [pictures.photo(i) for i in range(len(texts))], "caption": list(texts)}


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b", "\u200d\ufe0f", "\u00ad", "\x00\x1b", "\ufeff", "\u0301"]
)
def test_what_shows_nothing_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "犬", "7", "?", "€", "🙂", "\u200bגדול", "a\u0301"])
def test_what_shows_something_is_not(text):
    assert not is_blank(text)


@pytest.mark.parametrize(
    "scorer", [*(kind() for kind in OFFLINE), SLOW], ids=lambda s: type(s).__name__
)
def test_every_scorer_says_it_in_place_of_its_first_value(scorer):
    first = scorer.writes.names[0]
    assert scorer(batch("", " \n"))[first] == [UNREAD] * 2


@pytest.mark.parametrize("scorer", SERVED, ids=lambda s: type(s).__name__)
def test_no_server_is_asked_about_nothing(scorer):
    texts = ("", "<|im_end|> <image>", "\x00", "\u00ad\u200d")
    assert scorer(batch(*texts))[scorer.writes.names[0]] == [UNREAD] * 4


def test_a_part_of_a_row_may_stay():
    error = Unread({"other": 7})
    assert str(error) == f"ValueError: {UNREAD}" == "ValueError: nothing is read in the text"
    assert error.kept == {"other": 7}


def test_of_several_captions_one_costs_itself_alone():
    texts = [["", "a red car"], ["", " "], []]
    rows = [captions.rows([Caption(text) for text in some]) for some in texts]
    one = EachCaption(ImageTextMatching(text="long"), "long")
    found = one({"long": rows, "image": [pictures.photo(0)] * 3})["itm_score"]
    assert str(found[0]) == "ValueError: caption 1: nothing is read in the text"
    blank, score = found[0].kept["itm_score"]
    assert blank is None
    assert 0 < score < 1
    assert found[1] is UNREAD
    assert found[2] == []


def test_what_a_blank_caption_keeps_stays_at_its_place():
    rows = [captions.rows([Caption("a dog"), Caption(" ")]), captions.rows([Caption("")])]
    one = EachCaption(ClipScore(text="long", embeddings=True), "long")
    found = one({"long": rows, "image": [pictures.photo(0)] * 2})["clip_score"]
    for error, number, texts in zip(found, (2, 1), ([False, True], [True]), strict=True):
        assert str(error) == f"ValueError: caption {number}: nothing is read in the text"
        assert [vector is None for vector in error.kept["clip_text"]] == texts
        assert not any(vector is None for vector in error.kept["clip_image"])


def test_what_a_tokenizer_drops_is_nothing():
    drops = SimpleNamespace(tokenizer=lambda *_, **__: {"input_ids": []})
    assert mllm.shortened(drops, "犬", 5) == ("", False)


def test_a_caption_that_says_nothing_of_a_kind_is_not_lost_with_a_blank_one():
    rows = [captions.rows([Caption(""), Caption("a blue shape")]), captions.rows([Caption("")])]
    one = EachCaption(Facets(text="long"), "long")
    first, lost = one({"long": rows, "image": [pictures.photo(0)] * 2})["facet_object"]
    assert first.kept["facet_object"] == [None, None]
    assert first.kept["facet_attribute"][1] is not None
    assert lost is UNREAD


@pytest.mark.slow
def test_a_build_says_why_and_of_a_pair_without_caption_nothing(make_build, photos):
    write_pair(photos, "00", pictures.jpeg(0), "\u200b")
    recipe = RECIPE.partition("score:")[0] + (
        "score:\n  clip: {embeddings: true}\n  itm: {}\n  facets: {}\n"
    )
    build = built(make_build(recipe), "score")
    pool = build.open_pool()
    writers = build.resolve(pool)[0].writers
    names = {"clip_score": "clip_error", "itm_score": "itm_error", "facet_min": "facets_error"}
    for column, error in names.items():
        tables = [writers[column].read(shard).to_pylist() for shard in pool.shards]
        rows = [row for table in tables for row in table]
        reasons = [row[error] for row in rows if row[error]]
        assert reasons.count("ValueError: nothing is read in the text") == 1
        assert len(reasons) == 2  # and the broken picture
        assert sum(row[error] is None for row in rows) == len(rows) - 2
    seen = [row for shard in pool.shards for row in writers["clip_image"].read(shard).to_pylist()]
    (blank,) = (row for row in seen if str(row["clip_error"]).endswith("in the text"))
    assert (blank["clip_score"], blank["clip_text"]) == (None, None)
    assert len(blank["clip_image"]) == len(next(r["clip_text"] for r in seen if r["clip_text"]))
