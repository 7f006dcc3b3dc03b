"""Names survive: of painters, paintings, monuments, people and products, in sixty captions."""

from pathlib import Path

import pytest

from recaption.entities import entities, retained, said_words, says
from recaption.fusion import Fusion

_LINES = Path(__file__).with_name("named_captions.txt").read_text(encoding="utf-8").splitlines()
NAMED = [
    (caption, names.split("; "))
    for caption, _, names in (line.partition(" | ") for line in _LINES if not line.startswith("#"))
]


def fused(captions):
    told = Fusion("seen")({"caption": captions, "seen": ["A picture."] * len(captions)})
    return [str(row[0]["text"]) for row in told["captions"]]


def kept(rows, texts):
    pairs = [says(text, n) for text, (_, names) in zip(texts, rows, strict=True) for n in names]
    return sum(pairs) / len(pairs)


def test_the_list_is_whole():
    assert len(NAMED) == 60
    assert all(says(caption, name) for caption, names in NAMED for name in names)


@pytest.mark.parametrize("half", [NAMED[:30], NAMED[30:]], ids=["seen", "held out"])
def test_names_survive_fusion_by_rules(half):
    captions = [caption for caption, _ in half]
    assert kept(half, fused(captions)) >= 0.95
    sold = [f"{caption} | Buy now, free shipping - poster_1234.jpg" for caption in captions]
    assert kept(half, fused(sold)) >= 0.95
    assert kept(half, fused([caption.title() for caption in captions])) >= 0.55


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Vincent Van Gogh Self Portrait With Bandaged Ear", ["Vincent Van Gogh"]),
        ("My grandfather at 74 with friends", []),
        ("aged 9 in the garden", []),
        ("Leonardo da Vinci's Mona Lisa behind glass", ["Leonardo da Vinci", "Mona Lisa"]),
        ("J. R. R. Tolkien at home", ["J. R. R. Tolkien"]),
        ("Route 66 in 1965", ["Route 66", "1965"]),
        # a number beside a word that names nothing
        ("Not 3 but 4 cats", ["4 cats"]),
        ("A cat, but 4", []),
        ("But 4", []),
        ("Not 3 dogs, not 5 km away", []),
        ("Neither 3 nor 4", []),
        ("All 12 apostles", ["12 apostles"]),
        ("It is almost 50 km long", ["50 km"]),
        ("Not Apollo 11 but Apollo 12", ["Apollo 11", "Apollo 12"]),
        ("Windows 95, not Windows 3", ["Windows 95", "Windows 3"]),
        ("But Paris on May 4", ["Paris", "May 4"]),
        ("Mount St. Helens", ["Mount St. Helens"]),
        ("Statue of Liberty at night", ["Statue of Liberty"]),
        ("Photo of Liberty Island", ["Liberty Island"]),
        ('a poster of "The Kiss"', ["The Kiss"]),
        ("The Arc de Triomphe and the Avenue Foch", ["The Arc de Triomphe", "Avenue Foch"]),
        # letters that are not in capitals, whatever their script
        ("Зимний дворец в Петербурге ночью", ["Петербурге"]),
        ("Το βαγόνι για την μεταφορά", []),
        ("Le palais des Papes à Avignon", ["Papes", "Avignon"]),
        ("两只猫在草地上", []),
        # a text in loud letters hides what is a name
        ("RED DRESS IN BLUE", []),
    ],
)
def test_what_belongs_to_a_name(text, named):
    assert [one.removeprefix("The ") for one in entities(text)] == [
        one.removeprefix("The ") for one in named
    ]


def test_words_are_compared_without_signs():
    assert said_words("O'Connell_Bridge, 1900") == ["o", "connell", "bridge", "1900"]
    assert retained("O'Connell Bridge in Dublin", "the O’Connell bridge") == 0.5


@pytest.mark.parametrize("part", ["A. ", "Aa of ", "Aa 1 ", '"Aa ', "Aa's ", "von ", "Aa, ", "a@"])
def test_a_hostile_text_takes_no_time(part):
    entities(part * 9999)
