"""Texts of samples: the first, the best by score, or one drawn; in `txt`, in files, in the json."""

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.recipe import parse_recipe
from pipeline.texts import Choice, told
from recaption import captions
from tests.conftest import SCORED, built

PARTS = "tests.pipeline.test_each:Parts"
RECIPE = f"{SCORED}  words: {{scorer: '{PARTS}'}}\n"
RECIPE += "  each: {scorer: tests.pipeline.test_each:Length, text: words}\n"
RECIPE += "select:\n  - readable: {where: width is not null and caption is not null}\n"
RECIPE += "ingest: {rows_per_shard: 5}\n"


def caption(text, kind="short", language="en", flags=(), box=None):
    found = {"text": text, "kind": kind, "language": language, "flags": list(flags)}
    return found | {"box": box}


ROW = {
    "caption": "raw",
    "long": [caption("one", "long"), caption("eins", "long", "de"), caption("two", flags=["cut"])],
    "none": None,
    "empty": "",
    "score": 0.5,
    "scores": [0.1, None, 0.9],
    "no_scores": None,
}
KEYS = [digest(str(n).encode()) for n in range(4000)]


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (Choice(("caption",)), "raw"),
        (Choice(("empty",)), ""),
        (Choice(("none",)), None),
        (Choice(("long",)), "one"),
        (Choice(("long",), language="de"), "eins"),
        (Choice(("long",), kind="short"), "two"),
        (Choice(("long",), kind="short", unflagged=True), None),
        (Choice(("long",), language="fr"), None),
        (Choice(("caption", "long"), scores=("score", "scores")), "two"),
        (Choice(("caption", "long"), scores=("score", "scores"), unflagged=True), "raw"),
        (Choice(("long", "none"), scores=("no_scores", "no_scores")), None),
        (Choice(("empty", "none"), weights=(9.0, 1.0)), None),
    ],
)
def test_one_text_is_chosen(choice, text):
    assert choice.text(ROW, KEYS[0], 0, "txt") == text


MIXED = [
    caption("a dog", "region", box=[0.0, 0.0, 1.0, 1.0]),
    caption("dog, grass", "tags"),
    caption("I can't help with that.", "long", flags=["refusal"]),
    caption("A dog on grass. It runs.", "long"),
    caption("A dog.", "short"),
]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"prefer": ("long",), "unflagged": True, "whole": True}, "A dog on grass. It runs."),
        ({"prefer": ("long",), "whole": True}, "I can't help with that."),
        ({"prefer": ("short", "sentence")}, "A dog."),
        ({"prefer": ("none",), "whole": True}, "dog, grass"),
        ({}, "a dog"),
    ],
)
def test_kinds_are_preferred_and_boxes_and_flags_passed_over(more, text):
    assert Choice(("mixed",), **more).text({"mixed": MIXED}, KEYS[0], 0, "txt") == text


def test_a_caption_that_is_null_is_none():
    row = {"holes": [None, caption("one"), None], "scores": [0.9, 0.1, None]}
    assert Choice(("holes",)).text(row, KEYS[0], 0, "txt") == "one"
    assert Choice(("holes",), scores=("scores",)).text(row, KEYS[0], 0, "txt") == "one"
    assert [one["text"] for one in told(row, ["holes"], {"scores": "holes"})] == ["one"]
    assert told(row, ["holes"], {"scores": "holes"})[0]["scores"] == {"scores": 0.1}
    assert [one["text"] for one in captions.texts(row["holes"])] == ["one"]


def test_of_equal_scores_the_first_is_best():
    row = {"a": "first", "b": "second", "x": 0.3, "y": 0.3}
    assert Choice(("a", "b"), scores=("x", "y")).text(row, KEYS[0], 0, "txt") == "first"


def test_texts_are_drawn_at_their_weights_and_the_captions_of_a_column_alike():
    choice = Choice(("caption", "none", "long"), weights=(1.0, 5.0, 3.0))
    drawn = Counter(choice.text(ROW, key, 0, "txt") for key in KEYS)
    assert set(drawn) == {"raw", "one", "eins", "two"}
    for count in drawn.values():  # a quarter each: three standard errors are .02
        assert abs(count / len(KEYS) - 0.25) < 0.03


def test_another_seed_or_member_is_another_draw():
    choice = Choice(("caption", "long"), weights=(1.0, 1.0))
    drawn = [
        [choice.text(ROW, key, seed, salt) for key in KEYS[:200]]
        for seed, salt in [(0, "txt"), (1, "txt"), (0, "long"), (0, "txt")]
    ]
    assert drawn[0] == drawn[3]
    assert len({tuple(texts) for texts in drawn}) == 3


def test_captions_are_told_with_column_and_scores():
    found = told(ROW, ["long", "none"], {"scores": "long", "score": "other"})
    assert [one["text"] for one in found] == ["one", "eins", "two"]
    assert [one.get("scores") for one in found] == [{"scores": 0.1}, None, {"scores": 0.9}]
    assert {one["column"] for one in found} == {"long"}
    assert "flags" not in found[0]
    assert found[2]["flags"] == ["cut"]


