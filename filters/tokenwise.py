"""FILIP: how well the words of a caption and the patches of its picture find each other.

One number says how well they do; the words that the picture supports worst are named. For weights
that were not trained token by token both are for a person to look at: see `filters.tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from filters import tokens, vectors
from filters.clip import EMBEDDED, ClipScore, Floats, clip_of
from filters.tokens import Words
from filters.unread import UNREAD
from filters.vectors import Fitted

FEWEST = 8
"""Words of other captions without which none is judged."""
_COLUMNS: dict[str, pa.DataType] = {
    "filip_score": pa.float32(),
    "filip_i2t": pa.float32(),
    "filip_t2i": pa.float32(),
    "filip_min_word": pa.float32(),
    "unsupported_words": pa.list_(pa.string()),
    "filip_truncated": pa.bool_(),
}


@dataclass(frozen=True)
class TokenWise:
    """Token-wise late interaction, formulas 4 to 6 of FILIP (Yao et al., arXiv:2111.07783).

    `filip_i2t` is the mean over patches of the cosine with the word that is nearest, `filip_t2i`
    that over words with the nearest patch, `filip_score` the mean of the two. Padding, start and
    end of a text and marks are no words.

    How high a word's best patch is depends on the model and the picture, so it is compared with
    words of other captions in the same picture: one content word of each of `fit_rows` captions.
    Standardised by the mean and deviation of theirs, `filip_min_word` is that of the content word
    which is supported least, and `unsupported_words` lists those below `threshold`, in order of
    the caption. Both are NULL in a pool with fewer than eight words to compare with; a text in
    which nothing is read has a reason in place of values.

    With the embedded encoder `filip_score` tells the planted wrong captions of the quickstart
    pack better than `clip_score` does (AUC .92 to .86, on 40 of them). Single words are another
    matter: of a word of another caption and one of its own a picture supports the latter in two
    of three cases. A word is listed for three of five wrong captions and for one of four right
    ones: worth a look, no proof. In CLIP models neither patches nor words were trained to agree,
    and all of it is a diagnostic.

    `filip_truncated` says which texts are longer than is read: the model's context, or 64 words
    that are no function words with the embedded encoder, and 2,000 characters in any case. The
    model's parameters are those of `clip`.
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    text: str = "caption"
    batch_size: int = 32
    threshold: float = -1.0
    fit_rows: int = 128

    version: ClassVar[int] = 3  # says of which texts nothing is read
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self._clip.precision)  # `auto` is settled there
        tokens.check(self.model)
        if not np.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number, got {self.threshold}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def fit_reads(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def image_request(self) -> int:
        return self._clip.image_request

    @property
    def device(self) -> str:
        return self._clip.device

    @property
    def identity(self) -> dict[str, Any]:
        own = {"threshold": self.threshold, "fit_rows": self.fit_rows}
        return {**self._clip.identity, **own, "clip": ClipScore.version}

    @property
    def weights_digest(self) -> str:
        return self._clip.weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        self._clip.prepare()

    def fit(self, rows: pa.Table) -> Fitted:
        """Vectors [n, d] of one content word of each caption that has one, drawn by key."""
        order = vectors.draw_order(rows["key"].to_pylist(), 0, "words").tolist()
        texts = rows[self.text].to_pylist()
        found = []
        for place, words in enumerate(tokens.words(self._clip, [texts[i] for i in order])):
            judged = [words.last[i] for i in words.content]
            if judged:
                found.append(words.vectors[judged[place % len(judged)]])
        return {"words": np.stack(found) if found else np.zeros((0, 1), np.float32)}

    def __call__(self, batch: dict[str, list[Any]], fitted: Fitted) -> dict[str, list[Any]]:
        pairs = zip(
            tokens.patches(self._clip, batch["image"]),
            tokens.words(self._clip, batch[self.text]),
            strict=True,
        )
        rows = [self._row(patches, words, fitted["words"]) for patches, words in pairs]
        columns = {name: [row[name] for row in rows] for name in _COLUMNS}
        return columns | {"filip_truncated": tokens.are_cut(self._clip, batch[self.text])}

    def _row(self, patches: Floats, words: Words, others: Floats) -> dict[str, Any]:
        if not len(words.vectors):
            return dict.fromkeys(_COLUMNS) | {"filip_score": UNREAD}
        found = interaction(patches, words.vectors)
        row: dict[str, Any] = dict.fromkeys(_COLUMNS)
        row["filip_i2t"], row["filip_t2i"] = found.i2t, found.t2i
        row["filip_score"] = (found.i2t + found.t2i) / 2
        support = standardised(found.best[words.last], patches, others)
        if support is not None and words.names:
            judged: dict[str, float] = {}
            for i in words.content:  # of a word that is there twice, its worst place
                judged[words.names[i]] = min(support[i], judged.get(words.names[i], np.inf))
            row["filip_min_word"] = min(judged.values())
            row["unsupported_words"] = [w for w, s in judged.items() if s < self.threshold]
        return row

    @property
    def _clip(self) -> ClipScore:
        return clip_of(self)


class Interaction(NamedTuple):
    """What patches and words find in each other; `best` [m] is the cosine of each word's patch."""

    i2t: float
    t2i: float
    best: Floats


def interaction(patches: Floats, words: Floats) -> Interaction:
    """Late interaction of unit vectors, patches [n, d] and words [m, d], of one each at least."""
    cosines = patches @ words.T
    best = cosines.max(axis=0)
    i2t = cosines.max(axis=1).mean(dtype=np.float64)
    return Interaction(float(i2t), float(best.mean(dtype=np.float64)), best)


def standardised(support: Floats, patches: Floats, others: Floats) -> Sequence[float] | None:
    """Support of words less that of other words in the same patches, in their deviations.

    None with fewer than FEWEST others, or when the patches support them all alike.
    """
    if len(others) < FEWEST:
        return None
    usual = (patches @ others.T).max(axis=0).astype(np.float64)
    deviation = usual.std()
    if not deviation > 1e-6:
        return None
    result: list[float] = ((support - usual.mean()) / deviation).tolist()
    return result
