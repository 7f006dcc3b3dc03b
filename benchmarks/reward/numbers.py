"""What a tokenwise head looks at in pairs of drawing and caption, under any heads of the encoder.

The numbers are those of `filters.reward_tokens`, whose own functions know the shipped heads alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.embedded.features import load
from benchmarks.reward.material import stored
from filters import embedded, reward_tokens, tokens
from filters.clip import ClipScore
from filters.tokens import Words
from pipeline.reward.table import Floats, Table
from pipeline.reward.tokenwise import Others, PairNumbers, codes_of, cosines_of

Heads = dict[str, Floats]
Compared = tuple[list[str], list[str]]
"""Captions, and words of others, that every picture is compared with."""
_AT_ONCE = 4  # pictures in a batch of the backbone
_CLIP = ClipScore()


@dataclass(frozen=True)
class Drawn:
    """Comparisons, their texts, and the patches of their images, both in the table's order."""

    table: Table
    texts: tuple[str, ...]
    patches: Sequence[Floats]


def dealt(drawn: Drawn) -> Drawn:
    """The same comparisons beside pictures dealt out by chance."""
    order = np.random.default_rng(0).permutation(len(drawn.patches))
    table = replace(drawn.table, images=drawn.table.images[order])
    return Drawn(table, drawn.texts, [drawn.patches[place] for place in order])


def with_numbers(drawn: Drawn, arrays: Heads, compared: Compared) -> Table:
    """The table with the numbers of its pairs, as `pairmill reward train` computes them."""
    table, texts = drawn.table, drawn.texts
    others = others_of(compared, arrays)
    codes = codes_of(table)
    images, read = codes // len(texts), codes % len(texts)
    read_words = reader(texts, arrays)
    pairs = ((drawn.patches[i], read_words(texts[t])) for i, t in zip(images, read, strict=True))
    found = of_tokens(pairs, others.words).astype(np.float16)
    parts = reward_tokens.parts_of("embedded", table.images.shape[1])
    both = table.images[images], table.texts[read]
    values = np.concatenate([reward_tokens.of_vectors(*both, others.texts, parts), found], axis=1)
    return replace(
        table, numbers=PairNumbers(codes, cosines_of(*both), values, len(texts), others, parts)
    )


def of_tokens(pairs: Iterable[tuple[Floats, Words]], others: Floats) -> Floats:
    """`reward_tokens.of_tokens` [n, 4] of pairs of patches and words."""
    found = [reward_tokens.of_tokens(*pair, others) for pair in pairs]
    return np.stack(found) if found else np.zeros((0, reward_tokens.OF_TOKENS), np.float32)


def others_of(compared: Compared, arrays: Heads) -> Others:
    """The vectors of what pictures are compared with, as they are stored."""
    return Others(*(stored(text_vectors(some, arrays)) for some in compared))


def patches_of(paths: Sequence[Path], arrays: Heads) -> Iterator[Floats]:
    """Unit vectors [cells, d] of the cells of each drawing that show it."""
    for start in range(0, len(paths), _AT_ONCE):
        images = [load(path) for path in paths[start : start + _AT_ONCE]]
        ((features, logits),) = embedded._backbone_batches(images, "cpu", by_cell=True)
        for image, *both in zip(images, features, logits, strict=False):
            own = embedded.cells_of(image)
            yield embedded.embed_features(stored(both[0][own]), stored(both[1][own]), arrays)


def reader(texts: Iterable[str], arrays: Heads) -> Callable[[str], Words]:
    """What is read of each of these texts."""
    names_of = {text: words(text) for text in texts}
    names = sorted({name for own in names_of.values() for name in own})
    rows = text_vectors(names, arrays)
    place_of = {name: place for place, name in enumerate(names)}

    def read(text: str) -> Words:
        own = names_of[text]
        return Words(rows[[place_of[name] for name in own]], own, [*range(len(own))])

    return read


def words(text: str) -> list[str]:
    """The words that the encoder is asked about."""
    (found,) = tokens.words(_CLIP, [text])
    return found.names


def text_vectors(texts: Sequence[str], arrays: Heads) -> Floats:
    """Unit vectors [n, d] of texts."""
    return embedded.embed_sentences(np.stack([_sentence(text) for text in texts]), arrays)


@cache
def _sentence(text: str) -> Floats:
    found: Floats = embedded.sentence_features([text])[0]
    return found
