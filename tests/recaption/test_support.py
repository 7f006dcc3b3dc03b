"""Support: things that a picture does not show are found, and sentences with them deleted."""

import numpy as np
import pytest

from filters import embedded
from filters.clip import ClipScore
from recaption import captions, nouns, support
from recaption.captions import Caption
from recaption.sightings import SEEN, judge
from recaption.support import Support, Supported
from tests.conftest import SCORED, built
from tests.filters.tiny_models import save_model
from tests.pictures import photo


class Encoder:
    """Stands for an encoder: the picture is what a text says, or several of them."""

    model = "embedded"

    def encode_texts(self, texts):
        return embedded.encode_texts(list(texts))


ENCODER = Encoder()


def picture(*things):
    mixed = embedded.encode_texts(list(things)).sum(axis=0)
    return mixed / np.linalg.norm(mixed)


def found(text, *things, seen=()):
    [[parts]] = judge(ENCODER, np.stack([picture(*things)]), [[text]], [frozenset(seen)])
    return parts


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("Two dogs chase a tabby cat near a lighthouse.", ["dog", "tabby cat", "lighthouse"]),
        ("A church bell, a table and a lamp", ["bell", "table", "lamp"]),
        ("Mice and geese", ["mouse", "goose"]),
        ('A sign with "dog food" and a tree', ["tree"]),
        ("A harvester crosses a wheatfield", ["harvester", "wheatfield"]),
        ("An orange car", ["car"]),
        ("A photo of the left side in summer", []),
        ("Ein Hund", []),
        ("", []),
    ],
)
def test_the_things_of_a_sentence(text, things):
    assert nouns.find(text) == things


def test_a_thing_has_the_names_of_its_kinds():
    assert {"tabby cat", "cat", "animal"} <= nouns.kinds_of("tabby cat")
    assert "hare" in nouns.kinds_of("wild rabbit")
    assert nouns.kinds_of("xyz") == {"xyz"}
    assert {"dog", "tree"} <= set(nouns.usual())


def test_a_thing_that_is_not_there_has_little_support():
    one, other = found("A dog runs. A piano stands there.", "dog")
    assert one.support["dog"] > 3
    assert other.support["piano"] < 0.5
    assert one.is_supported(0.5)
    assert not other.is_supported(0.5)
    assert found("It is brown.", "dog")[0].is_supported(0.5)


def test_what_an_expert_sees_is_there():
    [sentence] = found("A piano.", "dog", seen=["piano"])
    assert sentence.support == {"piano": SEEN}


@pytest.mark.slow
def test_support_is_the_distance_from_usual_things_in_deviations():
    image = picture("dog", "ball")
    usual = embedded.encode_texts(list(nouns.usual())).astype(np.float64) @ image
    wanted = (float(embedded.encode_texts(["cat"])[0] @ image) - usual.mean()) / usual.std()
    assert found("A cat.", "dog", "ball")[0].support["cat"] == pytest.approx(wanted, abs=1e-5)


@pytest.fixture
def seen(monkeypatch):
    """Pictures are what their pixel says: 0 a dog on grass, 1 a ship."""
    shown = [picture("dog", "grass"), picture("ship")]

    def encode(_, images):
        return np.stack([shown[int(image[0, 0, 0])] for image in images])

    monkeypatch.setattr(ClipScore, "encode_images", encode)
    return [np.full((4, 4, 3), value, np.uint8) for value in (0, 1)]


def flagged(seen, *rows, **parameters):
    scorer = Supported(of="long", **parameters)
    return scorer({"image": seen[: len(rows)], "long": [captions.rows(row) for row in rows]})[
        "captions"
    ]


GOOD, BAD = "A dog runs on grass.", "A ship with a piano is near."


@pytest.mark.slow
def test_captions_that_name_what_nobody_sees_are_flagged(seen):
    rows = [Caption(GOOD), Caption(f"{GOOD} {BAD}", "en", flags=("unsure",))], [Caption(BAD)]
    first, second = flagged(seen, *rows)
    assert [row["flags"] for row in first] == [[], ["unsupported", "unsure"]]
    assert [row["text"] for row in first] == [GOOD, f"{GOOD} {BAD}"]
    assert second[0]["flags"] == ["unsupported"]


