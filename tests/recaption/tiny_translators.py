"""Makes tiny translation models with random weights, as folders of transformers, by family."""

import json
from pathlib import Path
from typing import Any

SENTENCES = [
    "a dog in the park",
    "two cats sleep on the red sofa",
    "ein Hund im Park",
    "zwei Katzen schlafen",
    "un perro en el parque",
    "2019 was a good year",
    "the quick brown fox jumps over the lazy dog",
]
_SIZES = {"d_model": 32, "max_position_embeddings": 64}
_LAYERS = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 64))
}


def save_translator(folder: Path, family: str, seed: int = 0) -> str:
    """The name of a tiny model; `many` is a Marian with prefixes, `t5` one with those of MADLAD."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model, tokenizer = _MAKERS[family](folder)
    model.generation_config.num_beams = 4  # as published ones have; it must not count
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"local-dir:{folder}"


def _pieces(folder: Path) -> Path:
    import sentencepiece

    text = folder / "text.txt"
    text.write_text("\n".join(SENTENCES * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "pieces"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    text.unlink()
    return folder / "pieces.model"


def _vocabulary(pieces: Path, extra: list[str]) -> dict[str, int]:
    import sentencepiece

    read = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    known = [read.id_to_piece(n) for n in range(read.get_piece_size())]
    words = ["<s>", "<pad>", "</s>", "<unk>"]
    words += [word for word in known if word not in words] + extra
    return {word: number for number, word in enumerate(words)}


def _marian(folder: Path, codes: tuple[str, ...] = (), target: str = "de") -> tuple[Any, Any]:
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    pieces = _pieces(folder)
    vocabulary = _vocabulary(pieces, list(codes))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = MarianTokenizer(
        source_spm=str(pieces),
        target_spm=str(pieces),
        vocab=str(folder / "vocab.json"),
        source_lang="en",
        target_lang=target,
    )
    config = MarianConfig(
        vocab_size=len(vocabulary),
        **_SIZES,
        **_LAYERS,
        pad_token_id=1,
        eos_token_id=2,
        bos_token_id=0,
        decoder_start_token_id=1,
        forced_eos_token_id=2,
    )
    return MarianMTModel(config), tokenizer


def _many(folder: Path) -> tuple[Any, Any]:
    return _marian(folder, (">>spa<<", ">>por_BR<<", ">>cmn_Hant<<"), "ROMANCE")


def _m2m100(folder: Path) -> tuple[Any, Any]:
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    pieces = _pieces(folder)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary(pieces, [])))
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(pieces))
    config = _m2m_config(1 + max(tokenizer.lang_token_to_id.values()))
    return M2M100ForConditionalGeneration(M2M100Config(**config)), tokenizer


def _nllb(folder: Path) -> tuple[Any, Any]:
    from tokenizers import Tokenizer, models, trainers
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    whole = Tokenizer(models.BPE(unk_token="<unk>"))
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=special)
    whole.train_from_iterator([f"▁{s.replace(' ', '▁')}" for s in SENTENCES], trainer)
    made = json.loads(whole.to_str())["model"]
    merges = [tuple(merge) for merge in made["merges"]]
    tokenizer = NllbTokenizer(vocab=made["vocab"], merges=merges)
    return M2M100ForConditionalGeneration(M2M100Config(**_m2m_config(len(tokenizer)))), tokenizer


def _m2m_config(tokens: int) -> dict[str, Any]:
    ends = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    return {"vocab_size": tokens, **_SIZES, **_LAYERS, **ends}


def _t5(folder: Path) -> tuple[Any, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    whole = Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<pad>", "</s>", "<unk>", "<2de>", "<2iw>", "<2zh_Hant>", "<2zh>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    whole.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet),
    )
    whole.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=whole, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        initializer_factor=8.0,  # by the usual 1 all texts read the same
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config), tokenizer


_MAKERS = {"marian": _marian, "many": _many, "m2m100": _m2m100, "nllb": _nllb, "t5": _t5}
