"""The best caption by score, all in order, and a seeded mix of raw and synthetic ones."""

import math
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recaption import captions
from recaption.captions import Caption
from recaption.choice import BestCaption, FirstText, Mixed

A, B, C = (Caption(text, flags=flags) for text, flags in (("a", ()), ("b", ("cut",)), ("c", ())))
LONG = Caption("long", kind="long")


def best(scorer, **columns):
    return scorer({name: [value] for name, value in columns.items()})


def texts(found):
    return [caption["text"] for caption in found["captions"][0]]


@pytest.mark.parametrize(
    ("scores", "raw_score", "expected"),
    [
        ([0.1, 0.3, 0.2], 0.25, ["b"]),
        ([0.1, 0.1, 0.1], 0.1, ["raw"]),  # ties by order
        ([0.2, 0.3, 0.3], 0.1, ["b"]),
        ([0.1, None, math.nan], None, ["a"]),
        (None, 0.1, ["raw"]),
        ([None, None, None], None, []),
    ],
)
def test_the_best_is_that_of_the_highest_score(scores, raw_score, expected):
    asked = BestCaption(("caption", "made"), ("raw_score", "made_score"))
    assert asked.reads == ("caption", "made", "raw_score", "made_score")
    found = best(
        asked, caption="raw", made=[A.row, B.row, C.row], raw_score=raw_score, made_score=scores
    )
    assert texts(found) == expected
    assert list(found) == ["captions"]


def test_the_caption_stays_as_it_is():
    found = best(BestCaption(("made",), ("s",)), made=[A.row, B.row], s=[0, 1])
    assert found["captions"] == [[B.row]]


def test_all_are_kept_in_order_with_their_scores():
    asked = BestCaption(("caption", "made"), ("r", "s"), keep="all")
    found = best(asked, caption="raw", made=[A.row, B.row, C.row], r=0.5, s=[0.5, None, 0.9])
    assert texts(found) == ["c", "raw", "a", "b"]
    assert found["caption_scores"] == [[0.9, 0.5, 0.5, None]]
    assert asked.writes.names == ["captions", "caption_scores"]
    assert best(asked, caption=None, made=None, r=None, s=None) == {
        "captions": [[]],
        "caption_scores": [[]],
    }


def test_kinds_and_flags_limit_what_counts():
    made, scores = [A.row, B.row, LONG.row], [0.1, 0.9, 0.5]
    asked = BestCaption(("made",), ("s",), unflagged=True)
    assert texts(best(asked, made=made, s=scores)) == ["long"]
    asked = BestCaption(("made",), ("s",), kind="short", unflagged=True)
    assert texts(best(asked, made=made, s=scores)) == ["a"]


def test_scores_that_do_not_fit_are_refused():
    asked = BestCaption(("made",), ("s",))
    with pytest.raises(ValueError, match="2 captions need as many scores"):
        best(asked, made=[A.row, B.row], s=[0.1])
    with pytest.raises(ValueError, match="as many scores"):
        best(asked, made=[A.row], s=0.1)
    with pytest.raises(ValueError, match="one score"):
        best(asked, made="text", s=[0.1])
    for columns, scores, keep in (((), (), "best"), (("a",), (), "best"), (("a",), ("b",), "few")):
        with pytest.raises(ValueError, match=r"columns|known are"):
            BestCaption(columns, scores, keep)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, "b"),
        ({"unflagged": True}, "c"),
        ({"kind": "long"}, "long"),
        ({"language": "es"}, "hola"),
        ({"of": ("none", "raw", "made")}, "raw"),
        ({"of": ("made", "raw"), "kind": "raw"}, "raw"),
        ({"of": "none"}, None),
        ({"kind": "tags"}, None),
    ],
)
def test_the_first_text_is_that_of_the_first_caption_that_counts(limits, expected):
    made = [Caption(" ").row, B.row, C.row, LONG.row, Caption("hola", "es").row]
    asked = FirstText(**{"of": "made", **limits})
    known = {"made": made, "raw": "raw", "none": None}
    found = best(asked, **{name: known[name] for name in asked.reads})
    assert found == {"first_text": [expected]}
    assert asked.may_lack == asked.reads


def test_the_first_text_needs_a_column():
    with pytest.raises(ValueError, match="name a column"):
        FirstText(())


KEYS = [i.to_bytes(16, "big") for i in range(2000)]


def mixed(scorer, keys=KEYS, raw="raw", made=(A.row, C.row)):
    return scorer({"key": keys, "caption": [raw] * len(keys), "made": [list(made)] * len(keys)})[
        "captions"
    ]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.8, 1.0])
def test_the_rate_is_kept_and_captions_are_drawn_alike(rate):
    found = Counter(row[0]["text"] for row in mixed(Mixed("made", raw_rate=rate)))
    spread = 4 * math.sqrt(len(KEYS) * rate * (1 - rate))
    assert abs(found["raw"] - rate * len(KEYS)) <= spread
    assert abs(found["a"] - found["c"]) <= 4 * math.sqrt(len(KEYS) * (1 - rate))


def test_a_draw_depends_on_key_and_seed_alone():
    asked = Mixed("made")
    assert mixed(asked, KEYS[::-1]) == mixed(asked)[::-1]
    assert mixed(asked, KEYS[:1]) == mixed(asked)[:1]
    assert mixed(Mixed("made", seed=1)) != mixed(asked)
    lower = [row[0]["text"] == "raw" for row in mixed(Mixed("made", raw_rate=0.3))]
    higher = [row[0]["text"] == "raw" for row in mixed(Mixed("made", raw_rate=0.6))]
    assert all(high or not low for low, high in zip(lower, higher, strict=True))  # nested


def test_a_pair_that_lacks_one_side_has_the_other():
    for rate in (0.0, 1.0):
        asked = Mixed("made", raw_rate=rate)
        assert texts({"captions": mixed(asked, KEYS[:1], None)})[0] in "ac"
        assert texts({"captions": mixed(asked, KEYS[:1], " ")})[0] in "ac"
        assert texts({"captions": mixed(asked, KEYS[:1], made=())}) == ["raw"]
        assert mixed(asked, KEYS[:1], None, ()) == [[]]
    only = Mixed("made", raw_rate=0.0, unflagged=True)
    assert texts({"captions": mixed(only, KEYS[:1], made=(B.row,))}) == ["raw"]


def test_a_rate_of_one_gives_the_raw_text_as_it_is():
    raw = "größe \n 猫  "
    found = mixed(Mixed("made", raw_rate=1.0), KEYS[:1], raw)
    assert found == [captions.texts(raw)]
    with pytest.raises(ValueError, match="raw_rate"):
        Mixed("made", raw_rate=1.5)


RECIPE = """\
sources:
  photos: {folder: photos/}
score:
  caption: {}
  best:
    scorer: 'recaption.choice:BestCaption'
    of: [caption]
    scores: [caption_words]
  mixed: {scorer: 'recaption.choice:Mixed', synthetic: best, raw_rate: 0.5}
"""


def test_a_build_chooses_by_columns_of_other_scorers(make_build):
    build = make_build(RECIPE, after="ingest")
    build.score()
    for name in ("best", "mixed"):
        paths = sorted((Path(build.out) / "columns" / name).glob("*/*.parquet"))
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        told = [row[name] for row in rows if row[name]]
        assert len(told) > 10
        assert all(row[0]["origin"] == "raw" for row in told)
        assert not any(row[f"{name}_error"] for row in rows)
