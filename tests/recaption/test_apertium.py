import os
import random

import pytest

from recaption import apertium
from recaption.apertium import Apertium, EngineFailed, pair
from recaption.languages import language
from tests.recaption.made_up_pairs import made_up_pairs

EN, ES, CA = map(language, ("en", "es", "ca"))
FLAWED = [  # the third has a word whose readings the tagger for Catalan to English lacks
    "Una orca.",
    "Un gos dorm.",
    "Un disc compacte (CD) per a música, pelis o dades.",
    "Una iguana.",
    "Un cucut",
]


class TestPairs:
    pytestmark = pytest.mark.system("apertium")

    @pytest.fixture(scope="class")
    def engine(self):
        engine = Apertium()
        yield engine
        engine.close()

    def _said(self, engine, *texts, to=ES, source=EN):
        return engine.translate(texts, source, to)

    def test_texts_come_out_in_order(self, engine):
        found = self._said(engine, "A frog.", "Two dogs and a cat", "")
        assert [t.text for t in found] == ["Una rana.", "Dos perros y un gato", ""]
        assert [t.flags for t in found] == [(), (), ()]

    def test_unknown_words_are_left_and_flagged(self, engine):
        (found,) = self._said(engine, "A florbled zyxt.")
        assert "florbled" in found.text
        assert "*" not in found.text
        assert found.flags == ("unknown_words",)

    def test_a_few_unknown_words_and_names_are_no_flag(self, engine):
        found = self._said(engine, "A florbled frog.", "A frog named Zyxt Florb.", "Zyxt.")
        assert [t.flags for t in found] == [(), (), ("unknown_words",)]

    def test_markup_and_special_signs_are_text(self, engine):
        found = self._said(engine, "[a] {b} ^c$ d/e <f> \\g @h", "<b>Dog</b>", "a\0b", "5 & 6 < 7")
        assert found[0].text == "[Un] {b} ^c$ d/e <f> \\g @h"
        assert found[1].text == "<b>Perro</b>"
        assert found[3].text == "5 & 6 < 7"

    def test_a_literal_star_is_no_mark(self, engine):
        assert self._said(engine, "a frog * a dog")[0].text == "Una rana * un perro"

    @pytest.mark.slow
    @pytest.mark.parametrize(("source", "to"), [(EN, ES), (EN, CA), (ES, EN), (CA, EN)])
    def test_a_text_is_translated_alike_whatever_the_others(self, source, to):
        texts = [*FLAWED, "What do you see when I see you?", "A worn shoe", "THANKS", "Vale"]
        one, other = Apertium(), Apertium()
        alone = [Apertium().translate([text], source, to)[0] for text in texts]
        assert one.translate(texts, source, to) == alone
        shuffled = list(texts)
        random.Random(3).shuffle(shuffled)
        found = dict(zip(shuffled, other.translate(shuffled, source, to), strict=True))
        assert [found[text] for text in texts] == alone
        one.close()
        other.close()

    def test_what_there_is(self, engine):
        assert engine.supports(EN, ES)
        assert engine.supports(language("en-US"), language("es-MX"))
        assert not engine.supports(EN, language("fi"))
        assert "eng-spa" in engine.pairs()

    def test_name_and_digest_name_the_files(self, engine):
        name, digest = engine.name(EN, ES), engine.digest(EN, ES)
        assert name.startswith("apertium-eng-spa@")
        assert name.partition("@")[2] in digest
        assert engine.digest(ES, EN) != digest


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A pair of one program, which knows one word, dies over another and hangs over a third."""
    words = {"dog": "perro", "cat": "*cat"}
    made_up_pairs(tmp_path, monkeypatch, {"eng-spa": words})
    yield tmp_path
    pair.cache_clear()
    apertium._installed.cache_clear()


@pytest.mark.slow
def test_a_text_that_kills_or_hangs_the_programs_costs_itself(made_up):
    engine = Apertium(timeout_s=2)
    found = engine.translate(["a dog", "a bomb", "a cat", "sleep", "dog dog"], EN, ES)
    texts = [f if isinstance(f, Exception) else f.text for f in found]
    assert texts[0::2] == ["a perro", "a cat", "perro perro"]
    assert isinstance(texts[1], EngineFailed)
    assert "ended with 1" in str(texts[1])
    assert isinstance(texts[3], EngineFailed)
    assert "no answer for 2 s" in str(texts[3])
    assert found[2].flags == ("unknown_words",)
    engine.close()


def test_the_digest_follows_the_data(made_up):
    before = Apertium().digest(EN, ES)
    (made_up / "data.bin").write_bytes(b"2")
    os.utime(made_up / "data.bin", (1, 1))
    pair.cache_clear()
    assert Apertium().digest(EN, ES) != before


def test_a_missing_program_or_file_is_told(made_up):
    (made_up / "data.bin").unlink()
    with pytest.raises(ValueError, match=r"data\.bin is missing"):
        Apertium().name(EN, ES)
    (made_up / "modes" / "eng-spa.mode").write_text("no-such-proc")
    with pytest.raises(ValueError, match="needs the program 'no-such-proc'"):
        Apertium().digest(EN, ES)


def test_a_variant_of_the_region_is_preferred(made_up):
    assert apertium.mode_of(EN, language("es-MX")) == "eng-spa"
    (made_up / "modes" / "eng-spa_MX.mode").write_text("eng-spa-proc")
    apertium._installed.cache_clear()
    assert apertium.mode_of(EN, language("es-MX")) == "eng-spa_MX"
    assert apertium.mode_of(EN, ES) == "eng-spa"
