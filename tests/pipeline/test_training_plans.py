"""Plans for texts: what is drawn at which weight, and what is missing in its place."""

from collections import Counter

import numpy as np
import pytest

from pipeline.keys import draw
from pipeline.training.plans import Drawn, Languages, Slots, SubCaptions, Text, closest, texts_of
from pipeline.training.samples import Pairs, Regions
from tests.pipeline.training_exports import caption

TEXTS = [
    Text("raw", None, ("txt",)),
    Text("long one", "en", ("long", "made")),
    Text("largo", "es", ("long", "translated")),
    Text("long two", "en", ("long", "made"), ("cut",)),
    Text("a", "en", ("sentence", "split")),
    Text("b", "en", ("sentence", "split")),
    Text("b", "en", ("sentence", "split")),
    Text("raw", "en", ("sentence", "split")),
    Text("c", "pt-BR", ("sentence", "split"), ("copy",)),
]


def dice_of(number, epoch=0):
    return lambda purpose: draw(str(number).encode(), 0, f"{purpose}-{epoch}")


def drawn(plan, times=4000):
    """How often each list of texts is chosen, as a share."""
    found = Counter(
        tuple(t.text if t else None for t in plan.choose(TEXTS, dice_of(n))) for n in range(times)
    )
    return {texts: count / times for texts, count in found.items()}


def is_near(found, expected):
    """Three standard errors of 4,000 draws are at most .024."""
    return found.keys() == expected.keys() and all(
        abs(found[n] - expected[n]) < 0.03 for n in found
    )


def test_a_caption_is_drawn_by_name_and_all_alike_in_it():
    found = drawn(Drawn({"txt": 1, "long": 3, "none": 5}))
    assert is_near(found, {("raw",): 1 / 4, ("long one",): 1 / 4, ("largo",): 1 / 4} | {
        ("long two",): 1 / 4
    })  # fmt: skip


def test_a_caption_is_drawn_by_language():
    plan = Drawn({"long": 1}, {"en": 3, "es": 1, "fr": 9})
    expected = {("long one",): 3 / 8, ("long two",): 3 / 8, ("largo",): 1 / 4}
    assert is_near(drawn(plan), expected)
    plan = Drawn({"long": 1, "txt": 1}, {"es": 1}, unflagged=True)
    assert drawn(plan, 20) == {("largo",): 1.0}


def test_captions_without_a_language_are_in_the_one_that_is_said():
    names = {"txt": 1}
    assert drawn(Drawn(names, {"en": 1}), 9) == {(None,): 1.0}
    assert drawn(Drawn(names, {"en": 1}, unlabelled="en"), 9) == {("raw",): 1.0}
    assert drawn(Drawn(names, {"es": 1}, unlabelled="en"), 9) == {(None,): 1.0}


def test_what_has_no_weight_is_taken_where_nothing_else_is():
    assert drawn(Drawn({"sentence": 1, "txt": 0}, unflagged=True), 200).keys() == {
        ("a",), ("b",), ("raw",),
    }  # fmt: skip
    assert drawn(Drawn({"none": 1, "txt": 0, "long": 0}), 50) == {("raw",): 1.0}
    assert drawn(Drawn({"long": 1}, {"fr": 1, "es": 0}), 50) == {("largo",): 1.0}


def test_a_weight_of_one_gives_the_originals():
    assert drawn(Drawn({"txt": 1.0, "long": 0.0})) == {("raw",): 1.0}


def test_the_raw_caption_and_then_sub_captions_without_repetition():
    found = drawn(SubCaptions(k=2, of=("sentence",)))
    pairs = [(a, b) for a in "abc" for b in "abc" if a != b]
    assert is_near(found, {("raw", *pair): 1 / 6 for pair in pairs})


def test_sub_captions_that_are_not_there_are_missing():
    for texts in drawn(SubCaptions(k=5), 40):
        assert texts[0] == "raw"
        assert set(texts[1:4]) == {"a", "b", "c"}
        assert texts[4:] == (None, None)
    plan = SubCaptions(k=2, of=("sentence", "translated"), unflagged=True, raw="none")
    pool = ("a", "b", "largo", "raw")
    assert set(drawn(plan, 400)) == {(None, a, b) for a in pool for b in pool if a != b}
    assert SubCaptions(k=5).places == 6


def test_languages_stand_in_their_order():
    found = drawn(Languages(("es", "fr", "pt", "en"), of=("long", "sentence"), unflagged=True))
    assert {texts[:3] for texts in found} == {("largo", None, None)}
    assert is_near({t[3]: s for t, s in found.items()}, {"long one": 0.2, "a": 0.2} | {
        "b": 0.4, "raw": 0.2
    })  # fmt: skip
    assert {t[2] for t in drawn(Languages(("es", "fr", "pt-br")), 20)} == {"c"}


