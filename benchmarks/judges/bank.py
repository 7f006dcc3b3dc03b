"""The drawings and captions that pairs are compared with, under any heads of the encoder.

None is one that the heads of a test have not learnt, and none of Tux Paint's stamps.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.embedded import heads
from benchmarks.embedded.pairs import Pair
from benchmarks.embedded.report import Bench
from benchmarks.reward.material import key_of
from filters import embedded
from filters.reference import Floats, Reference, unit, whole_numbers
from pipeline.keys import draw

COUNT = 1024
SOURCES = ("clipart", "emoji")
Heads = dict[str, Floats]


def rows_of(pairs: list[Pair], lessons: Iterable[heads.Lesson], count: int = COUNT) -> list[int]:
    """Rows of drawings that were learnt from, drawn by key; one of each caption."""
    own = [one.row for one in lessons if pairs[one.row].source in SOURCES]
    plain = [row for row in own if pairs[row].group != "Themes"]
    order = sorted(plain, key=lambda row: draw(key_of(pairs[row]), 0, "judges-reference"))
    first = {pairs[row].caption: row for row in reversed(order)}
    return [row for row in order if first[pairs[row].caption] == row][:count]


def reference(bench: Bench, rows: list[int], arrays: Heads) -> Reference:
    """What pairs are compared with under these heads, as it would be stored."""
    pictures = embedded.embed_features(bench.features[rows], bench.logits[rows], arrays)
    read = reader(bench, arrays)
    captions = embedded.embed_sentences(unit(whole_numbers(_sentences(bench, rows))), arrays)

    @cache
    def word(name: str) -> Floats:
        found: Floats = read([name])[0]
        return found

    return Reference(unit(whole_numbers(pictures)), captions, read, word)


def reader(bench: Bench, arrays: Heads) -> Callable[[list[str]], Floats]:
    """Unit vectors [n, d] of texts under these heads; sentences are remembered by the bench."""

    def read(texts: list[str]) -> Floats:
        known = bench.sentences
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, embedded.sentence_features(new), strict=True))
        if not texts:
            return np.zeros((0, _width(arrays)), np.float32)
        return embedded.embed_sentences(np.stack([known[text] for text in texts]), arrays)

    return read


def write(path: Path, bench: Bench, rows: list[int]) -> None:
    """The file of the encoder that ships."""
    from safetensors.numpy import save

    pictures = embedded.embed_features(
        bench.features[rows], bench.logits[rows], embedded.read_heads()
    )
    arrays = {
        "pictures": whole_numbers(pictures),
        "sentences": whole_numbers(_sentences(bench, rows)),
    }
    partial = path.with_name(path.name + ".tmp")
    partial.write_bytes(save(arrays, {"encoder_digest": embedded.weights_digest()}))
    partial.replace(path)


def _sentences(bench: Bench, rows: list[int]) -> Floats:
    return np.stack([bench.sentences[bench.pairs[row].caption] for row in rows])


def _width(arrays: Heads) -> int:
    members, width, _ = arrays["text.weight"].shape
    return int(members * width + arrays["classes"].shape[1])
