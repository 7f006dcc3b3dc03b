import shutil

import pytest

from recaption import ctranslate
from recaption.ctranslate import CTranslate
from recaption.languages import language
from recaption.seq2seq import Seq2Seq
from tests.recaption.tiny_translators import save_translator

library = pytest.importorskip("ctranslate2")
EN, DE, ES = map(language, ("en", "de", "es"))
TEXTS = ["a dog", "", "two cats sleep on the red sofa in the park", "2019"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same tiny NLLB for transformers and, converted, for CTranslate2."""
    folder = tmp_path_factory.mktemp("converted")
    name = save_translator(folder / "nllb", "nllb")
    copied = ["tokenizer.json", "tokenizer_config.json"]
    converter = library.converters.TransformersConverter(str(folder / "nllb"), copy_files=copied)
    converter.convert(str(folder / "ct2"))
    return name, f"local-dir:{folder / 'ct2'}"


def test_it_says_what_transformers_say(folders):
    """But for the length at which noise is cut off: there it is that of a shape."""
    reference, converted = Seq2Seq.of(folders[0], None, "fp32"), CTranslate.of(folders[1], "auto")
    wanted = reference.translate(TEXTS, EN, DE)
    found = converted.translate(TEXTS, EN, DE)
    assert found[1] == wanted[1]
    for one, other in zip(found, wanted, strict=True):
        assert other.text.startswith(one.text)
        assert one.flags == other.flags
    assert len({one.text for one in found}) > 1


def test_a_text_is_translated_alike_alone_and_among_others(folders):
    some = CTranslate.of(folders[1], "auto")
    found = some.translate(TEXTS, EN, DE)
    assert found == [some.translate([text], EN, DE)[0] for text in TEXTS]


def test_pairs_and_names(folders):
    some = CTranslate.of(folders[1], "auto")
    assert some.supports(EN, ES)
    assert not some.supports(EN, language("la"))
    assert some.name(EN, DE).startswith("ct2@")
    assert some.name(EN, DE).partition("@")[2] in some.digest(EN, DE)


def test_wrong_folders_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="name a folder"):
        CTranslate.of("facebook/nllb-200-distilled-600M", "auto")
    with pytest.raises(ValueError, match=r"holds no model\.bin"):
        CTranslate.of(f"local-dir:{tmp_path}", "auto")
    with pytest.raises(ValueError, match="must be absolute"):
        CTranslate.of("local-dir:x", "auto")
    with pytest.raises(ValueError, match="precision 'int4'"):
        CTranslate.of(folders[1], "int4")
    shutil.copy(f"{folders[1].removeprefix('local-dir:')}/model.bin", tmp_path / "model.bin")
    with pytest.raises(ValueError, match="can't be loaded"):
        CTranslate.of(f"local-dir:{tmp_path}", "auto").prepare(EN, DE)


def test_without_the_package_it_is_refused(folders, monkeypatch):
    monkeypatch.setattr(ctranslate.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package"):
        CTranslate.of(folders[1], "auto")
