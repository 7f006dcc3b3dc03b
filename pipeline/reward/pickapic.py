"""Pick-a-Pic: Parquet files of two images for one prompt, with labels that may be a tie.

Columns `caption`, `jpg_0`, `jpg_1` (image bytes), `label_0`, `label_1` (1 and 0, or 0.5 twice for
a tie). Images stay in the files.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.reward.comparisons import PREFERENCE, Comparison
from pipeline.reward.formats import BadRow, Layout, listed, text

_NEEDED = ("caption", "jpg_0", "jpg_1", "label_0", "label_1")
_ROWS = 64  # read at once: pictures are large


def read_pickapic(pattern: str, layout: Layout) -> list[Comparison]:
    """The comparisons of all files. Rows without a label (`has_label` false) are left out."""
    found, problems = [], []
    for path in _files(pattern):
        for number, row in _rows(path):
            try:
                found += _comparison(row, layout)
            except BadRow as error:
                problems.append(f"{path}: row {number}: {error}")
    if problems:
        raise RecipeError(listed(problems))
    return found


def read_images(pattern: str) -> Iterator[tuple[str, bytes]]:
    """(reference, bytes) of every image of all files; one may come again."""
    for path in _files(pattern):
        for _, row in _rows(path):
            for side in (0, 1):
                data = row[f"jpg_{side}"]
                if isinstance(data, bytes):
                    yield _reference(data), data


def _files(pattern: str) -> list[str]:
    paths = storage.expand(pattern)
    if not paths:
        raise RecipeError(f"{pattern}: there is no such file")
    return paths


def _rows(path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with storage.open_input(path) as stream:
            table = pq.ParquetFile(stream)
            names = table.schema_arrow.names
            lacking = [name for name in _NEEDED if name not in names]
            if lacking:
                raise RecipeError(f"{path}: there is no column {', '.join(lacking)}")
            wanted = [*_NEEDED, *(name for name in ("has_label",) if name in names)]
            number = 0
            for batch in table.iter_batches(_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise RecipeError(f"{path}: can't be read: {storage.first_line(error)}") from error


def _comparison(row: Mapping[str, Any], layout: Layout) -> list[Comparison]:
    if row.get("has_label") is False:
        return []
    labels = row["label_0"], row["label_1"]
    known = all(isinstance(one, int | float) and math.isfinite(one) for one in labels)
    if not known or sum(labels) != 1 or min(labels) < 0:
        raise BadRow(f"labels must be two numbers that make 1, found {labels[0]} and {labels[1]}")
    images = []
    for name in ("jpg_0", "jpg_1"):
        if not isinstance(row[name], bytes) or not row[name]:
            raise BadRow(f"{name}: expected the bytes of an image")
        images.append(_reference(row[name]))
    prompt = text(row, "caption")
    if images[0] == images[1]:
        return []
    better, worse = images if labels[0] >= labels[1] else images[::-1]
    criterion = layout.criterion or PREFERENCE
    return [Comparison(better, prompt, worse, prompt, labels[0] == labels[1], criterion)]


def _reference(data: bytes) -> str:
    """An image of the files by its content; `sha256:` can't begin a key of a pool."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
