"""Translation models of transformers, run here: Marian, M2M100, NLLB, MADLAD-400 and its like.

Greedy. Texts of like length go together in shapes that are fixed, so that no text's translation
depends on the others. What a model that needs a language it has not is told: ValueError.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from filters import clip_weights, hub_weights
from filters.hub_weights import Source
from filters.threads import one_thread
from recaption import asking, translation_codes, translation_tokens
from recaption.engines import Translation
from recaption.languages import Language
from recaption.token_batches import by_length, readable, special_tokens
from recaption.translation_codes import Codes

VERSION = 1
CUT = "cut"
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
"""Tokens that texts are padded to."""
_CLASS = "AutoModelForSeq2SeqLM"
_PARTS = dict.fromkeys(translation_codes.FAMILIES, "")


class _Coded(NamedTuple):
    """A text as tokens, where it came from, and whether there was more of it."""

    place: int
    ids: list[int]
    is_cut: bool


@dataclass(frozen=True)
class Seq2Seq:
    """The model of a source."""

    source: Source

    @classmethod
    def of(cls, model: str, revision: str | None, precision: str) -> "Seq2Seq":
        """Raises ValueError for all that is known to be wrong without loading it."""
        source = Source(model, revision, precision, clip_weights.best_device())
        hub_weights.check(source, _PARTS)
        return cls(source)

    @property
    def is_here(self) -> bool:
        """Whether its pairs are known before it is loaded."""
        return translation_tokens.tokens_of(self.source) is not None

    def supports(self, source: Language, target: Language) -> bool:
        tokens = translation_tokens.tokens_of(self.source)
        if tokens is not None:
            return tokens.codes(source, target) is not None
        return self._codes(source, target) is not None

    def pairs(self) -> str:
        """What it has, for a person."""
        return f"only what {self.source.model} was trained for"

    def name(self, source: Language, target: Language) -> str:
        return asking.model_name(self.source)

    def digest(self, source: Language, target: Language) -> str:
        return f"seq2seq {VERSION} {self.source.precision} {hub_weights.digest(self.source)}"

    def prepare(self, source: Language, target: Language) -> None:
        """Load it."""
        hub_weights.load(self.source, _CLASS)

    def translate(
        self, texts: Sequence[str], source: Language, target: Language
    ) -> list[Translation | Exception]:
        codes = self._codes(source, target)
        assert codes is not None
        model, tokenizer, device, _ = hub_weights.load(self.source, _CLASS)
        longest = _longest(model)
        coded = coded_texts(tokenizer, texts, codes, longest)
        found: list[Translation | Exception] = [Translation("")] * len(texts)
        for places, shape in by_length([len(one.ids) for one in coded], LENGTHS, device):
            some = [coded[place] for place in places]
            said = _generated(model, tokenizer, [one.ids for one in some], shape, codes)
            for one, text in zip(some, said, strict=True):
                flags = {*text.flags, *([CUT] if one.is_cut else [])}
                found[one.place] = text._replace(flags=tuple(sorted(flags)))
        return found

    def _codes(self, source: Language, target: Language) -> Codes | None:
        tokenizer = hub_weights.load(self.source, _CLASS).processor
        kind = translation_codes.family(tokenizer, hub_weights.model_type(self.source))
        return translation_codes.codes(tokenizer, kind, source, target)


def coded_texts(tokenizer: Any, texts: Sequence[str], codes: Codes, longest: int) -> list[_Coded]:
    """The tokens of each text that has any, with what tells the languages."""
    if codes.source is not None:
        tokenizer.src_lang = codes.source
    special = special_tokens(tokenizer)
    found = []
    for place, text in enumerate(texts):
        start, has_more = readable(text)
        plain = translation_codes.harmless(hub_weights.parted(start, special))
        if not plain:
            continue
        ids = tokenizer(codes.prefix + plain, verbose=False)["input_ids"]
        is_cut = len(ids) > longest or has_more
        if len(ids) > longest:  # the last token is the end of a sentence
            ids = [*ids[: longest - 1], ids[-1]]
        found.append(_Coded(place, list(ids), is_cut))
    return found


def most_new(length: int, longest: int) -> int:
    """Tokens that are written at most for a text of so many, by a model of so many places."""
    return min(length * 3 // 2 + 10, longest - 1)


def _longest(model: Any) -> int:
    places = getattr(model.config, "max_position_embeddings", None)  # T5 has none
    return LENGTHS[-1] if places is None else min(LENGTHS[-1], places)


def _generated(
    model: Any, tokenizer: Any, ids: list[list[int]], shape: tuple[int, int], codes: Codes
) -> list[Translation]:
    """Translations of some texts, filled up to a batch of that many rows and tokens."""
    import torch

    rows, length = shape
    pad = tokenizer.pad_token_id
    filled = [*ids, *[ids[-1]] * (rows - len(ids))]
    table = torch.tensor([[*row, *[pad] * (length - len(row))] for row in filled])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in filled])
    settings = copy.deepcopy(model.generation_config)
    settings.update(
        num_beams=1,
        do_sample=False,
        max_length=None,
        max_new_tokens=most_new(length, _longest(model)),
        min_length=0,
    )
    settings.early_stopping = False
    settings.forced_eos_token_id = None  # the end must be the model's own, or it is cut
    settings.forced_bos_token_id = (
        None if codes.first is None else tokenizer.convert_tokens_to_ids(codes.first)
    )
    with torch.inference_mode(), one_thread():
        found = model.generate(
            input_ids=table.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=settings,
        )
    ends = model.generation_config.eos_token_id
    ended = set(ends if isinstance(ends, list) else [ends])
    return [_written(tokenizer, row, ended) for row in found[: len(ids)].tolist()]


def _written(tokenizer: Any, row: list[int], ends: set[int]) -> Translation:
    """A row of tokens up to its end; the first is where decoders start, often an end itself."""
    body = row[1:]
    length = next((place for place, token in enumerate(body) if token in ends), None)
    text = tokenizer.decode(body[:length], skip_special_tokens=True).strip()
    tokens = len(body) if length is None else length
    return Translation(text, (CUT,) if length is None else (), tokens)
