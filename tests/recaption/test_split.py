"""Sub-captions: one caption per sentence, with what is known of the caption."""

import pyarrow as pa
import pytest

from recaption import captions
from recaption.captions import Caption
from recaption.split import SplitCaptions
from tests.conftest import SCORED, built

LONG = Caption(
    "A dog runs on grass. It is brown.\nA dog runs on grass. Wow.",
    "en",
    kind="long",
    box=(0.0, 0.25, 1.0, 1.0),
    model="m@1",
    prompt="LONG/1",
    tokens=14,
    flags=("loop", "cut"),
)


def cut(*rows, **parameters):
    scorer = SplitCaptions(of="long", **parameters)
    return scorer({"long": list(rows)})["captions"]


def test_tags_are_no_sentences():
    rows = captions.rows([Caption("dog, grass, ball", kind="tags"), Caption("A dog runs.")])
    [found] = cut(rows)
    assert [row["text"] for row in found] == ["A dog runs."]


def test_each_sentence_is_a_caption_of_its_caption():
    [found] = cut(captions.rows([LONG]))
    assert [row["text"] for row in found] == ["A dog runs on grass.", "It is brown."]
    assert {row["kind"] for row in found} == {"sentence"}
    for name in ("language", "origin", "model", "prompt", "box"):
        assert {str(row[name]) for row in found} == {str(LONG.row[name])}
    assert [row["tokens"] for row in found] == [None, None]
    assert pa.array([found], captions.WRITES.field(0).type)


def test_flags_are_kept_and_the_last_sentence_alone_is_cut():
    [found] = cut(captions.rows([LONG]), least_words=1)
    assert [row["flags"] for row in found] == [["loop"], ["loop"], ["cut", "loop"]]


def test_a_caption_of_one_sentence_keeps_its_tokens():
    [[row]] = cut(captions.rows([Caption("A dog.", tokens=4)]))
    assert (row["text"], row["tokens"], row["kind"]) == ("A dog.", 4, "sentence")


def test_repeats_of_other_captions_are_left_out_and_the_first_stay():
    [found] = cut(captions.rows([Caption("A dog.", model="a"), Caption("A dog. A cat.")]))
    assert [(row["text"], row["model"]) for row in found] == [("A dog.", "a"), ("A cat.", None)]
    [found] = cut(captions.rows([LONG]), most=1)
    assert len(found) == 1


def test_long_sentences_are_cut_at_clauses():
    [found] = cut("one two three, four five six", most_words=4)
    assert [row["text"] for row in found] == ["one two three", "four five six"]
    assert {row["origin"] for row in found} == {"raw"}


def test_nothing_and_text_without_words():
    nameless = {**LONG.row, "text": None}
    assert cut("", [], [nameless], "...", None) == [[], [], [], [], []]


@pytest.mark.parametrize("wrong", [{"least_words": 0}, {"most": 0}, {"most_words": 1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"at least 1|most_words"):
        SplitCaptions(**wrong)


def test_in_a_build_the_column_is_called_after_the_instance(make_build):
    recipe = f"{SCORED}  sub: {{scorer: 'recaption.split:SplitCaptions', least_words: 1}}\n"
    recipe += "  again: {scorer: 'recaption.split:SplitCaptions', of: sub}\n"
    recipe += "select:\n  - some: {where: \"len(again) > 0 and again[1].kind = 'sentence'\"}\n"
    build = built(make_build(recipe), "score")
    shard = build.open_pool().shards[0]
    resolved, _ = build.resolve(build.open_pool())
    tables = {i.name: i.columns.read(shard).to_pydict() for i in resolved.instances}
    assert tables["sub"]["sub"] == tables["again"]["again"]
    assert tables["sub"]["sub"][0][0]["text"] == "picture number 0 größe"
    assert build.select().summary["kept"] > 0
