"""How families of translation models are told the languages: tokens, prefixes, first words.

Marian's checkpoints have one pair, or a prefix `>>deu<<`; M2M100 and NLLB take the source as a
token and are made to begin with the target's; MADLAD-400 and its like take a prefix `<2de>`.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from recaption.languages import Language, is_same, language

MARIAN, M2M, NLLB, PREFIXED = "marian", "m2m100", "nllb", "prefixed"
FAMILIES = ("marian", "m2m_100", "t5", "mt5", "umt5")
"""Types of model, as their configuration names them, that this knows."""
_MADLAD = {"he": "iw", "nb": "no", "tl": "fil", "jv": "jw"}
_LEFT = re.compile(r">>\w+<<|<2\w+>|__[a-z]{2,3}__|\b[a-z]{3}_[A-Z][a-z]{3}\b")

_CODE = re.compile(r">>\S+<<|<2\S+>|__\S+__|[a-z]{3}_[A-Z][a-z]{3}")
_TOLD = re.compile(r">>(?=\S+?<<)|<(?=2\w+>)")


class Codes(NamedTuple):
    """What a pair is in a model's own words; `first` is the token that it must begin with."""

    prefix: str = ""
    source: str | None = None
    first: str | None = None


def harmless(text: str) -> str:
    """A text in which nothing tells a model of a language."""
    return _TOLD.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def leftover(text: str) -> bool:
    """Whether a token for a language is left in a text."""
    return _LEFT.search(text) is not None


def is_told(token: str) -> bool:
    """Whether a token is one of those by which a model is told of a language."""
    return _CODE.fullmatch(token) is not None


def family(tokenizer: Any, model_type: str | None = None) -> str:
    """The family of a tokenizer. Raises ValueError for one of no translation model."""
    kind = type(tokenizer).__name__
    if model_type == "marian" or kind.startswith("Marian"):
        return MARIAN
    vocabulary = _vocabulary(tokenizer)
    if "__en__" in vocabulary:
        return M2M
    if "eng_Latn" in vocabulary:
        return NLLB
    if any(token.startswith("<2") for token in vocabulary):
        return PREFIXED
    raise ValueError("its tokenizer has no tokens for languages, as translation models have")


def codes(tokenizer: Any, kind: str, source: Language, target: Language) -> Codes | None:
    """How a model is told of a pair; None when it doesn't know it."""
    vocabulary = _vocabulary(tokenizer)
    if kind == MARIAN:
        return _of_marian(tokenizer, vocabulary, source, target)
    if kind == PREFIXED:
        prefixes = [f"<2{code}>" for code in _prefixed(target)]
        found = next((prefix for prefix in prefixes if prefix in vocabulary), None)
        return None if found is None else Codes(f"{found} ")
    if kind == NLLB:
        one, other = source.flores, target.flores
        is_known = one in vocabulary and other in vocabulary
        return Codes("", one, other) if is_known else None
    one, other = (None if s.m2m is None else f"__{s.m2m}__" for s in (source, target))
    if one not in vocabulary or other not in vocabulary:
        return None
    return Codes("", source.m2m, other)


def _vocabulary(tokenizer: Any) -> dict[str, int]:
    """All tokens; M2M100's holds its languages apart."""
    return {**tokenizer.get_vocab(), **getattr(tokenizer, "lang_token_to_id", {})}


def _of_marian(
    tokenizer: Any, vocabulary: dict[str, int], source: Language, target: Language
) -> Codes | None:
    """By what the checkpoint says; of one that doesn't say its user is believed."""
    said = getattr(tokenizer, "source_lang", None)
    if said and not _means(said, source):
        return None
    prefixes = [f">>{code}<<" for code in _marian(target)]
    found = next((prefix for prefix in prefixes if prefix in vocabulary), None)
    if found is not None:
        return Codes(f"{found} ")
    told = getattr(tokenizer, "target_lang", None)
    is_many = any(token.startswith(">>") for token in vocabulary)
    if is_many or (told and not _means(told, target)):
        return None
    return Codes()


def _means(said: str, wanted: Language) -> bool:
    try:
        return is_same(language(said), wanted) or language(said).base == wanted.base
    except ValueError:  # a group such as "ROMANCE", whose members only the vocabulary tells
        return True


def _marian(target: Language) -> Iterator[str]:
    region = target.tag.partition("-")[2]
    if region:
        yield f"{target.iso3}_{region}"
        yield f"{target.base}_{region}"
        yield target.tag
    if target.base == "zh":
        yield f"cmn_{target.script}"
    yield f"{target.iso3}_{target.script}"
    yield target.iso3
    yield target.base


def _prefixed(target: Language) -> Iterator[str]:
    yield target.tag
    yield target.tag.replace("-", "_")
    if target.base == "zh" and target.script == "Hant":
        yield "zh_Hant"
        return
    yield _MADLAD.get(target.base, target.base)
    yield target.base
