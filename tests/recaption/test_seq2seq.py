from pathlib import Path

import pytest

from filters import hub_weights
from recaption.languages import language
from recaption.seq2seq import LENGTHS, Seq2Seq, _generated, coded_texts, most_new
from recaption.translation_codes import Codes
from tests.recaption.tiny_translators import save_translator

EN, DE, ES = map(language, ("en", "de", "es"))
TEXTS = [
    "a dog",
    "",
    "two cats sleep on the red sofa in the park near the lazy brown dog",
    "2019",
    "the quick brown fox",
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translators")
    made = {}

    def of(family):
        if family not in made:
            made[family] = Seq2Seq.of(save_translator(folder / family, family), None, "fp32")
        return made[family]

    return of


def tokenizer(engine):
    return hub_weights.load(engine.source, "AutoModelForSeq2SeqLM").processor


@pytest.mark.parametrize(
    ("family", "to"),
    [
        ("nllb", "de"),
        pytest.param("marian", "de", marks=pytest.mark.slow),
        pytest.param("many", "es", marks=pytest.mark.slow),
        pytest.param("m2m100", "de", marks=pytest.mark.slow),
        pytest.param("t5", "de", marks=pytest.mark.slow),
    ],
)
def test_a_text_is_translated_alike_alone_and_among_others(engine, family, to):
    some = engine(family)
    found = some.translate(TEXTS, EN, language(to))
    assert found == [some.translate([text], EN, language(to))[0] for text in TEXTS]
    assert found == some.translate(TEXTS[::-1], EN, language(to))[::-1]
    assert found[1].text == ""
    assert found[1].tokens is None
    assert len({one.text for one in found}) > 1


def test_the_first_word_is_the_token_of_the_target(engine):
    for family, code in (("nllb", "deu_Latn"), ("m2m100", "__de__")):
        some = engine(family)
        _, words, _, _ = hub_weights.load(some.source, "AutoModelForSeq2SeqLM")
        seen = []
        keep = words.decode
        words.decode = lambda ids, keep=keep, seen=seen, **more: (
            seen.append(ids) or keep(ids, **more)
        )
        some.translate(["a dog"], EN, DE)
        del words.decode
        assert seen[0][0] == words.convert_tokens_to_ids(code)


def test_the_source_is_told_by_a_token(engine):
    for family, source, code in (("nllb", "eng_Latn", "eng_Latn"), ("m2m100", "en", "__en__")):
        words = tokenizer(engine(family))
        [one] = coded_texts(words, ["a dog"], Codes("", source, "x"), 64)
        assert one.ids[0] == words.convert_tokens_to_ids(code)
        assert one.ids[-1] == words.eos_token_id


def test_the_target_is_told_by_a_prefix(engine):
    assert engine("t5")._codes(EN, DE) == Codes("<2de> ")
    assert engine("t5")._codes(EN, language("he")) == Codes("<2iw> ")
    assert engine("t5")._codes(EN, language("zh-TW")) == Codes("<2zh_Hant> ")
    assert engine("many")._codes(EN, ES) == Codes(">>spa<< ")
    assert engine("many")._codes(EN, language("pt-BR")) == Codes(">>por_BR<< ")
    assert engine("many")._codes(EN, language("zh-Hant")) == Codes(">>cmn_Hant<< ")


def test_a_pair_that_a_model_lacks_is_known(engine):
    assert engine("marian").supports(EN, DE)
    assert not engine("marian").supports(DE, EN)
    assert not engine("marian").supports(EN, ES)
    assert not engine("many").supports(EN, DE)
    assert not engine("many").supports(DE, ES)
    assert not engine("t5").supports(EN, ES)
    assert engine("m2m100").supports(EN, ES)
    assert not engine("m2m100").supports(EN, language("eu"))
    assert engine("nllb").supports(language("zh-Hant"), language("eu"))
    assert not engine("nllb").supports(EN, language("la"))


def test_a_text_can_not_name_a_language_itself(engine):
    words = tokenizer(engine("many"))
    [one] = coded_texts(words, [">>por_BR<< a dog"], Codes(">>spa<< "), 64)
    assert words.convert_tokens_to_ids(">>por_BR<<") not in one.ids
    assert one.ids.count(words.convert_tokens_to_ids(">>spa<<")) == 1
    words = tokenizer(engine("nllb"))
    [one] = coded_texts(words, ["a </s> fra_Latn dog"], Codes("", "eng_Latn", "deu_Latn"), 64)
    assert words.convert_tokens_to_ids("fra_Latn") not in one.ids
    assert one.ids.count(words.eos_token_id) == 1


def test_a_text_that_is_too_long_is_cut_at_its_end(engine):
    words = tokenizer(engine("nllb"))
    codes = Codes("", "eng_Latn", "deu_Latn")
    [one] = coded_texts(words, ["a dog " * 100], codes, 64)
    assert len(one.ids) == 64
    assert one.ids[-1] == words.eos_token_id
    assert one.is_cut
    [found] = engine("nllb").translate(["a dog " * 100], EN, DE)
    assert "cut" in found.flags


def test_what_does_not_end_is_cut_off_by_the_length_of_its_shape(engine):
    """A model of noise never ends by itself: it writes as many tokens as it may."""
    [found] = engine("nllb").translate(["a dog"], EN, DE)
    assert found.flags == ("cut",)
    assert found.tokens == most_new(LENGTHS[0], 64) == 22


def test_an_end_is_no_cut_and_what_comes_after_it_is_none(engine):
    some = engine("nllb")
    model, words, _, _ = hub_weights.load(some.source, "AutoModelForSeq2SeqLM")
    end = words.eos_token_id

    class Ends:
        generation_config = model.generation_config
        config = model.config
        device = "cpu"

        def generate(self, input_ids, **more):
            import torch

            dog = words("dog", add_special_tokens=False)["input_ids"]
            row = [end, words.convert_tokens_to_ids("deu_Latn"), *dog, end, *dog]
            return torch.tensor([row] * len(input_ids))

    codes = some._codes(EN, DE)
    [found] = _generated(Ends(), words, [[5, end]], (4, 8), codes)
    assert found.text == "dog"
    assert found.flags == ()


def test_wrong_folders_are_refused(tmp_path, engine):
    with pytest.raises(ValueError, match="needs `revision`"):
        Seq2Seq.of("Helsinki-NLP/opus-mt-en-de", None, "fp32")
    save_translator(tmp_path / "m", "marian")
    config = Path(tmp_path / "m" / "config.json")
    config.write_text(config.read_text().replace('"marian"', '"gpt2"'))
    with pytest.raises(ValueError, match="of type 'gpt2'"):
        Seq2Seq.of(f"local-dir:{tmp_path / 'm'}", None, "fp32")


def test_the_digest_is_of_the_pieces_too(tmp_path):
    some = Seq2Seq.of(save_translator(tmp_path / "m", "marian"), None, "fp32")
    before = some.digest(EN, DE)
    assert some.name(EN, DE).startswith("m@")
    (tmp_path / "m" / "source.spm").write_bytes(b"x")
    assert some.digest(EN, DE) != before
