"""Time and peak memory of `Duplicates` and `Frequency`, from columns of hashes to groups.

    python benchmarks/duplicates.py planted 1000000
    python benchmarks/duplicates.py skewed 1000000 --distance 10
    python benchmarks/duplicates.py placeholder 1000000 --merge-captions
    python benchmarks/duplicates.py captions 10000000

One case per process: the peak is that of the whole process, the made-up input included.
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.duplicates import Duplicates
from filters.frequency import Frequency

Hashes = NDArray[np.uint64]


def planted(rng: np.random.Generator, rows: int) -> Hashes:
    """Four fifths random hashes; the rest differ from one of them in 0 to 4 bits."""
    hashes = _random(rng, rows)
    copies = rows // 5
    source = rng.integers(copies, rows, copies)
    hashes[:copies] = _flipped(rng, hashes[source], 4)
    return hashes


def skewed(rng: np.random.Generator, rows: int) -> Hashes:
    """What a crawl looks like: popular pictures, placeholders, and pages that resemble another.

    Half random; a quarter near-copies whose sources follow Zipf's law; a twentieth one and the
    same placeholder; a fifth from ten families in which every bit has a bias of its own.
    """
    hashes = _random(rng, rows)
    half, quarter, fifth = rows // 2, rows // 4, rows // 5
    popular = np.minimum(rng.zipf(1.2, quarter) - 1, half - 1)
    hashes[half : half + quarter] = _flipped(rng, hashes[popular], 4)
    families = hashes[half + quarter : half + quarter + fifth]
    families[:] = 0
    family = rng.integers(0, 10, fifth)
    for bit in range(64):
        bias = rng.beta(0.5, 0.5, 10)
        families |= (rng.random(fifth) < bias[family]).astype(np.uint64) << np.uint64(bit)
    hashes[half + quarter + fifth :] = hashes[0]
    return hashes


def templates(rng: np.random.Generator, rows: int) -> Hashes:
    """A hundredth as many sources as rows, ten flips each: many candidates, no clear groups."""
    return _flipped(rng, rng.choice(_random(rng, max(1, rows // 100)), rows), 10)


def shared_bits(rng: np.random.Generator, rows: int) -> Hashes:
    """All hashes agree in three of their four 16-bit words."""
    return _random(rng, 1) ^ (rng.integers(0, 1 << 16, rows, dtype=np.uint64) << np.uint64(16))


def placeholder(rng: np.random.Generator, rows: int) -> Hashes:
    """One hash only."""
    return np.repeat(_random(rng, 1), rows)


def _random(rng: np.random.Generator, rows: int) -> Hashes:
    return np.frombuffer(rng.bytes(8 * rows), np.uint64).copy()


def _flipped(rng: np.random.Generator, hashes: Hashes, most: int) -> Hashes:
    """Each hash with 0 to `most` draws of a bit flipped."""
    flips = rng.integers(0, most + 1, len(hashes))
    result = hashes.copy()
    for flip in range(most):
        bit = np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64)
        result ^= np.where(flip < flips, bit, np.uint64(0))
    return result


def picture_rows(rng: np.random.Generator, hashes: Hashes) -> pa.Table:
    """Rows sorted by key, with a twentieth of the pictures stored twice and a few flat ones."""
    rows = len(hashes)
    digests = np.frombuffer(rng.bytes(32 * rows), "V32").copy()
    twice = rows // 20
    digests[rows - twice :] = digests[:twice]
    hashes = rng.permuted(hashes)
    hashes[rows - twice :] = hashes[:twice]
    sides = [rng.integers(200, 2000, rows, dtype=np.int32) for _ in range(2)]
    return pa.table(
        {
            "key": sorted_keys(rows),
            "phash": hashes,
            "hash_contrast": rng.gamma(4, 10, rows).astype(np.float32),
            "image_sha256": _fixed(digests, 32),
            "width": sides[0],
            "height": sides[1],
        }
    )


def caption_rows(rng: np.random.Generator, rows: int) -> pa.Table:
    """Captions of 3 to 14 words; one in ten not ASCII, one in five a copy of another."""
    letters = [chr(ord("a") + n) for n in range(26)]
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(5000)])
    pieces = []
    for start in range(0, rows, 1 << 16):
        size = min(1 << 16, rows - start)
        texts = [" ".join(words[rng.integers(0, 5000, n)]) for n in rng.integers(3, 15, size)]
        texts[: size // 10] = [f"Müller {text} № ﬁ" for text in texts[: size // 10]]
        texts[: size // 5] = texts[size // 5 : 2 * (size // 5)]
        pieces.append(pa.array(texts, pa.string()))
    digests = np.frombuffer(rng.bytes(32 * rows), "V32").copy()
    digests[: rows // 10] = digests[rows // 10 : 2 * (rows // 10)]
    columns = [sorted_keys(rows), pa.chunked_array(pieces), _fixed(digests, 32)]
    return pa.table(columns, names=["key", "caption", "image_sha256"])


def sorted_keys(rows: int) -> pa.Array:
    counted = np.zeros((rows, 2), ">u8")
    counted[:, 0] = np.arange(rows) * 7
    return _fixed(counted, 16)


def _fixed(values: NDArray[np.generic], width: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(values), [None, pa.py_buffer(np.ascontiguousarray(values).data)]
    )


HASHES: dict[str, Callable[[np.random.Generator, int], Hashes]] = {
    "planted": planted,
    "skewed": skewed,
    "templates": templates,
    "shared_bits": shared_bits,
    "placeholder": placeholder,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=[*HASHES, "captions", "images"])
    parser.add_argument("rows", type=int)
    parser.add_argument("--distance", type=int, default=4)
    parser.add_argument("--merge-captions", action="store_true")
    asked = parser.parse_args()
    rng = np.random.default_rng(7)
    scorer: Duplicates | Frequency
    if asked.case in HASHES:
        rows = picture_rows(rng, HASHES[asked.case](rng, asked.rows))
        if asked.merge_captions:
            rows = rows.append_column("caption", caption_rows(rng, asked.rows)["caption"])
        scorer = Duplicates(distance=asked.distance, merge_captions=asked.merge_captions)
    else:
        rows = caption_rows(rng, asked.rows)
        scorer = Frequency("image" if asked.case == "images" else "caption")
    before = _peak_mb()
    start = time.perf_counter()
    scored = scorer.reduce(rows)
    seconds = time.perf_counter() - start
    first = scored.column_names[0]
    distinct = len(scored[first].unique())
    print(f"{scorer}: {asked.case}, {len(scored)} rows: {seconds:.1f} s")
    print(f"peak {_peak_mb()} MB (input made: {before} MB); {distinct} different {first}")


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