def test_a_sentence_without_support_is_deleted_in_a_copy(seen):
    caption = Caption(f"{GOOD} {BAD} It is brown.", "en", kind="long", model="m@1", tokens=20)
    [rows] = flagged(seen, [caption, Caption(GOOD)], mend="delete")
    assert [row["text"] for row in rows] == [caption.text, f"{GOOD} It is brown.", GOOD]
    assert rows[0] == {**caption.row, "flags": ["unsupported"]}
    mended = {"text": rows[1]["text"], "kind": "mended", "tokens": None}
    assert rows[1] == {**caption.row, **mended}


def test_a_copy_must_score_higher(seen, monkeypatch):
    caption = [Caption(f"{GOOD} {BAD}", "en")]
    [_, _] = flagged(seen, caption, mend="delete")[0]
    monkeypatch.setattr(support.ClipScore, "encode_texts", _falling(ClipScore.encode_texts))
    [row] = flagged(seen, caption, mend="delete")[0]
    assert row["flags"] == ["unsupported"]


def _falling(encode):
    """An encoder that finds any second text of two less like the picture than the first."""

    def texts(self, listed):
        vectors = encode(self, listed)
        return np.stack([vectors[0], -vectors[0]]) if len(listed) == 2 else vectors

    return texts


def test_nothing_is_left_of_a_caption_without_any_support(seen):
    [rows] = flagged(seen, [Caption(BAD)], mend="delete")
    assert [row["kind"] for row in rows] == ["short"]


def test_other_languages_are_not_looked_at(seen):
    [rows] = flagged(seen, [Caption(f"{BAD}", "de"), Caption(BAD, "en-GB")])
    assert [row["flags"] for row in rows] == [[], ["unsupported"]]


def test_experts_are_columns_of_text_and_of_captions(seen):
    batch = {
        "image": seen,
        "caption": [BAD, BAD],
        "ocr_text": ["PIANOS and ships", ""],
        "tags": [[], captions.rows([Caption("piano", flags=("unsure",))])],
    }
    scorer = Supported(experts=("ocr_text", "tags"))
    assert scorer.reads == ("image", "caption", "ocr_text", "tags")
    first, second = scorer(batch)["captions"]
    assert (first[0]["flags"], second[0]["flags"]) == ([], ["unsupported"])


def test_numbers_for_a_text(seen):
    values = Support(experts=("tags",))(
        {"image": seen, "caption": [f"{GOOD} {BAD} Yes.", "It is."], "tags": ["grass", ""]}
    )
    assert values["support_things"] == [["dog", "grass", "ship", "piano"], None]
    assert values["support_values"][0][1] == SEEN
    assert values["support_min"][0] == min(values["support_values"][0])
    assert values["unsupported_sentences"] == [0.5, None]


def test_parameters_that_cannot_be():
    for wrong, message in (
        ({"mend": "burn"}, "mend is delete or rewrite"),
        ({"experts": "tags"}, "list of columns"),
        ({"threshold": float("nan")}, "finite"),
        ({"model": "embedded", "pretrained": "x"}, "brings its weights"),
    ):
        with pytest.raises(ValueError, match=message):
            Supported(**wrong)


def test_its_identity_changes_with_what_decides():
    assert Supported().identity != Supported(threshold=1.0).identity
    assert Supported().identity != Supported(mend="delete").identity
    assert Supported().identity == Supported(experts=()).identity


def test_nothing_is_judged_in_an_empty_batch():
    assert Supported()({"image": [], "caption": []}) == {"captions": []}


@pytest.mark.slow
def test_any_clip_model_may_judge(tmp_path):
    scorer = Supported(model=save_model(tmp_path / "model"), batch_size=4, mend="delete")
    scorer.prepare()
    batch = {"image": [photo(1), photo(2)], "caption": [GOOD, f"{GOOD} {BAD}"]}
    both = scorer(batch)["captions"]
    alone = [
        scorer({"image": [i], "caption": [c]})["captions"][0]
        for i, c in zip(batch["image"], batch["caption"], strict=True)
    ]
    assert both == alone


@pytest.mark.slow
def test_in_a_build_numbers_come_for_each_caption(make_build):
    recipe = f"{SCORED}  sub: {{scorer: 'recaption.split:SplitCaptions'}}\n"
    recipe += "  sure: {scorer: 'recaption.support:Supported', of: sub}\n"
    recipe += "  support: {scorer: 'recaption.support:Support', text: sure}\n"
    recipe += "select:\n  - some: {where: len(sure) > 0 and list_min(support_min) is null}\n"
    assert built(make_build(recipe), "score").select().summary["kept"] > 0
