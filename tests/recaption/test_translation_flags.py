import time

import pytest

from recaption.languages import language
from recaption.translation_flags import CHECKS, Pair, flags

GOOD = [
    ("en", "A frog sits on a green leaf.", "es", "Una rana está sentada en una hoja verde."),
    ("en", "Two dogs", "es", "Dos perros"),
    ("en", "2 dogs", "de", "Zwei Hunde"),
    ("en", "No dogs in the park", "pt-BR", "Nenhum cachorro no parque"),
    ("en", "A bridge in London", "es", "Un puente en Londres"),
    ("en", "A painting by Claude Monet", "es", "Un cuadro de Claude Monet"),
    ("en", "Spanish dancers on a Monday in May", "es", "Bailarines españoles un lunes de mayo"),
    ("en", "Three cats sleep on a red sofa", "zh", "三只猫睡在红色的沙发上"),
    ("zh", "三只猫睡在红色的沙发上", "en", "Three cats sleep on a red sofa"),
    ("en", "A triangle", "zh", "三角形"),
    ("en", "A red telephone", "zh-Hant", "一個紅色的電話"),
    ("en", "Sales rose by 1,000.5 units", "es", "Las ventas subieron 1.000,5 unidades"),
    ("en", "Taj Mahal", "es", "Taj Mahal"),
    ("en", "Hotel", "es", "Hotel"),
    ("en", "Ha ha ha ha ha ha", "es", "Ja ja ja ja ja ja"),
    ("en", "To be continued...", "es", "Continuará..."),
    ("de", "Ein Hund mit Ball", "en", "A dog with a ball"),
    ("es", "Once gatos", "en", "Eleven cats"),
    ("en", "Open 2019", "ja", "2019年オープン"),
    ("fr", "Je ne vois pas de chat", "en", "I do not see a cat"),
    ("en", "It isn't red", "es", "No es rojo"),
    ("en", "A coin ($.10, $1.00)", "es", "Una moneda (0,10 $, 1 $)"),
    ("en", "50 Japanese yen", "zh", "五十日元"),
    ("en", "A cat 🐈 with Ω, 猫", "es", "Un gato 🐈 con ω, 猫"),
    ("en", "The sign 猫 of a cat", "zh", "猫的标志"),
    ("en", "10 yen", "es", "10 yenes (¥10)"),
]
WRONG = [
    ("copy", "en", "A frog sits here", "es", "A frog sits here."),
    ("wrong_language", "en", "A frog sits on a leaf", "es", "Der Frosch sitzt auf einem Blatt"),
    ("wrong_script", "en", "A dog", "ru", "Sobaka"),
    ("wrong_script", "en", "A red telephone", "zh-Hant", "一个红色的电话"),
    ("length_ratio", "en", "A frog sits on a green leaf in the pond.", "es", "Una."),
    ("length_ratio", "en", "A dog", "es", "Un perro muy grande que corre por todo el parque verde"),
    ("length_ratio", "en", "A dog", "zh", "一只很大的狗在公园里跑来跑去非常高兴而且很可爱"),
    ("numbers", "en", "2 dogs", "de", "3 Hunde"),
    ("numbers", "en", "Two dogs", "es", "Tres perros"),
    ("numbers", "en", "A dog", "es", "5 perros"),
    ("numbers", "en", "Two dogs", "zh", "三只狗"),
    ("numbers", "en", "Built in 1999", "ja", "1989年に建てられた"),
    ("numbers", "en", "Two dogs and 50 cats", "zh", "三只狗和五十只猫"),
    ("numbers", "en", "A dog on route 66", "es", "Un perro en la ruta"),
    ("negation", "en", "A street without cars", "es", "Una calle con coches"),
    ("negation", "en", "The door isn't open", "zh", "门开着"),
    ("names", "en", "A bridge in London", "es", "Un puente en París"),
    ("loop", "en", "A dog", "es", "perro perro perro perro perro"),
    (
        "loop",
        "en",
        "A dog and a cat",
        "es",
        "un perro y un perro y un perro y un perro y un perro y",
    ),
    ("loop", "en", "A dog", "zh", "狗狗狗狗狗狗"),
    ("leftover_token", "en", "A dog", "es", ">>spa<< Un perro"),
    ("leftover_token", "en", "A dog", "es", "<2es> Un perro"),
    ("leftover_token", "en", "A dog", "es", "spa_Latn Un perro"),
    ("leftover_token", "en", "A dog", "es", "Un QXAQ"),
    ("lost", "en", "A cat 🐈", "es", "Un gato"),
    ("lost", "en", "A sign that says 猫", "es", "Un cartel que dice gato"),
    ("lost", "zh", "Москва 的街道", "en", "A street in Moscow"),
    ("cut", "en", "A dog in the park", "es", "Un perro en el..."),
]


@pytest.mark.parametrize(("source", "text", "target", "said"), GOOD)
def test_good_translations_have_no_flag(source, text, target, said):
    assert flags(Pair(text, said, language(source), language(target))) == []


@pytest.mark.parametrize(("flag", "source", "text", "target", "said"), WRONG)
def test_what_is_wrong_has_its_flag(flag, source, text, target, said):
    assert flag in flags(Pair(text, said, language(source), language(target)))


def test_every_check_has_an_example():
    assert {one[0] for one in WRONG} == set(CHECKS)


def test_nothing_is_empty():
    assert flags(Pair("A dog", " ", language("en"), language("es"))) == ["empty"]


@pytest.mark.parametrize("times", [4, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_loop_is_more_than_four_times_the_same(size, times):
    run = " ".join(["uno", "dos", "tres", "cuatro"][:size] * times)
    assert CHECKS["loop"](Pair("x", run, language("en"), language("es"))) == (times > 4)


def test_a_text_of_hostile_length_takes_no_square_of_its_time():
    source = " ".join(f"A car of Ax{chr(97 + n % 26) * (n % 500)} there." for n in range(6_000))
    pair = Pair(source, source.replace("there", "por allí"), language("en"), language("es"))
    started = time.monotonic()
    assert not CHECKS["names"](pair)
    assert time.monotonic() - started < 15