def test_of_the_languages_some_are_drawn():
    texts = [Text(tag, tag) for tag in ("es", "de", "en")]
    plan = Languages(("de", "en", "es", "zh"), k=2)
    found = Counter(
        tuple(t.text if t else None for t in plan.choose(texts, dice_of(n))) for n in range(4000)
    )
    shares = {texts: count / 4000 for texts, count in found.items()}
    assert is_near(shares, dict.fromkeys([("de", "en"), ("de", "es"), ("en", "es")], 1 / 3))
    assert plan.choose(texts[:1], dice_of(0)) == [texts[0], None]


def test_slots_hold_a_caption_of_each_name():
    found = drawn(Slots(("txt", "translated", "none")), 20)
    assert found == {("raw", "largo", None): 1.0}
    assert {t[1] for t in drawn(Slots(("txt", "made")), 99)} == {"long one", "long two"}
    assert {t[1] for t in drawn(Slots(("txt", "made"), unflagged=True), 99)} == {"long one"}


@pytest.mark.parametrize(
    "plan", [Drawn({"sentence": 1}), SubCaptions(2), Languages(("en",)), Slots(("sentence",))]
)
def test_another_epoch_is_another_draw(plan):
    def choices(epoch):
        return [plan.choose(TEXTS, dice_of(n, epoch)) for n in range(50)]

    assert choices(0) == choices(0)
    assert choices(0) != choices(1)
    assert all(len(one) == plan.places for one in choices(0))
    assert plan.choose([], dice_of(0)) == [None] * plan.places


@pytest.mark.parametrize(
    ("tag", "under"),
    [("en", "en"), ("EN-us", "en"), ("zh-Hant-TW", "zh-Hant"), ("zh-TW", "zh"), ("e", None)],
)
def test_a_tag_falls_under_the_closest(tag, under):
    assert closest(tag, dict.fromkeys(("en", "zh", "zh-Hant"))) == under


def test_texts_are_members_and_captions_but_those_of_regions():
    captions = [
        caption("one", "long", "en", column="made", flags=["cut"]),
        caption("of a box", "region", box=[0, 0, 1, 1]),
        caption("", "long"),
        caption("web", "raw"),
    ]
    members = {"txt": b"raw", "es.txt": "año".encode(), "no.txt": b"", "jpg": b"x", "json": b"{}"}
    assert texts_of(members, captions) == [
        Text("año", None, ("es.txt",)),
        Text("raw", None, ("txt",)),
        Text("one", "en", ("long", "made"), ("cut",)),
        Text("web", None, ("raw", "captions")),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drawn({}),
        lambda: Drawn({"txt": -1}),
        lambda: Drawn({"txt": float("nan")}),
        lambda: Drawn({"txt": 1}, {}),
        lambda: Drawn("txt"),
        lambda: Drawn(("txt", "long")),
        lambda: Drawn({"txt": "1"}),
        lambda: Drawn({"txt": None}),
        lambda: Drawn({1: 1}),
        lambda: Drawn({"txt": 1}, "en"),
        lambda: SubCaptions(0),
        lambda: SubCaptions(k=1.5),
        lambda: SubCaptions(k="2"),
        lambda: SubCaptions(k=True),
        lambda: SubCaptions(of=()),
        lambda: SubCaptions(of=(1,)),
        lambda: SubCaptions(of={"sentence": 1}),
        lambda: Languages(()),
        lambda: Languages(("en", "es"), k=1.0),
        lambda: Languages(7),
        lambda: Regions(most=2.5),
        lambda: Regions(least_px=-1),
        lambda: Regions(of=()),
        lambda: Pairs(Drawn({"txt": 1}), len, weights="alip_sample_weight"),
        lambda: Pairs(Drawn({"txt": 1}), len, at_least=0),
        lambda: SubCaptions(of="sentence"),
        lambda: Languages("en"),
        lambda: Languages(("en", "en")),
        lambda: Languages(("en",), k=2),
        lambda: Languages(("en",), of="raw"),
        lambda: Regions(of="region"),
        lambda: Slots("txt"),
        lambda: Slots(()),
    ],
)
def test_wrong_plans_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


def test_numbers_of_numpy_are_numbers():
    assert SubCaptions(np.int64(2)).places == 3
    assert Drawn({"txt": np.float32(0.5)}).places == 1
