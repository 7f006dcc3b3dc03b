"""Quality flags: for each rule what it finds, and what comes near and is fine."""

import time

import pytest

from recaption import captions, flag_words
from recaption.captions import Caption
from recaption.flags import RULES, CaptionFlags, FlagCounts
from tests.conftest import SCORED, built

LONG = (
    "A brown dog runs along the beach on a sunny day. Its ears are long. Behind it are two boats."
)


def flags(text, raw=(), scorer=None, **about):
    caption = Caption(text, **{"language": None, **about})
    return (scorer or CaptionFlags()).flags_of(caption.row, raw)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I am sorry, I cannot describe this picture.",
        "I cannot identify people in images.",
        "A dog. Unfortunately, I am unable to provide more details.",
        "No image was provided.",
        "Please provide the image you want me to describe.",
        "I don't see any image attached.",
        "Es tut mir leid, aber das Bild ist leer.",
        "Ich kann das Bild nicht sehen.",
        "Je suis désolé, je ne peux pas vous aider.",
        "En tant qu'IA, je ne vois rien.",
        "Lo siento, no puedo ayudar con eso.",
        "Desculpe, não posso ajudar.",
        "Mi dispiace, non posso aiutare.",
        "Het spijt me, dat kan niet.",
        "Przepraszam, ale nie mogę pomóc.",
        "К сожалению, я не могу это описать.",
        "Üzgünüm, bu konuda yardımcı olamam.",
        "抱歉，我无法描述这张图片。",
        "作为一个人工智能，我不能看图。",
        "申し訳ありませんが、お答えできません。",
        "죄송합니다. 이미지를 볼 수 없습니다.",
        "عذراً، لا أستطيع رؤية الصورة.",
        "क्षमा करें, मैं मदद नहीं कर सकता।",
        "ขออภัย ไม่สามารถอธิบายภาพได้",
    ],
)
def test_refusals(text):
    assert "refusal" in flags(text)


@pytest.mark.parametrize(
    "text",
    [
        'A sign reads "Sorry, I can\'t help you" beside a door.',
        "A man who is sorry, holding flowers.",
        "A dog that cannot see the ball.",
        "I can't see the forest for the trees, a poster.",
        "Please share this photo with your friends.",
        "A cartoon of an AI robot at a desk.",
        "Una mujer dice que no puede ayudar.",
        "Eine Katze, die nicht sehen kann.",
        "没有抱歉的故事，一本书的封面",
        "The picture shows a help desk.",
    ],
)
def test_what_only_sounds_like_a_refusal(text):
    assert "refusal" not in flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "Sure, here is a caption: A dog.",
        "Certainly! Here's a description of the image.",
        "Here is a short caption for the picture: A dog.",
        "Caption: A dog on grass.",
        "ASSISTANT: A dog on grass.",
        "A dog on grass.<|im_end|>",
        "[INST] Describe [/INST] A dog",
        "A dog.</s>",
        "<image> A dog on grass",
        "A dog. As an AI language model I like it.",
        "The user wants a description of a dog.",
        "### Response\nA dog",
        "Based on the provided alt text, this is a dog.",
        "A dog named {caption}",
        "I hope this helps!",
        "Voici une brève description de l'image : un chien",
        "好的，这张图片是一只狗。",
        "Вот описание картинки: собака",
    ],
)
def test_leaked_prompts(text):
    assert "leaked_prompt" in flags(text)


@pytest.mark.parametrize(
    "text",
    [
        'A screen that says "Sure, here is a caption".',
        "Here is the dog that won the race",
        "Model: Kate in a red dress",
        "A user manual on a desk",
        "The user of this phone is young",
        "A human assistant helps a child",
        "a < b and b > c on a blackboard",
        "Sure Start children's centre, Leeds",
        "Feel free to contact us",
        "A book with the caption on its cover",
    ],
)
def test_what_only_looks_like_a_leak(text):
    assert "leaked_prompt" not in flags(text)


def test_words_of_the_prompt_are_a_parameter():
    scorer = CaptionFlags(prompt_words=("Use at most 25  words",))
    assert flags("A dog. use at most 25 words!", scorer=scorer) == ["leaked_prompt"]
    assert flags("A dog. At most 25 words.", scorer=scorer) == []


@pytest.mark.parametrize(
    "text",
    [
        "dog dog dog dog dog dog",
        "a red car and a red car and a red car and a red car and",
        "A dog runs. A cat sits there. A dog runs on grass. A cat sits there. A cat sits there.",
        "小狗在小狗在小狗在小狗在小狗在",
        "the man is on the left of the man who is on the left of the man who is on the left of the"
        " man who is on the left of the man who is",
    ],
)
def test_loops(text):
    assert "loop" in flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "New York, New York, New York",
        "very very very big dog",
        "a red car, a blue car, a green car and a white car on a road",
        "Ha ha ha ha, said the clown.",
        LONG,
        "哈哈哈哈，一只小狗在草地上跑",
    ],
)
def test_what_repeats_a_little_is_no_loop(text):
    assert "loop" not in flags(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (LONG.removesuffix("two boats."), "long"),
        ("A dog runs. It is brown. Behind it ther", "long"),
        ("A big dog sits on the", "short"),
        ("A big dog, a cat,", "short"),
        ("A big dog and a small ...", "short"),
        (
            "A dog on a beach with palm trees and boats behind it in the evening sun near a cit",
            "long",
        ),
        ("一只狗在草地上跑。它是棕色的。后面有", "long"),
    ],
)
def test_captions_that_end_too_early(text, kind):
    assert "cut" in flags(text, kind=kind)


