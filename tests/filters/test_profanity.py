"""Rude words: found whole, in many scripts, and never inside harmless ones."""

import time

import pytest

from filters.profanity import Profanity


def found(caption, **options):
    return Profanity(**options)({"caption": [caption]})["profane_words"][0]


@pytest.mark.parametrize(
    "caption",
    [
        "Scunthorpe United at Penistone, Cockburn and Dickinson of Middlesex",
        "an analysis class: assassin, cocktail, shiitake, titmouse, Titanic, therapist",
        "Clitheroe, Lightwater, raccoons, spices, a Wankel engine, niggardly, spastic",
        "Moby Dick beside a cock weathervane, blue tits, an ass and a bitch",
        "fish and chips with cheese, a bite of cake, Bite-size, bitewing, a fan club",
        "Picasso's magpie pica pica, El Niño, putamen, computadora, disputa, Putin",
        "fickle cipher, Hora de comer, Slut på resan, un retard de train, flame retardant",
        "хлеб, три рубля, оскорблять, корабля, потреблять, скипидар",
        "パチンコ屋, 操作系统, 你好世界, แกงกะหรี่, หีบเพลง, लंडन",
        "C-3PO, R2D2, Class 1t, 4ss, 5*****, ***, size 5hoes",
        "la guerra di Troia",
        "",
        "\x00\ud800 \u202e",
    ],
)
@pytest.mark.parametrize("veiled", [False, True])
def test_harmless(caption, veiled):
    assert found(caption, veiled=veiled) == []


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("What the FUCK is this Shit!", ["fuck", "shit"]),
        ("motherfucking,bullshit", ["motherfucking", "bullshit"]),
        ("ｆｕｃｋ you", ["fuck"]),
        ("So eine Scheiße, du Arschloch", ["scheisse", "arschloch"]),
        ("hijo de puta", ["puta"]),
        ("va te faire enculer, connard", ["enculer", "connard"]),
        ("che cazzo", ["cazzo"]),
        ("filho da puta do caralho", ["puta", "caralho"]),
        ("kurwa mać", ["kurwa"]),
        ("блядь, ты сука", ["блядь", "сука"]),
        ("orospu çocuğu", ["orospu"]),
        ("तू चूतिया है", ["चूतिया"]),
        ("他妈的，真是王八蛋", ["他妈的", "王八蛋"]),
        ("このキチガイめ", ["キチガイ"]),
        ("야 이 씨발놈아", ["씨발"]),
    ],
)
def test_found(caption, words):
    assert found(caption) == words


def test_words_that_are_harmless_elsewhere_count_in_their_own_language():
    assert found("une bite", languages=("fr",)) == ["bite"]
    assert found("a slut in a kut fan", languages=("en",)) == ["slut"]
    assert found("what a fuck", languages=("fr",)) == []


def test_mild_words_are_asked_for():
    assert found("Moby Dick and an ass", mild=True) == ["dick", "ass"]


def test_veiled_words():
    caption = "this sh1t is f*ck*ng bad, $hit, f u c k, f.u.c.k"
    assert found(caption) == []
    assert found(caption, veiled=True) == ["sh1t", "$hit", "f u c k", "f.u.c.k"]
    assert found("f*ck sh*t", veiled=True) == ["f*ck", "sh*t"]


def test_a_list_of_ones_own(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# mine\nfrobnic*\nGrue  # a beast\n\n坏话\nbad thing\n", encoding="utf-8")
    caption = "frobnicated GRUES and a grue, a bad thing, 说坏话"
    assert found(caption, words=str(path)) == ["frobnicated", "grue", "bad thing", "坏话"]
    first = Profanity(words=str(path)).identity
    other = tmp_path / "other.txt"
    other.write_bytes(path.read_bytes())
    assert Profanity(words=str(other)).identity == first
    assert Profanity().identity != first
    path.write_text("x*", encoding="utf-8")
    with pytest.raises(ValueError, match="2 to 24 letters"):
        Profanity(words=str(path), mild=True).prepare()
    with pytest.raises(ValueError, match="there is no file"):
        Profanity(words=str(tmp_path / "none.txt"))
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no UTF-8"):
        Profanity(words=str(other), veiled=True).prepare()


def test_share():
    values = Profanity()({"caption": ["fuck this", "a dog", "", "他妈的他妈的", "."]})
    assert values["profanities"] == [1, 0, 0, 2, 0]
    assert values["profanity_share"] == [0.5, 0.0, None, 2 / 3, 0.0]
    assert all(column == [] for column in Profanity()({"caption": []}).values())


def test_languages_are_checked():
    for wrong in ("en", ("xx",), ("mild",)):
        with pytest.raises(ValueError, match="languages is a list of en, de"):
            Profanity(languages=wrong)


@pytest.mark.parametrize("piece", ["a", "*", "a*", "a ", "fuck ", "他妈的", "a.b", "1a", "f."])
def test_a_huge_caption_takes_little_time(piece):
    start = time.process_time()
    found(piece * (10**6 // len(piece)), veiled=True)
    assert time.process_time() - start < 2
