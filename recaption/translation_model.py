"""A learned rating of translations, by any classifier or regressor of transformers for two texts.

Bicleaner-AI's and the like, and whatever else loads through the Auto classes, from a folder or a
pinned revision of a hub; COMET's own checkpoints do not. A text's value never depends on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from filters import clip_weights, hub_weights
from filters.hub_weights import Source
from filters.threads import one_thread
from recaption.token_batches import by_length, readable, special_tokens
from recaption.translation_flags import Pair
from recaption.translation_pairs import Columns

MODEL = "translation_model"
LENGTHS = (16, 32, 64, 128, 256, 512)
"""Tokens that pairs are padded to; longer ones are cut, the longer text first."""
_CLASS = "AutoModelForSequenceClassification"
_LABELS = {0: "LABEL_0", 1: "LABEL_1"}  # which transformers does not write down


@dataclass(frozen=True)
class TranslationModel:
    """`translation_model`: how a model rates each caption of `of` as a translation of its source.

    `of`, `source` and `language` are those of `translation_quality`. `model` is `local-dir:PATH`
    or a name of the hub with `revision`, the 40 digits of a commit. Of a model with one output the
    value is that output; of one with several it is the probability of `label`, a name or number
    (by default the last). `translation_first` for a model that was taught to read it first.
    """

    of: str
    model: str
    revision: str | None = None
    precision: str = "auto"
    source: str = "caption"
    language: str = "en"
    label: int | str | None = None
    translation_first: bool = False
    batch_size: int = 256
    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "captions", "source": "text", "language": "text"}
    writes: ClassVar[pa.Schema] = pa.schema([(MODEL, pa.list_(pa.float32()))])

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        hub_weights.settle_precision(self, self.device)
        hub_weights.check(self._source, {"": ""})
        if self._source.folder is not None:
            self._place(hub_weights.config(self._source))

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._columns.names))

    @property
    def may_lack(self) -> tuple[str, ...]:
        """All but the translations."""
        return tuple(name for name in self.reads if name != self.of)

    @property
    def device(self) -> str:
        return clip_weights.best_device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values but the weights."""
        names = ("of", "source", "language", "precision", "label", "translation_first")
        return {name: getattr(self, name) for name in names}

    @property
    def weights_digest(self) -> str:
        return hub_weights.digest(self._source)

    def prepare(self) -> None:
        """Load the model. Raises ValueError when it is missing, damaged or lacks its head."""
        hub_weights.load(self._source, _CLASS)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        made = self._columns.pairs(batch)
        pairs = dict.fromkeys(m.pair for row in made for m in row if m is not None)
        values = dict(zip(pairs, self.rated(list(pairs)), strict=True))
        return {MODEL: [[None if m is None else values[m.pair] for m in row] for row in made]}

    def rated(self, pairs: Sequence[Pair]) -> list[float]:
        """The model's value of each pair."""
        loaded = hub_weights.load(self._source, _CLASS)
        label = self._place(loaded.model.config.to_dict())
        longest = _longest(loaded.model, loaded.processor)
        coded = [_coded(loaded.processor, self._ordered(pair), longest) for pair in pairs]
        found = [0.0] * len(pairs)
        counts = [len(one["input_ids"]) for one in coded]
        for some, (rows, length) in by_length(counts, LENGTHS, loaded.device):
            shape = (rows, min(length, longest))
            values = _values(loaded, [coded[n] for n in some], shape, label)
            for n, value in zip(some, values, strict=True):
                found[n] = value
        return found

    def _ordered(self, pair: Pair) -> tuple[str, str]:
        texts = (readable(pair.source)[0], readable(pair.target)[0])
        return texts[::-1] if self.translation_first else texts

    def _place(self, config: dict[str, Any]) -> int | None:
        """Which output counts; None for a model of one. Raises ValueError for a label it lacks."""
        known = hub_weights.class_names(config, self.model) or _LABELS
        if len(known) == 1 and self.label is not None:
            raise ValueError(f"label {self.label!r}: the model has one output alone")
        if len(known) == 1:
            return None
        if self.label is None:
            return max(known)
        found = [n for n, name in known.items() if self.label in (n, name)]
        if not found:
            raise ValueError(f"label {self.label!r}: the model has {', '.join(known.values())}")
        return found[0]

    @property
    def _source(self) -> Source:
        return Source(self.model, self.revision, self.precision, clip_weights.best_device())

    @property
    def _columns(self) -> Columns:
        return Columns(self.of, self.source, self.language)


def _longest(model: Any, tokenizer: Any) -> int:
    """Tokens that a model reads: some count places from after the padding's number."""
    places = getattr(model.config, "max_position_embeddings", LENGTHS[-1])
    offset = (tokenizer.pad_token_id or 0) + 1 if "roberta" in model.config.model_type else 0
    return min(LENGTHS[-1], places - offset)


def _coded(tokenizer: Any, texts: tuple[str, str], longest: int) -> dict[str, list[int]]:
    special = special_tokens(tokenizer)
    one, other = (hub_weights.parted(text, special) for text in texts)
    found = tokenizer(
        one, other, truncation="longest_first", max_length=longest, return_attention_mask=True
    )
    return {name: list(values) for name, values in found.items()}


def _values(
    loaded: Any, coded: Sequence[dict[str, list[int]]], shape: tuple[int, int], label: int | None
) -> list[float]:
    """The values of some pairs, filled up to a batch of that many rows and tokens."""
    import torch

    rows, length = shape
    filled = [*coded, *[coded[-1]] * (rows - len(coded))]
    pads = {"input_ids": loaded.processor.pad_token_id or 0}
    table = {
        name: torch.tensor(
            [[*one[name], *[pads.get(name, 0)] * (length - len(one[name]))] for one in filled]
        ).to(loaded.device)
        for name in coded[0]
    }
    with torch.inference_mode(), one_thread():
        logits = loaded.model(**table).logits.float()
    found = logits[:, 0] if logits.shape[1] == 1 else logits.softmax(dim=1)[:, label or 0]
    values: list[float] = found[: len(coded)].tolist()
    return values
