"""Heads of the kind `tokenwise`: over a few numbers of each pair, computed once before training.

The numbers are those of `filters.reward_tokens`; other captions and words to compare with are drawn
from the texts that are learnt from. Numbers are kept in chunks, as vectors are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.catalog import scorer_class
from pipeline.errors import CurationError
from pipeline.keys import digest, draw_bits
from pipeline.reward.config import HeadOptions, RewardConfig
from pipeline.reward.encoders import Encoder, Floats, kept_in_chunks
from pipeline.reward.heads import Head
from pipeline.reward.images import find_images
from pipeline.reward.table import Names, Table
from pipeline.reward.vectors import places_of

OTHERS = 128
"""Other captions, and words, that every picture is compared with; at most."""
_AT_ONCE = 65_536
_LEAST_DEVIATION = 1e-4
Numbers = npt.NDArray[np.int64]


class Others(NamedTuple):
    """Unit vectors [m, d] of captions, and of words, that every picture is compared with."""

    texts: Floats
    words: Floats


@dataclass(frozen=True)
class PairNumbers:
    """Cosines [m] and numbers [m, k] of those pairs of image and text that comparisons are about.

    `codes` rise: image * `texts` + text.
    """

    codes: Numbers
    cosines: Floats
    values: Floats
    texts: int
    others: Others
    parts: tuple[int, ...]

    def rows(
        self, images: npt.NDArray[Any], texts: npt.NDArray[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of some pairs, for the head; every one must be there."""
        places = np.searchsorted(self.codes, images * self.texts + texts)
        return torch.from_numpy(self.cosines[places]), torch.from_numpy(self.values[places])


class TokenwiseHead(Head):
    """Scores [n, criteria]: linear over numbers [n, k] made alike in size, and the cosine.

    It begins as a multiple of the cosine, because the layer begins at zero.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, options: HeadOptions, numbers: Floats, ties: Sequence[bool]) -> None:
        super().__init__()
        self.at_once = _AT_ONCE
        self.has_cosine = options.cosine
        mean, deviation = numbers.mean(0), np.maximum(numbers.std(0), _LEAST_DEVIATION)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("deviation", torch.from_numpy(deviation.astype(np.float32)))
        self.out = nn.Linear(numbers.shape[1], len(ties))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.cosine = nn.Parameter(torch.zeros(len(ties)), requires_grad=options.cosine)
        self.log_ties = nn.Parameter(torch.zeros(len(ties)))
        self.register_buffer("has_ties", torch.tensor(ties), persistent=False)
        self.drop = nn.Dropout(options.dropout)

    def forward(self, cosines: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        x = self.drop((numbers - self.mean) / self.deviation)
        found: torch.Tensor = self.out(x) + cosines[:, None] * self.cosine
        return found


def arrays_of(
    state: Mapping[str, torch.Tensor], others: Others, shift: Floats
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a head file; mean and deviation are folded in, `shift` taken from scores."""
    plain = {name: tensor.detach().numpy() for name, tensor in state.items()}
    out = plain["out.weight"] / plain["deviation"]
    return {
        "out": np.ascontiguousarray(out, np.float32),
        "bias": (plain["out.bias"] - out @ plain["mean"] - shift).astype(np.float32),
        "cosine": plain["cosine"],
        "others.texts": others.texts.astype(np.float16),
        "others.words": others.words.astype(np.float16),
    }


def check(config: RewardConfig, encoder: Encoder) -> None:
    """Raises RecipeError when the encoder has no words and patches, or a judge asks for pairs."""
    if config.teacher is not None:
        message = "a tokenwise head knows the pairs of preferences alone, not those of a teacher"
        raise config.error(message, "teacher")
    try:
        _over(encoder).check()
    except ValueError as error:
        raise config.error(str(error), "encoder") from None


def numbers_of(
    config: RewardConfig,
    encoder: Encoder,
    material: tuple[Table, Names, npt.NDArray[Any]],
    folder: str,
) -> PairNumbers:
    """The numbers of all pairs of a table, whose comparisons are on these sides of the split."""
    table, names, side = material
    learnt = np.unique(table.better[side == 0, 1])
    others = others_of(encoder, [names.texts[n] for n in learnt], config.training.seed)
    codes = codes_of(table)
    pairs = np.stack([codes // len(names.texts), codes % len(names.texts)], axis=1)
    over = _over(encoder)
    what = digest(b"tokens", others.words.tobytes()).hex() + encoder.fingerprint

    def look(items: list[Any]) -> npt.NDArray[Any]:
        images, texts = zip(*items, strict=True)
        found: npt.NDArray[Any] = over.of_tokens(images, texts, others.words)
        return found

    order: list[int] = []
    items = _pairs(config, encoder, names, (pairs, order))
    in_order = kept_in_chunks(items, what, folder, look)
    found = np.empty_like(in_order)
    found[order] = in_order
    parts = over.parts(encoder.dimension)
    vectors = table.images[pairs[:, 0]], table.texts[pairs[:, 1]]
    values = np.concatenate([over.of_vectors(*vectors, others.texts, parts), found], axis=1)
    return PairNumbers(codes, cosines_of(*vectors), values, len(names.texts), others, parts)


def _over(encoder: Encoder) -> Any:
    """What the scorer looks at, with this encoder."""
    return scorer_class("reward").numbers_over(encoder.scorer)


def cosines_of(images: Floats, texts: Floats) -> Floats:
    """Those of unit vectors [n, d]."""
    found: Floats = np.einsum("nd,nd->n", images, texts)
    return found


def codes_of(table: Table) -> Numbers:
    """A number for every distinct pair of a table, rising."""
    pairs = np.concatenate([table.better, table.worse])
    return np.unique(pairs[:, 0] * len(table.texts) + pairs[:, 1])


def _pairs(
    config: RewardConfig, encoder: Encoder, names: Names, asked: tuple[Numbers, list[int]]
) -> Iterator[tuple[Any, bytes]]:
    """(pixels, text) of the pairs asked for, and what names them, as the images are stored.

    The list takes the places of the pairs in that order.
    """
    pairs, order = asked
    starts = np.searchsorted(pairs[:, 0], np.arange(len(names.images) + 1))
    place_of = {name: place for place, name in enumerate(names.images)}
    own = [names.images[n] for n in np.unique(pairs[:, 0])]
    for image in find_images(own, places_of(config), encoder.short_side):
        if isinstance(image.pixels, str):
            raise CurationError(f"{image.reference}: can't be read any more: {image.pixels}")
        place = place_of[image.reference]
        for number in range(starts[place], starts[place + 1]):
            said = names.texts[pairs[number, 1]]
            order.append(number)
            yield (image.pixels, said), digest(image.name, _bytes(said))


def others_of(encoder: Encoder, texts: Sequence[str], seed: int) -> Others:
    """Captions to compare with, those with the smallest draws, and a word of each of the next.

    Raises CurationError when there is not a word in them.
    """
    order = sorted(texts, key=lambda text: (draw_bits(_bytes(text), seed, "reward-other"), text))
    words = _over(encoder).a_word_of_each(order[-OTHERS:])
    if not words:
        raise CurationError("the texts of the preferences have no words to compare with")
    return Others(_stored(encoder.texts(order[:OTHERS])), _stored(np.stack(words)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _stored(vectors: npt.NDArray[Any]) -> Floats:
    return vectors.astype(np.float16).astype(np.float32)
