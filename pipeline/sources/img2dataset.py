"""Folders that img2dataset wrote: every row of its metadata, also of what it could not fetch.

Samples are matched to rows by their key; what the tars hold beyond the metadata is a row too.
"""

import posixpath
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.shards import Sample, read_shard
from pipeline.sources.base import Incoming, Unit, captions_of, json_fields
from pipeline.sources.fetching import judge
from pipeline.sources.tables import (
    broken,
    check_columns,
    plain,
    read_rows,
    table_columns,
    table_units,
    text_of,
)
from pipeline.sources.webdataset import row_of, samples_of, take_image

_FORMATS = ("jpg", "png", "webp")  # what img2dataset calls its images, whatever they are


@dataclass(frozen=True)
class Img2datasetOutput:
    """An output folder in the layout `webdataset`, `files` or `parquet`, with its metadata.

    A row that is marked as a success and has no sample failed with `missing_sample`. Captions
    are the `caption` of the metadata, and the `.txt` where it says something else.
    """

    name: str
    root: str

    def units(self) -> list[Unit]:
        if not storage.is_folder(self.root):
            raise RecipeError(f"source {self.name!r}: there is no folder {self.root}")
        files = [f for f in storage.files_below(self.root) if not f.startswith("_tmp/")]
        shards = [f.removesuffix(".parquet") for f in files if _is_shard(f, ".parquet")]
        self._check(files, set(shards))
        return [unit for shard in shards for unit in self._units(shard, files)]

    def _check(self, files: list[str], shards: set[str]) -> None:
        tars = [f for f in files if _is_shard(f, ".tar") or _is_shard(f, ".tfrecord")]
        bare = [f for f in tars if f.rpartition(".")[0] not in shards]
        if bare:
            raise RecipeError(
                f"source {self.name!r}: {storage.join(self.root, bare[0])} has no"
                f" {posixpath.splitext(bare[0])[0]}.parquet beside it, which lists its rows;"
                " to read tars alone use `webdataset:`"
            )
        if not shards:
            raise RecipeError(
                f"source {self.name!r}: there is no 00000.parquet of img2dataset in {self.root}"
            )
        ...
