import json

import pytest

from recaption.glossaries import found_in, glossary_of, hide, show
from recaption.languages import language

ES, CA, ZH = map(language, ("es", "ca", "zh"))


def test_terms_are_hidden_and_put_back():
    glossary = glossary_of({"Tux": None, "paint box": "caja", "box": {"es": "bote"}})
    hidden = hide(glossary, "The Paint Box of Tux, a box", ES)
    assert hidden.text == "The QXAQ of QXBQ, a QXCQ"
    assert show("El QXAQ de qxbq, un QXCQ", hidden.wanted) == "El caja de Tux, un bote"
    assert hide(glossary, "a box", CA).text == "a box"
    assert hide((), "a box", CA).wanted == ()


def test_a_lost_or_doubled_term_is_told():
    wanted = hide(glossary_of({"Tux": None}), "Tux", ES).wanted
    assert show("nada", wanted) is None
    assert show("QXAQ QXAQ", wanted) is None
    assert show("QXAQ QXBQ", wanted) is None


def test_words_are_whole_and_chinese_signs_are_words():
    assert hide(glossary_of({"cat": None}), "a catalogue, a Cat", ES).text == "a catalogue, a QXAQ"
    assert hide(glossary_of({"猫": "gato"}), "红猫睡", ES).text == "红QXAQ睡"


def test_regions_and_all():
    glossary = glossary_of({"bus": {"es": "autobús", "es-MX": "camión"}, "x": ""})
    assert found_in(glossary, "A Bus", language("es-MX")) == {"Bus": "camión"}
    assert found_in(glossary, "A bus", language("es-AR")) == {"bus": "autobús"}
    assert found_in(glossary, "bus X", ZH) == {"X": "X"}


def test_more_terms_than_letters_stay():
    hidden = hide(glossary_of({"a": None}), "a " * 30, ES)
    assert len(hidden.wanted) == 26
    assert hidden.text.count(" a") == 4


def test_files(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps({"Tux": None, "box": {"es": "caja"}}))
    (tmp_path / "g.tsv").write_text("term\tes\tca\nTux\t\t\nbox\tcaja\n\n")
    for name in ("g.json", "g.tsv"):
        glossary = glossary_of(str(tmp_path / name))
        assert found_in(glossary, "box of Tux", ES) == {"box": "caja", "Tux": "Tux"}
    assert glossary_of(glossary) == glossary


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["a"], "must be a mapping"),
        ({"a": 3}, "words for 'a' must be text"),
        ({" ": "x"}, "a term is empty"),
        ({"a": {"xx-klingon": "b"}}, "not known"),
        ("/nowhere.json", "can't be read"),
    ],
)
def test_wrong_ones_are_refused(given, told):
    with pytest.raises(ValueError, match=told):
        glossary_of(given)


@pytest.mark.parametrize("given", [("a", "b"), (("a", "b"),), ["a"]])
def test_a_list_is_none(given):
    with pytest.raises(ValueError, match="must be a mapping or the path"):
        glossary_of(given)


def test_a_term_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="the term 'dog' is there twice"):
        glossary_of({"Dog": "perro", "dog": "can"})
    settled = glossary_of({"Dog": "perro"})
    assert glossary_of(settled) == settled


def test_a_table_needs_its_head(tmp_path):
    (tmp_path / "g.tsv").write_text("Tux\tTux\n")
    with pytest.raises(ValueError, match="first line must be"):
        glossary_of(str(tmp_path / "g.tsv"))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("term\tes\ndog\tperro\n\nDog\tcan\n", r"g\.tsv:4: the term 'Dog' is there twice"),
        ("term\tes\ndog\tperro\tcan\n", r"g\.tsv:2: more cells than the first line"),
        ("term\tes\tes\ndog\tperro\tcan\n", "its first line must be"),
    ],
)
def test_a_table_that_says_a_thing_twice_is_refused(tmp_path, table, problem):
    (tmp_path / "g.tsv").write_text(table)
    with pytest.raises(ValueError, match=problem):
        glossary_of(str(tmp_path / "g.tsv"))


def test_deep_json_can_not_be_read(tmp_path):
    (tmp_path / "g.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"g\.json: can't be read"):
        glossary_of(str(tmp_path / "g.json"))
