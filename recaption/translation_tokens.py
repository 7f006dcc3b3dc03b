"""The tokens for languages that a translation model's files name, without loading anything.

So that a pair that a model has not is told when a recipe is read. Where the files don't tell, or a
hub's model is not here yet, nothing is said, and the model itself will say it when it is loaded.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from filters.hub_weights import Source
from recaption import languages, translation_codes
from recaption.languages import Language
from recaption.translation_codes import Codes

_SETTINGS = "tokenizer_config.json"
_M2M_CLASS, _M2M_TYPE, _MARIAN = "M2M100", "m2m_100", "marian"


@dataclass(frozen=True)
class Tokens:
    """What files say of a tokenizer, under the names that the tokenizer has for it."""

    names: tuple[str, ...]
    source_lang: str | None
    target_lang: str | None
    family: str

    def get_vocab(self) -> dict[str, int]:
        """All tokens; their numbers mean nothing."""
        return {name: number for number, name in enumerate(self.names)}

    def codes(self, source: Language, target: Language) -> Codes | None:
        """How the model is told of a pair; None when it doesn't know it."""
        return translation_codes.codes(self, self.family, source, target)


def tokens_of(source: Source) -> Tokens | None:
    """Of a folder, or of a hub's model that is here already; None where nothing tells."""
    folder = source.folder or _snapshot(source.model, source.revision)
    return None if folder is None else read_tokens(folder)


@lru_cache(maxsize=64)
def read_tokens(folder: str) -> Tokens | None:
    """What the files of a folder say; None where they say nothing of languages."""
    settings = _json(folder, _SETTINGS)
    model_type = _json(folder, "config.json").get("model_type")
    kind = str(settings.get("tokenizer_class") or "")
    names = set(_names(folder, settings))
    if not names:
        return None
    is_m2m = model_type == _M2M_TYPE and "eng_Latn" not in names
    if kind.startswith(_M2M_CLASS) or is_m2m:  # its class holds them
        names |= {f"__{one.m2m}__" for one in languages.known() if one.m2m}
    is_marian = model_type == _MARIAN or kind.lower().startswith(_MARIAN)
    said = [settings.get(name) for name in ("source_lang", "target_lang")]
    one, other = (text if isinstance(text, str) else None for text in said)
    own = tuple(sorted(name for name in names if translation_codes.is_told(name)))
    made = Tokens(own, one, other, "")
    try:
        family = translation_codes.family(made, _MARIAN if is_marian else None)
    except ValueError:  # not among what files say; the tokenizer itself may know better
        return None
    return Tokens(own, one, other, family)


def _names(folder: str, settings: dict[str, Any]) -> Iterator[str]:
    """The tokens in all files that hold some."""
    yield from (name for name in _json(folder, "vocab.json") if isinstance(name, str))
    whole = _json(folder, "tokenizer.json")
    model = whole.get("model")
    vocabulary = model.get("vocab", ()) if isinstance(model, dict) else ()
    for entry in vocabulary if isinstance(vocabulary, dict | list) else ():
        yield str(entry[0] if isinstance(entry, list) and entry else entry)
    added = whole.get("added_tokens")
    found = [*added] if isinstance(added, list) else []
    more = settings.get("added_tokens_decoder")
    found += [*more.values()] if isinstance(more, dict) else []
    yield from (str(one["content"]) for one in found if isinstance(one, dict) and "content" in one)


def _json(folder: str, name: str) -> dict[str, Any]:
    """What a file holds, if it is there and an object; who loads it says what is wrong with it."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=16)
def _snapshot(model: str, revision: str | None) -> str | None:
    """The folder of a hub's model that was fetched before; nothing is asked of the hub."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, _SETTINGS, revision=revision)
    return os.path.dirname(found) if isinstance(found, str) else None
