"""Translation models converted for CTranslate2: several times faster on a CPU, with int8 weights.

A folder holds what `ct2-transformers-converter` wrote and, beside it, the files of the tokenizer
(its option `--copy_files`). Each text is decoded by itself, greedily, so that none depends on the
others. Needs the package `ctranslate2`; nothing is downloaded.
"""

import glob
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from filters import clip_weights, files
from filters.clip_weights import FOLDER
from recaption import translation_codes, translation_tokens
from recaption.engines import Translation
from recaption.languages import Language
from recaption.seq2seq import CUT, coded_texts, most_new
from recaption.translation_codes import Codes

VERSION = 1
INSTALL = "pip install 'pairmill[translation]'"
LONGEST = 512
"""Tokens of a text that are read; those before it are all that such models have learnt."""
_MODEL = "model.bin"
_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}


@dataclass(frozen=True)
class CTranslate:
    """The model of a folder; `auto` is the precision that its weights are stored in."""

    folder: str
    precision: str = "auto"

    @classmethod
    def of(cls, model: str, precision: str) -> "CTranslate":
        """Raises ValueError for all that is known to be wrong without loading it."""
        if not model.startswith(FOLDER):
            raise ValueError(f"model {model!r}: name a folder of CTranslate2, `{FOLDER}PATH`")
        folder = model.removeprefix(FOLDER)
        if not os.path.isabs(folder):
            raise ValueError(f"model {model!r}: the path after {FOLDER} must be absolute")
        if not os.path.exists(os.path.join(folder, _MODEL)):
            raise ValueError(f"{folder}: holds no {_MODEL}; ct2-transformers-converter makes it")
        if importlib.util.find_spec("ctranslate2") is None:
            raise ValueError(f"engine 'ctranslate2' needs the package of this name: {INSTALL}")
        if precision not in ("auto", *_PRECISIONS):
            raise ValueError(f"precision {precision!r}: known are auto, {', '.join(_PRECISIONS)}")
        return cls(folder, precision)

    @property
    def is_here(self) -> bool:
        """Whether its pairs are known before it is loaded."""
        return translation_tokens.read_tokens(self.folder) is not None

    def supports(self, source: Language, target: Language) -> bool:
        tokens = translation_tokens.read_tokens(self.folder)
        if tokens is not None:
            return tokens.codes(source, target) is not None
        return self._codes(source, target) is not None

    def pairs(self) -> str:
        """What it has, for a person."""
        return f"only what {self.folder} was trained for"

    def name(self, source: Language, target: Language) -> str:
        return f"{os.path.basename(os.path.normpath(self.folder))}@{self._content()[:12]}"

    def digest(self, source: Language, target: Language) -> str:
        version = importlib.metadata.version("ctranslate2")
        return f"ctranslate2 {VERSION} {version} {self.precision} {self._content()}"

    def prepare(self, source: Language, target: Language) -> None:
        """Load it."""
        _loaded(self.folder, self.precision)

    def translate(
        self, texts: Sequence[str], source: Language, target: Language
    ) -> list[Translation | Exception]:
        codes = self._codes(source, target)
        assert codes is not None
        model, tokenizer = _loaded(self.folder, self.precision)
        found: list[Translation | Exception] = [Translation("")] * len(texts)
        for one in coded_texts(tokenizer, texts, codes, LONGEST):
            said = _said(model, tokenizer, one.ids, codes)
            flags = {*said.flags, *([CUT] if one.is_cut else [])}
            found[one.place] = said._replace(flags=tuple(sorted(flags)))
        return found

    def _codes(self, source: Language, target: Language) -> Codes | None:
        _, tokenizer = _loaded(self.folder, self.precision)
        kind = translation_codes.family(tokenizer)
        return translation_codes.codes(tokenizer, kind, source, target)

    def _content(self) -> str:
        paths = sorted(glob.glob(os.path.join(glob.escape(self.folder), "*")))
        lines = [f"{os.path.basename(path)} {files.digest(path)}" for path in paths]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _said(model: Any, tokenizer: Any, ids: list[int], codes: Codes) -> Translation:
    tokens = tokenizer.convert_ids_to_tokens(ids)
    most = most_new(len(ids), LONGEST)
    [result] = model.translate_batch(
        [tokens],
        target_prefix=None if codes.first is None else [[codes.first]],
        beam_size=1,
        max_decoding_length=most,
        return_end_token=True,
    )
    row = result.hypotheses[0]
    is_cut = not row or row[-1] != tokenizer.eos_token
    body = row[: len(row) - (not is_cut)][1 if codes.first is not None else 0 :]
    numbers = tokenizer.convert_tokens_to_ids(body)
    text = tokenizer.decode(numbers, skip_special_tokens=True).strip()
    return Translation(text, (CUT,) if is_cut else (), len(body))


@lru_cache(maxsize=4)
def _loaded(folder: str, precision: str) -> tuple[Any, Any]:
    import transformers

    library = importlib.import_module("ctranslate2")
    try:
        tokenizers: Any = transformers.AutoTokenizer
        tokenizer = tokenizers.from_pretrained(folder, trust_remote_code=False)
        model = library.Translator(
            folder,
            device=clip_weights.best_device(),
            compute_type=_PRECISIONS.get(precision, "default"),
            inter_threads=1,
            intra_threads=1,
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"{folder} can't be loaded: {why}") from error
    return model, tokenizer
