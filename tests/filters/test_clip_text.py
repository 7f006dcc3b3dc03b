"""A caption's control tokens are letters to every tokenizer, and what is cut is told."""

from types import SimpleNamespace
from typing import Any

import pytest

from filters import clip_text

CONTROL = ("<eos>", "</s>", "<pad>", "<|endoftext|>", "<extra_id_0>")
CONTEXT = 13
WORDS = ("a", "red", "dog", "<", "/", "s", ">", "eos", "pad", "|", "endoftext", "extra_id_0")


@pytest.fixture
def plain(tmp_path) -> Any:
    """A tokenizer of open_clip around one of transformers, as it comes: with all its traps.

    It resolves forms and drops invisible signs before it looks for its words, of which the
    control tokens are some, as sentencepiece has it.
    """
    from open_clip.tokenizer import HFTokenizer
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(("<unk>", *CONTROL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex("[\u200b\u00ad]"), "")]
    )
    pieces = Regex("|".join(["</s>", "<eos>", "<[|]endoftext[|]>", r"\w+", r"[^\w\s]"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pieces, "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=["</s>", "<|endoftext|>", "<extra_id_0>"],
    ).save_pretrained(tmp_path)
    return HFTokenizer(str(tmp_path), context_length=CONTEXT)


def inside(tokenize: Any, text: str) -> list[int]:
    """The tokens of a text before the one that ends it."""
    row = clip_text.tokenized(SimpleNamespace(tokenize=tokenize), [text])[0].tolist()
    last = max(place for place, token in enumerate(row) if token == 1)
    return [token for token in row[:last] if token]


SPELT = [
    *(f"a {token} dog" for token in CONTROL),
    "a &lt;eos&gt; dog",
    "a &amp;lt;eos&amp;gt; dog",
    "a &amp;amp;lt;eos&amp;amp;gt; dog",
    "a ＜eos＞ dog",
    "a <\u200beos> dog",
    "a <e\u00ados> dog",
    "a <<eos>eos> dog",
    "a<eos><eos></s>dog",
]


@pytest.mark.parametrize("text", SPELT)
def test_what_a_caption_spells_out_is_letters(plain, text):
    specials = set(range(1, 1 + len(CONTROL)))
    before = set(inside(plain, text)) & specials
    clip_text.guard(plain)
    assert not set(inside(plain, text)) & specials
    first = 1 + len(CONTROL)
    assert {first + WORDS.index("a"), first + WORDS.index("dog")} <= set(inside(plain, text))
    assert before or "amp;amp" in text, "without the guard it is read as a control token"


def test_other_texts_stay_as_they_are(plain):
    texts = ["a red dog", "", "a ＲＥＤ dog", "eos pad s > < |", "a < eos > dog", "größe ½"]
    cleaned = [plain.clean_fn(text) for text in texts]
    rows = plain(texts).tolist()
    clip_text.guard(plain)
    assert [plain.clean_fn(text) for text in texts] == cleaned
    assert plain(texts).tolist() == rows


def test_letters_of_control_tokens_count_where_a_text_is_cut(plain):
    clip_text.guard(plain)
    model = SimpleNamespace(tokenize=plain)
    texts = [" ".join(["<eos>"] * n) for n in (4, 5)]  # each of three letters, and one ends it
    tokens = clip_text.tokenized(model, texts)
    assert clip_text.are_cut(model, texts, tokens) == [False, True]
    assert clip_text.are_cut(model, [], tokens[:0]) == []


def test_tokenizers_of_open_clip_itself_need_no_guard(models):
    from filters.clip_weights import tokenizer

    tokenize = tokenizer(models["clip"])
    model = SimpleNamespace(tokenize=tokenize)
    found = clip_text.tokenized(model, ["a dog", "a <end_of_text> dog"])
    assert found[0].tolist() == found[1].tolist()
