"""`pairmill reward bootstrap`: rankings without labelers, from the captions of a pool.

Every caption stands above damaged copies of itself and above the caption of a similar image. A
row's faults depend on its key, its caption and the seed; its neighbour on the rows taken, too.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, RecipeError
from pipeline.keys import draw_bits
from pipeline.pool import Pool, open_pool, read_base
from pipeline.recipe_errors import unknown_word
from pipeline.record import FILE, BuildRecord, open_record
from pipeline.reward.encoders import Encoder, Floats, choose_encoder
from pipeline.reward.images import ImagePlaces, find_images
from pipeline.reward.negatives import BY_WORDS, Dice, damaged

NEIGHBOUR = "neighbour"
KINDS = (*BY_WORDS, NEIGHBOUR)
CRITERIA = {
    "accuracy": ("object", "attribute", "relation", "number", NEIGHBOUR),
    "completeness": ("dropped", "truncated", "generic"),
    "wording": ("shuffled", "language"),
}
"""What each kind of fault is a fault of."""
_NEAREST = 10  # neighbours of which one is drawn
_LOOKED_AT = 40  # neighbours that are looked at, to find so many with another caption
_BLOCK = 512  # rows of a matrix product
_IMAGES = 64  # in memory at once
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class BootstrapOptions:
    """Which kinds to make (none named: all), of how many rows at most, and the seed."""

    kinds: tuple[str, ...] = ()
    rows: int = 20_000
    seed: int = 0

    def chosen(self) -> tuple[str, ...]:
        """The kinds, in their order. Raises RecipeError for one that is none."""
        for kind in self.kinds:
            if kind not in KINDS:
                raise RecipeError(unknown_word("kind", kind, KINDS))
        return tuple(kind for kind in KINDS if not self.kinds or kind in self.kinds)


@dataclass(frozen=True)
class Captioned:
    """A row that may be learnt from."""

    key: bytes
    caption: str


def bootstrap(path: str, root: str, options: BootstrapOptions) -> dict[str, int]:
    """Write the rankings of a pool, or of the rows that a build kept; how many of each kind."""
    kinds = options.chosen()
    if os.path.isdir(path):
        raise RecipeError(f"{path}: is a folder, and the rankings are a file")
    record = open_record(root) if storage.exists(storage.join(root, FILE)) else None
    made = open_pool(root) if record is None else record.pool
    if made is None:
        raise CurationError(f"{root}: there is neither a pool nor a build here")
    rows = _rows(made, record, options)
    if not rows:
        raise CurationError(f"{root}: no row has an image and a caption, and was kept")
    neighbours: list[str | None] = [None] * len(rows)
    if NEIGHBOUR in kinds:
        vectors = _vectors(made, record, rows)
        neighbours = nearest_captions(rows, vectors, options.seed)
    counts: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    lines = []
    for row, neighbour in zip(rows, neighbours, strict=True):
        for ranking in rankings(row, neighbour, kinds, options.seed):
            counts.update(kind for kind in ranking["kinds"] if kind is not None)  # type: ignore[attr-defined]
            lines.append(json.dumps(ranking, ensure_ascii=False))
    text = "".join(f"{line}\n" for line in lines)
    storage.write_atomic(path, text.encode("utf-8", "backslashreplace"))
    return dict(counts)


def rankings(
    row: Captioned, neighbour: str | None, kinds: Sequence[str], seed: int
) -> Iterator[dict[str, object]]:
    """One ranking for every criterion: the caption, then what is worse, in no order."""
    dice = Dice(row.key, seed)
    for criterion, own in CRITERIA.items():
        made = {
            kind: neighbour if kind == NEIGHBOUR else damaged(row.caption, kind, dice)
            for kind in own
            if kind in kinds
        }
        worse = [(kind, text) for kind, text in made.items() if text is not None]
        if worse:
            yield {
                "image": row.key.hex(),
                "criterion": criterion,
                "captions": [row.caption, *(text for _, text in worse)],
                "kinds": [None, *(kind for kind, _ in worse)],
                "ranks": [1, *(2 for _ in worse)],
                "ties": "unordered",
            }


def _rows(made: Pool, record: BuildRecord | None, options: BootstrapOptions) -> list[Captioned]:
    """Rows with an image and a caption, of a build those kept: the smallest draws, by key."""
    found: list[tuple[int, Captioned]] = []
    verdicts = None if record is None else record.selection()
    for shard in made.shards:
        base = read_base(made.root, shard, ["key", "caption", "extension"])
        keys, captions, extensions = (column.to_pylist() for column in base.columns)
        times = [1] * len(base) if verdicts is None else verdicts.part(shard.name).times()
        for key, caption, extension, count in zip(keys, captions, extensions, times, strict=True):
            if extension is not None and caption and caption.strip() and count:
                bits = draw_bits(key, options.seed, "reward-row")
                found.append((bits, Captioned(key, " ".join(caption.split()))))
        if len(found) > 4 * options.rows:
            found = sorted(found, key=_by_draw)[: options.rows]
    chosen = sorted(found, key=_by_draw)[: options.rows]
    return sorted((row for _, row in chosen), key=lambda row: row.key)


def _by_draw(one: tuple[int, Captioned]) -> tuple[int, bytes]:
    return one[0], one[1].key


def nearest_captions(rows: Sequence[Captioned], vectors: Floats, seed: int) -> list[str | None]:
    """For each row the caption of one of the nearest other images.

    Captions that share a word with its own, or most of them, may be true of the image: they are
    passed over. None when no near image has another caption, or the row has no vector (zeros).
    """
    own = [frozenset(_WORDS.findall(row.caption.lower())) for row in rows]
    has_vector: npt.NDArray[np.bool_] = np.any(vectors != 0, axis=1)
    found: list[str | None] = []
    for start in range(0, len(rows), _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ vectors.T
        cosines[:, ~has_vector] = -np.inf
        count = min(_LOOKED_AT, len(rows))
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        for row, near in enumerate(nearest, start):
            places = near[np.lexsort((near, -cosines[row - start, near]))].tolist()
            fit = (n for n in places if n != row and has_vector[n] and not _alike(own[row], own[n]))
            others = list(islice(fit, _NEAREST))
            if not others or not has_vector[row]:
                found.append(None)
                continue
            drawn = draw_bits(rows[row].key, seed, "reward-neighbour") % len(others)
            found.append(rows[others[drawn]].caption)
    return found


_SMALL = frozenset(["a", "an", "the", "of", "in", "on", "with", "and", "at", "to", "for", "by"])


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    return bool((first & second) - _SMALL) or first <= second or second <= first


def _vectors(made: Pool, record: BuildRecord | None, rows: Sequence[Captioned]) -> Floats:
    """Image vectors of the rows: stored ones when the build has them, else computed here."""
    stored = None if record is None else record.columns.get("clip_image")
    if stored is not None:
        return _stored(made, stored, rows)
    return _computed(made, choose_encoder(), rows)


def _stored(made: Pool, columns: ColumnSet, rows: Sequence[Captioned]) -> Floats:
    place_of = {row.key: number for number, row in enumerate(rows)}
    found: dict[int, Floats] = {}
    for shard in made.shards:
        keys = read_base(made.root, shard, ["key"])["key"].to_pylist()
        if not any(key in place_of for key in keys):
            continue
        vectors = columns.read(shard, ["clip_image"])["clip_image"]
        for key, vector in zip(keys, vectors, strict=True):
            if key in place_of and vector.is_valid:
                values = vector.values.to_numpy(zero_copy_only=False)
                found[place_of[key]] = values.astype(np.float32)
    lengths = {len(vector) for vector in found.values()}
    if len(lengths) != 1:
        raise CurationError(f"column 'clip_image' holds vectors of {sorted(lengths)} numbers")
    table = np.zeros((len(rows), lengths.pop()), np.float32)
    for number, vector in found.items():
        table[number] = vector
    return table


def _computed(made: Pool, encoder: Encoder, rows: Sequence[Captioned]) -> Floats:
    """Vectors of the encoder; images that can't be read have zeros."""
    place_of = {row.key.hex(): number for number, row in enumerate(rows)}
    table = np.zeros((len(rows), encoder.dimension), np.float32)
    images = find_images(list(place_of), ImagePlaces(made.root, None), encoder.short_side)
    readable = (
        (place_of[image.reference], image.pixels)
        for image in images
        if not isinstance(image.pixels, str)
    )
    while chunk := list(islice(readable, _IMAGES)):
        table[[place for place, _ in chunk]] = encoder.images([pixels for _, pixels in chunk])
    return table
