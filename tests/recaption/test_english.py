import pytest

from recaption import english


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("car", "cars"),
        ("bus", "buses"),
        ("bench", "benches"),
        ("city", "cities"),
        ("key", "keys"),
        ("person", "people"),
        ("fireman", "firemen"),
        ("human", "humans"),
        ("knife", "knives"),
        ("tomato", "tomatoes"),
        ("photo", "photos"),
        ("sheep", "sheep"),
        ("aircraft", "aircraft"),
        ("scissors", "scissors"),
        ("tennis court", "tennis courts"),
        ("wind turbine", "wind turbines"),
    ],
)
def test_plurals(one, many):
    assert english.plural(one) == many


@pytest.mark.parametrize(
    ("noun", "said"),
    [
        ("apple", "an apple"),
        ("car", "a car"),
        ("hour", "an hour"),
        ("umbrella", "an umbrella"),
        ("university", "a university"),
        ("unicycle", "a unicycle"),
        ("old car", "an old car"),
        ("scissors", "scissors"),
        ("sheep", "a sheep"),
        ("aircraft", "an aircraft"),
    ],
)
def test_articles(noun, said):
    assert english.with_article(noun) == said


def test_numbers_and_lists():
    assert [english.number(n) for n in (0, 1, 10, 11)] == ["no", "one", "ten", "11"]
    assert english.counted(1, "ship") == "one ship"
    assert english.counted(3, "ship") == "three ships"
    assert english.listed([]) == ""
    assert english.listed(["a"]) == "a"
    assert english.listed(["a", "b", "c"]) == "a, b and c"
    assert english.sentence("there is a car") == "There is a car."
    assert english.sentence("Really?") == "Really?"