@pytest.mark.slow
def test_every_text_goes_where_the_recipe_says(make_build):
    section = "{txt: {best: {words: letters}}, files: {one: words, none: {from: words,"
    section += " language: fr}}, json: [words, letters, caption_words]}"
    found = samples_of(built(make_build(f"{RECIPE}captions: {section}\n")))
    assert found
    for sample in found.values():
        fields = json.loads(sample["json"])
        own = [c for c in json.loads(fields["captions"]) if c.get("column") == "words"]
        texts = [c["text"] for c in own]
        assert texts
        assert sample["txt"].decode() == fields["caption"] == max(texts, key=len)
        assert sample["one.txt"].decode() == texts[0]
        assert sample["none.txt"] == b""
        scores = [c.get("scores", {}).get("letters") for c in own]
        assert scores == [len(text) if len(text) > 1 else None for text in texts]
        assert set(json.loads(fields["columns"])) == {"caption_words"}
        raw = [c for c in json.loads(fields["captions"]) if "column" not in c]
        assert [c["text"].split() for c in raw] == [texts]


@pytest.mark.slow
def test_copies_of_a_row_have_captions_of_their_own(make_build):
    more = "export: {seed: 3}\n"
    recipe = RECIPE.replace("select:\n", "select:\n  - more: {draw: 20, repeat: true}\n")
    build = built(make_build(f"{recipe}captions: {{txt: {{draw: {{words: 1}}}}}}\n{more}"))
    texts = {}
    for sample in samples_of(build).values():
        raw = json.loads(json.loads(sample["json"])["captions"])[0]["text"]
        texts.setdefault(raw, set()).add(sample["txt"].decode())
    assert all(own <= set(raw.split()) for raw, own in texts.items())
    assert sum(len(own) > 1 for own in texts.values()) > len(texts) / 2


def samples_of(build):
    found = {}
    for path in sorted((Path(build.out) / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                key, _, name = entry.name.partition(".")
                found.setdefault(key, {})[name] = tar.extractfile(entry).read()
    return found


@pytest.mark.slow
def test_profile_clip_draws_and_keeps_the_raw_caption_in_the_mix(make_build):
    found = samples_of(
        built(make_build(f"{RECIPE}captions: {{profile: clip, of: [words], raw: 0.5}}\n"))
    )
    drawn = Counter()
    for sample in found.values():
        fields = json.loads(sample["json"])
        raw = json.loads(fields["captions"])[0]["text"]
        assert any(c.get("column") == "words" for c in json.loads(fields["captions"]))
        assert sample["txt"].decode() in [raw, *raw.split()]
        drawn[sample["txt"].decode() == raw] += 1
    assert drawn[True] > 0
    assert drawn[False] > 0


@pytest.mark.slow
def test_profiles_mllm_and_t2i_take_the_first_and_tell_all(make_build):
    export = "export: {buckets: {sides: [16], step: 8}}\n"
    for profile, more in (("mllm", ""), ("t2i", export)):
        section = f"captions: {{profile: {profile}, of: [words]}}\n"
        found = samples_of(built(make_build(RECIPE + section + more)))
        assert found
        for sample in found.values():
            told = json.loads(json.loads(sample["json"])["captions"])
            words = [c["text"] for c in told if c.get("column") == "words"]
            assert sample["txt"].decode() == words[0]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{txt: nothing}", "no column 'nothing'; known are "),
        ("{txt: caption_words}", "column 'caption_words' holds int32, and a `txt` is text"),
        ("{txt: {best: {words: caption_words}}}", "'words' holds lists of captions, and"),
        ("{txt: {best: {caption: letters}}}", "'caption' holds one text, and 'letters' lists of"),
        ("{txt: {best: {captions: letters}}}", "'letters' holds scores of 'words'; those of"),
        ("{txt: {best: {caption: has_url}}}", "column 'has_url' holds bool, and scores are"),
        ("{txt: {from: caption, language: es}}", "'language' is for columns of captions, and"),
        ("{files: {es: {from: es}}}", "no column 'es'; known are "),
        ("{json: [nothing]}", "no column 'nothing'; known are "),
        ("{profile: t2i, of: [words]}", "`profile: t2i` needs sizes for its images"),
        ("{profile: clip, of: [nothing]}", "no column 'nothing'; known are "),
    ],
)
def test_wrong_choices_are_refused(make_build, section, problem):
    """Before anything runs, and with the place: no row has come in."""
    build = make_build(f"{RECIPE}captions: {section}\n")
    with pytest.raises(RecipeError) as error:
        build.check()
    assert problem in str(error.value)
    assert f"recipe.yaml:{RECIPE.count(chr(10)) + 1}:" in str(error.value)
    assert not Path(build.out).exists()


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{profile: clip}", "'profile' and 'of', the columns it takes, stand together"),
        ("{of: [long]}", "'profile' and 'of', the columns it takes, stand together"),
        ("{profile: mllm, of: [long], raw: 0.1}", "'raw' is for `profile: clip`"),
        ("{profile: clip, of: [long, caption]}", "the raw caption is in the mix by its share"),
        ("{files: {json: long}}", "'json' is a member of every sample"),
    ],
)
def test_sections_that_say_nothing_sensible_are_refused_at_once(section, problem):
    with pytest.raises(RecipeError) as error:
        parse_recipe(f"pool: x\ncaptions: {section}\n")
    assert problem in str(error.value)