@pytest.mark.parametrize(
    "text",
    [
        "A dog on grass",
        LONG,
        "A lamp that is turned on",
        "- a dog\n- a cat\n- two birds",
        'A dog runs. The sign says "Go"',
        "A dog runs. See www.example.com/dogs",
        "A dog runs (slowly). It is old (very old)",
        "ชายคนหนึ่งขี่ม้า",
        "Plan A",
    ],
)
def test_whole_captions(text):
    assert "cut" not in flags(text)


def test_an_answer_as_long_as_the_limit_is_cut():
    scorer = CaptionFlags(most_tokens=64)
    assert flags("A dog.", tokens=64, scorer=scorer) == ["cut"]
    assert flags("A dog.", tokens=63, scorer=scorer) == []


@pytest.mark.parametrize(
    ("text", "language", "wrong"),
    [
        ("Un chien brun court sur la plage près de la mer.", "en", True),
        ("A brown dog runs along the beach near the sea.", "fr", True),
        ("A brown dog runs along the beach near the sea.", "zh", True),
        ("Ein brauner Hund läuft am Strand in der Nähe des Meeres.", "de-AT", False),
        ("A brown dog runs along the beach near the sea.", "en", False),
        ("一只棕色的狗在海边的沙滩上奔跑。", "zh-Hans", False),
        ("一只棕色的狗在海边的沙滩上奔跑。", "ja", True),
        ("Собака бежит", "en", True),
        ("En brun hund løber langs stranden ved havet i dag.", "nb", False),
        ("Taj Mahal, Agra", "fr", False),
        ("iPhone 12 Pro", "zh", False),
        ('A sign in a street of Paris says "Défense de stationner devant la porte".', "en", False),
        ("A brown dog runs along the beach near the sea.", None, False),
        ("A brown dog runs along the beach near the sea.", "xx-none", False),
    ],
)
def test_the_language_of_a_caption(text, language, wrong):
    assert ("wrong_language" in flags(text, language=language)) is wrong


@pytest.mark.parametrize("text", ["A picture of an object.", "image not available", "The image."])
def test_generic(text):
    assert flags(text) == ["generic"]
    assert flags("A dog in the picture") == flags("The background is a forest.") == []


def test_copies_of_the_raw_text():
    raw = ["Nikon D90 photo of the Old Bridge, Mostar (2009)"]
    assert flags("nikon d90 photo of the old bridge mostar", raw) == ["copy"]
    assert flags("The Old Bridge in Mostar over the river", raw) == []
    assert flags("Old Bridge Mostar", ["Old Bridge Mostar"]) == []
    assert flags(raw[0], raw, origin="raw") == []
    assert flags("一只狗在草地上", ["一只狗在草地上跑"]) == ["copy"]


def test_unsafe_words_are_those_of_the_profanity_lists():
    assert flags("A fucking dog") == ["unsafe"]
    assert flags("A cock weathervane in Scunthorpe") == []


def test_a_good_caption_has_no_flag_and_flags_can_be_chosen():
    assert flags(LONG, language="en", kind="long") == []
    chosen = CaptionFlags(flags=("loop",))
    assert flags("I'm sorry, but I can't.", scorer=chosen) == []
    assert list(RULES) == [
        "refusal",
        "loop",
        "cut",
        "wrong_language",
        "leaked_prompt",
        "generic",
        "copy",
        "unsafe",
    ]


def test_flags_are_added_and_nothing_else_changes():
    row = captions.rows([Caption("dog " * 9, "en", kind="long", tokens=3, flags=("unsure",))])
    found = CaptionFlags(of="long", raw="caption")({"long": [row, []], "caption": ["x", "y"]})
    assert found["captions"] == [[{**row[0], "flags": ["loop", "unsure"]}], []]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"flags": ("nice",)}, "flags is a list of refusal"),
        ({"flags": "loop"}, "flags is a list"),
        ({"prompt_words": (" ",)}, "prompt_words is a list"),
        ({"most_tokens": 0}, "at least 1"),
    ],
)
def test_parameters_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        CaptionFlags(**wrong)


@pytest.mark.slow
def test_hostile_texts_take_bounded_time():
    for unit in ("a", "a ", "I'm sorry", '"', "<|", "sure, ", "here is a ", "(", "我", ". "):
        start = time.process_time()
        flags(unit * (1_000_000 // len(unit)), ["x " * 500_000], language="en")
        assert time.process_time() - start < 10, unit
    assert flags("") == []


def test_quotes_hide_what_a_sign_says():
    assert flag_words.unquoted('A sign "Sorry" and “no”.') == 'A sign "" and "".'


def test_conditions_can_ask_for_flags(make_build):
    recipe = f"{SCORED}  flagged: {{scorer: 'recaption.flags:CaptionFlags', raw: caption}}\n"
    recipe += "  counts: {scorer: 'recaption.flags:FlagCounts', of: flagged}\n"
    recipe += "select:\n"
    recipe += "  - whole: {where: \"not list_contains(list_extract(flagged, 1).flags, 'loop')\"}\n"
    recipe += (
        "  - clean: {where: \"clean_captions > 0 and not list_contains(flags_found, 'cut')\"}\n"
    )
    assert built(make_build(recipe), "score").select().summary["kept"] > 0


def test_counts():
    rows = [Caption("a", flags=("loop", "unsure")), Caption("b"), Caption("c", flags=("unsure",))]
    batch = {"long": [captions.rows(rows), []]}
    assert FlagCounts("long")(batch) == {
        "clean_captions": [1, 0],
        "flags_found": [["loop", "unsure"], []],
    }
    assert FlagCounts("long", but=("unsure",))(batch)["clean_captions"] == [2, 0]
