"""Answers that a limit of tokens ended: what is whole of them stays."""

import pytest

from pipeline import texts
from recaption import captions, sentences
from recaption.cut_off import ended


@pytest.mark.parametrize(
    ("text", "language", "left"),
    [
        ("A dog runs. It is bro", "en", "A dog runs."),
        ("A dog runs. It is brown.", "en", "A dog runs. It is brown."),
        ("A dog runs! It barks at 3.", "en", "A dog runs!"),  # perhaps 3.5
        ("A dog runs. It meets Mr.", "en", "A dog runs."),
        ("A dog runs. It weighs 3.5 k", "en", "A dog runs."),
        ('A sign says "Stop. Go." It is r', "en", 'A sign says "Stop. Go."'),
        ('"A dog runs. It is b', "en", "A dog runs."),
        ("```text\nA dog runs. It is b", "en", "A dog runs."),
        ("- a red dog\n- a blu", "en", "- a red dog"),
        ("Ein Hund am 3. Mai. Er lä", "de", "Ein Hund am 3. Mai."),
        ("一只狗在跑。它是棕", "zh", "一只狗在跑。"),
        ("犬が走る。「速い。」と言", "ja", "犬が走る。"),
        ("犬が走る。看板に「止まれ。進", "ja", "犬が走る。"),
        ("Το σκυλί τρέχει; Είναι κα", "el", "Το σκυλί τρέχει;"),
        ("कुत्ता दौड़ता है। वह भू", "hi", "कुत्ता दौड़ता है।"),
    ],
)
def test_what_is_left_is_the_whole_sentences_as_they_stand(text, language, left):
    assert ended(text, language) == (left, ("shortened",))
    assert left in text


@pytest.mark.parametrize(
    "text", ["A dog that runs over", "", "...", "3.", "x" * 5000, "x, " * 2000 + "y", "一只"]
)
def test_without_a_whole_sentence_it_stays_and_is_cut(text):
    assert ended(text, "en") == (text, ("cut",))


def test_every_prefix_of_a_caption_gives_whole_sentences_of_it():
    whole = 'A man (about 30) stands by a door marked "Exit. Mind the step." He waits. Rain falls.'
    known = sentences.split(whole, "en")
    for length in range(1, len(whole)):
        left, (flag,) = ended(whole[:length], "en")
        assert flag in ("shortened", "cut")
        if flag == "shortened":
            assert sentences.split(left, "en") == known[: len(sentences.split(left, "en"))]


def test_notes_are_no_flaws_on_either_side():
    assert texts.NOTES == captions.NOTES
    row = captions.Caption("a dog", flags=("shortened", "loop")).row
    assert captions.flaws(row) == {"loop"}
