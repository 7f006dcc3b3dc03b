"""Other pairs of the pool to compare a pair with: a fixed sample of stored embeddings, in batches.

Pairs with the same image or the same caption as a row (one with an equal vector) are no negatives
of it, nor is the row itself; what is left of a batch stands for the whole of it.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters import vectors
from filters.too_few import NotEnoughRows
from filters.vectors import Doubles, Fitted, Halves, Names


def drawn(rows: pa.Table, image: str, text: str, seed: int, batches: int) -> Fitted:
    """The rows as negatives, in batches of almost equal size that depend on seed and keys.

    `image` and `text` hold half floats [n, d], `image_name` and `text_name` what tells equal ones,
    `starts` [batches + 1] where each batch begins. Raises NotEnoughRows for fewer than two.
    """
    if len(rows) < 2:
        raise NotEnoughRows(f"needs 2 pairs to compare one with another, found {len(rows)}")
    order = vectors.draw_order(rows["key"].to_pylist(), seed, "negatives")
    seen, read = vectors.column(rows, image)[order], vectors.column(rows, text)[order]
    if seen.shape != read.shape:
        raise ValueError(f"{image} has {seen.shape[1]} numbers, {text} has {read.shape[1]}")
    count = min(batches, len(rows))
    return {
        "image": seen,
        "text": read,
        "image_name": vectors.names(seen),
        "text_name": vectors.names(read),
        "starts": np.arange(count + 1) * len(rows) // count,
    }


def log_means(
    images: Halves, texts: Halves, fitted: Fitted, temperatures: Sequence[float]
) -> tuple[Doubles, Doubles]:
    """Cosines [n], and how rows agree with negatives on average, [n, temperatures, 2].

    That is the logarithm of the mean of exp(cosine / temperature) over a batch, averaged over
    batches: of the row's image with others' texts, then of its text with others' images. NaN
    where a row has no negative in any batch.
    """
    if images.shape[1] != fitted["image"].shape[1] or images.shape != texts.shape:
        found = {images.shape[1], texts.shape[1]}
        raise ValueError(f"vectors of {found} numbers, fitted on {fitted['image'].shape[1]}")

    def work(seen: Doubles, read: Doubles, image_names: Names, text_names: Names) -> Doubles:
        cosines = np.einsum("ij,ij->i", seen, read)[:, None]
        parts = block_log_means(seen, read, (image_names, text_names), fitted, temperatures)
        return np.concatenate([cosines, parts.reshape(len(seen), -1)], axis=1)

    answer = vectors.in_blocks(
        work,
        vectors.unit(images),
        vectors.unit(texts),
        vectors.names(images),
        vectors.names(texts),
    )
    return answer[:, 0], answer[:, 1:].reshape(len(images), len(temperatures), 2)


def block_log_means(
    seen: Doubles,
    read: Doubles,
    names: tuple[Names, Names],
    fitted: Fitted,
    temperatures: Sequence[float],
) -> Doubles:
    """The two log means of one block of unit vectors, [rows, temperatures, 2]; see `log_means`.

    `names` are those of the images and of the texts; the vectors fitted need not be those of them.
    """
    starts = fitted["starts"]
    totals = np.zeros((len(seen), len(temperatures), 2))
    batches = np.zeros(len(seen))
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        same = names[0][:, None] == fitted["image_name"][start:stop]
        same |= names[1][:, None] == fitted["text_name"][start:stop]
        left = (stop - start) - same.sum(axis=1)
        for side, (own, other) in enumerate(((seen, "text"), (read, "image"))):
            cosines = own @ vectors.unit(fitted[other][start:stop]).T
            cosines[same] = -np.inf
            highest = cosines.max(axis=1, keepdims=True)
            highest[left == 0] = 0
            cosines -= highest
            for place, temperature in enumerate(temperatures):
                shares = np.exp(cosines * (1 / temperature)).sum(axis=1)
                logs = np.log(shares, where=left > 0, out=np.zeros(len(seen)))
                logs += highest[:, 0] / temperature - np.log(np.maximum(left, 1))
                totals[:, place, side] += np.where(left > 0, logs, 0)
        batches += left > 0
    with np.errstate(invalid="ignore"):
        means: Doubles = totals / np.where(batches > 0, batches, np.nan)[:, None, None]
    return means
