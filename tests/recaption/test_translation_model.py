import dataclasses

import pytest

from recaption import captions
from recaption.captions import Caption
from recaption.languages import language
from recaption.translation_flags import Pair
from recaption.translation_model import TranslationModel

WORDS = "a un dog perro red rojo cat gato runs corre the el house casa on"
EN, ES = language("en"), language("es")
PAIRS = [
    Pair("a dog", "un perro", EN, ES),
    Pair("the red dog runs on the red house", "el perro rojo corre", EN, ES),
    Pair("[CLS] a [SEP]", "", EN, ES),
    Pair("a dog " * 500, "un perro " * 500, EN, ES),
]


def save_rater(folder, labels=2, seed=0):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    known = {word: number for number, word in enumerate([*special, *WORDS.split()])}
    whole = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=whole,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=48,
        num_labels=labels,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def rater(tmp_path_factory):
    return save_rater(tmp_path_factory.mktemp("raters") / "two")


def test_a_value_is_that_of_its_pair_alone(rater):
    scorer = TranslationModel(of="es", model=rater)
    found = scorer.rated(PAIRS)
    assert all(0 < value < 1 for value in found)
    assert len(set(found)) == len(PAIRS)
    assert found == [scorer.rated([pair])[0] for pair in PAIRS]
    assert found == scorer.rated(PAIRS[::-1])[::-1]


def test_it_is_what_transformers_say(rater):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = rater.removeprefix("local-dir:")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logits = model(**tokenizer("a dog", "un perro", return_tensors="pt")).logits[0]
        turned = model(**tokenizer("un perro", "a dog", return_tensors="pt")).logits[0]
    wanted, other = logits.softmax(0), turned.softmax(0)
    scorer = TranslationModel(of="es", model=rater)
    assert scorer.rated(PAIRS[:1]) == pytest.approx([float(wanted[1])], abs=1e-5)
    first = dataclasses.replace(scorer, label="LABEL_0")
    assert first.rated(PAIRS[:1]) == pytest.approx([float(wanted[0])], abs=1e-5)
    turned_round = dataclasses.replace(scorer, translation_first=True)
    assert turned_round.rated(PAIRS[:1]) == pytest.approx([float(other[1])], abs=1e-5)


def test_lists_are_aligned_with_the_captions(rater):
    scorer = TranslationModel(of="es", model=rater)
    rows = captions.rows([Caption("un perro", "es", kind="raw"), Caption("un gato", None)])
    found = scorer({"es": [rows, []], "caption": ["a dog", "a cat"]})["translation_model"]
    assert found == [[scorer.rated(PAIRS[:1])[0], None], []]


def test_a_regressor_says_its_number(tmp_path):
    model = save_rater(tmp_path / "one", labels=1)
    found = TranslationModel(of="es", model=model).rated(PAIRS)
    assert len(set(found)) == len(PAIRS)
    with pytest.raises(ValueError, match="one output alone"):
        TranslationModel(of="es", model=model, label=1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"label": "good"}, "label 'good': the model has LABEL_0, LABEL_1"),
        ({"label": 2}, "label 2: the model has"),
        ({"precision": "int4"}, "precision 'int4'"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"revision": "0" * 40}, "is a folder; remove `revision`"),
        ({"model": "somebody/rater"}, "needs `revision`"),
        ({"model": "local-dir:/nowhere"}, "nowhere"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_runs(rater, given, told):
    with pytest.raises(ValueError, match=told):
        TranslationModel(**{"of": "es", "model": rater, **given})


def test_a_model_without_its_head_is_refused(tmp_path):
    from transformers import BertModel

    model = save_rater(tmp_path / "whole")
    BertModel.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "whole")
    with pytest.raises(ValueError, match="are missing"):
        TranslationModel(of="es", model=model).prepare()


def test_identity_follows_what_decides(rater, tmp_path):
    one = TranslationModel(of="es", model=rater)
    assert one.identity == TranslationModel(of="es", model=rater, batch_size=2).identity
    assert one.identity != TranslationModel(of="es", model=rater, label=0).identity
    other = save_rater(tmp_path / "other", seed=1)
    assert one.weights_digest != TranslationModel(of="es", model=other).weights_digest
