"""Concept captions: what is said of real pictures, of plain ones, and of nothing."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from filters import embedded
from recaption import captions, classes, concepts, looks
from recaption.concepts import Concepts, guesses, long_caption, with_article
from tests import pictures
from tests.conftest import SCORED, built

PHOTOS = "configs/quickstart/photos"


def photo(name, root):
    picture = Image.open(root / PHOTOS / name).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return np.asarray(ground.convert("RGB"))


@pytest.fixture(scope="module")
def root(request):
    return request.config.rootpath


def said(images, **parameters):
    return Concepts(**parameters)({"image": images})["captions"]


@pytest.mark.slow
def test_real_pictures_are_named_plainly(root):
    names = ("0170.jpg", "0079.jpg", "0477.png")
    found = said([photo(name, root) for name in names], kinds=("short", "long", "tags"))
    assert [row[0]["text"] for row in found] == [
        "A photo of a German shepherd dog.",
        "A photo of a red panda.",
        "A drawing of an ear of corn.",
    ]
    short, long, tags = found[0]
    assert long["text"] == f"{short['text']} The picture is mainly brown."
    assert tags["text"].startswith("German shepherd dog, dog")
    assert [c["kind"] for c in found[0]] == ["short", "long", "tags"]
    assert (short["origin"], short["language"], short["tokens"]) == ("synthetic", "en", 7)
    assert short["model"] == f"concepts@{Concepts().weights_digest[:12]}"
    assert pa.array(found, captions.WRITES.field(0).type)


@pytest.mark.slow
def test_values_do_not_depend_on_companions(root):
    images = [photo(name, root) for name in ("0170.jpg", "0059.png", "0477.png")]
    assert said(images) == [said([image])[0] for image in images]
    assert said([]) == []


@pytest.mark.slow
def test_a_plain_picture_is_said_to_be_plain_and_noise_is_nothing():
    plain = np.full((40, 60, 3), (200, 30, 30), np.uint8)
    assert said([plain])[0][0]["text"] == "A plain red picture."
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    assert said([noise, noise[:1, :1]])[0] == []


@pytest.mark.slow
def test_text_is_quoted_where_nothing_is_recognised():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    scorer = Concepts(text="ocr_text", kinds=("short", "long"))
    assert scorer.reads == ("image", "ocr_text")
    found = scorer({"image": [noise, noise], "ocr_text": ['SALE\n"today"', " "]})["captions"]
    assert found[0][0]["text"] == "A picture with the text \"SALE 'today'\"."
    assert found[0][1]["text"].count("SALE") == 1
    assert found[1] == []


def test_what_is_hardly_a_word_is_not_quoted():
    assert concepts.legible('666\nRAIL  ROAD\nLT\n"menu"\n一C') == "RAIL ROAD 'menu'"
    assert concepts.legible("营业中\n00.0 M1012") == "营业中"
    assert len(concepts.legible("word " * 1000)) <= 80


def test_sentences_of_a_long_caption():
    assert long_caption("A dog.", ["red", "grey"], "SALE") == (
        'A dog. The picture is mainly red and grey. The text "SALE" can be read.'
    )
    assert long_caption("A dog.", [], "") == "A dog."


def test_what_is_too_unlikely_is_flagged_or_not_said(monkeypatch):
    texts = []
    for likelihood in (0.9, 0.5, 0.1):
        found = [concepts.Guess("owl", likelihood)]
        monkeypatch.setattr(concepts, "guesses", lambda *_, found=found: found)
        texts += [[(c["text"], c["flags"]) for c in said([np.asarray(pictures.image(1))])[0]]]
    assert texts == [[("A photo of an owl.", [])], [("A photo of an owl.", ["unsure"])], []]


def logits(**odds):
    """Logits under which classes have the given probabilities, the rest shares what is left."""
    places = {int(name[1:]): value for name, value in odds.items()}
    rest = (1 - sum(places.values())) / (classes.CLASSES - len(places))
    return np.log(np.array([places.get(i, rest) for i in range(classes.CLASSES)], np.float32))


def test_the_narrowest_likely_name_is_taken():
    assert classes.tags(logits(_235=0.9), 0.5)[0].name == "German shepherd dog"
    assert classes.tags(logits(_182=0.3, _193=0.4), 0.5)[0].name == "terrier"
    assert classes.tags(logits(_182=0.3, _235=0.4), 0.5)[0].name == "dog"
    assert classes.tags(logits(_182=0.3, _340=0.4), 0.5)[0].name == "animal"
    assert classes.tags(logits(_182=0.3, _900=0.3), 0.5) == []


def test_the_list_of_classes_is_whole():
    members = classes._members()
    assert set().union(*members.values()) == set(range(classes.CLASSES))
    assert members["tabby cat"] == {281, 282}
    assert {"cat", "animal"} <= classes.groups_of("tabby cat")
    assert len(classes.names()) == len(set(classes.names()))
    assert all(name == name.strip() and name for name in classes.names())


@pytest.mark.slow
def test_a_word_of_both_is_the_narrower_one():
    vector = embedded.encode_texts(["cat"])[0]
    found = guesses(logits(_281=0.9), vector, "photo")
    assert found[0].name == "tabby cat"
    assert found[0].likelihood > 0.9


@pytest.mark.slow
def test_a_drawing_is_named_by_the_encoder_where_the_classifier_sees_another_thing():
    vector = embedded.encode_texts(["rocket"])[0]
    for kind in ("drawing", "photo"):
        assert guesses(logits(_281=0.9), vector, kind)[0].name == "rocket"


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("owl", "an owl"),
        ("unicycle", "a unicycle"),
        ("hourglass", "an hourglass"),
        ("scissors", "scissors"),
        ("jeans", "jeans"),
        ("sun", "the sun"),
    ],
)
def test_articles(name, phrase):
    assert with_article(name) == phrase


def test_every_word_that_is_said_is_in_the_vocabulary():
    assert set(concepts._NO_WORDS.split()) & set(concepts._vocabulary()) == set()
    assert len(concepts._vocabulary()) > 250


def test_photos_and_drawings():
    drawing = np.full((100, 100, 3), 255, np.uint8)
    drawing[30:70, 30:70] = (200, 0, 0)
    steps = np.linspace(0, 200, 150).astype(np.uint8)
    shaded = np.stack([np.add.outer(steps // 2, steps // 2)] * 3, axis=2)
    dice = np.random.default_rng(1).integers(0, 4, shaded.shape).astype(np.uint8)
    assert looks.kind(drawing) == "drawing"
    assert looks.kind(shaded + dice) == "photo"
    assert looks.kind(dice * 60) == "picture"
    assert looks.kind(np.zeros((1, 1, 3), np.uint8)) == "picture"


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "red"),
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
        ((20, 160, 40), "green"),
        ((30, 60, 200), "blue"),
        ((120, 70, 20), "brown"),
        ((250, 230, 0), "yellow"),
        ((230, 130, 20), "orange"),
        ((220, 200, 160), "beige"),
        ((240, 100, 170), "pink"),
        ((120, 30, 200), "purple"),
    ],
)
def test_colours(rgb, name):
    assert looks.colours(np.full((8, 8, 3), rgb, np.uint8)) == [name]
    assert looks.plain(np.full((8, 8, 3), rgb, np.uint8)) == name


def test_white_ground_is_no_colour_of_a_drawing():
    image = np.full((100, 100, 3), 255, np.uint8)
    image[:40, :50] = (255, 0, 0)
    assert looks.colours(image) == ["red"]
    assert looks.plain(image) is None


def test_kinds_that_are_none_are_refused():
    for wrong in ((), ("short", "poem"), "short"):
        with pytest.raises(ValueError, match="kinds is a list"):
            Concepts(kinds=wrong)


@pytest.mark.slow
def test_in_a_build(make_build):
    recipe = f"{SCORED}  concepts: {{scorer: 'recaption.concepts:Concepts'}}\n"
    recipe += "select:\n  - said: {where: len(concepts) > 0}\n"
    build = built(make_build(recipe), "score")
    assert 0 <= build.select().summary["kept"] <= 16
