"""What a crawl leaves beside its archives: a row for each page asked for, and that it is done.

`done.json` is written last: without it, not a crawl.
"""

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import DamagedFile

PAGES = "pages.parquet"
_DONE, _BEGUN = "done.json", "begun.json"
_ARCHIVE = re.compile(r"pages-\d{5,}\.warc\.gz")
_ROWS_TOGETHER = 5_000
# One row for each page that was asked for, in the order of the crawl. `url` is what was asked,
# `found_on` the page that named it; `file` and `offset` are where a page lies, NULL when there is
# none, and then `failed` says why. `links` counts those of a page, NULL when they may not be
# followed. `signals` are what host and answer say about the use of the page, raw, as JSON.
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("final_url", pa.string()),
        ("depth", pa.int32()),
        ("found_on", pa.string()),
        ("status", pa.int16()),
        ("failed", pa.string()),
        ("detail", pa.string()),
        ("retriable", pa.bool_()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("links", pa.int32()),
        ("signals", pa.string()),
        ("fetched_at", pa.string()),
    ]
)


@dataclass(frozen=True)
class CrawlStats:
    """Counts of a crawl. `asked` = `pages` + all that `failed`, by reason.

    `files` are the WARC files by name, with their sizes. `left_out` counts links that were not
    followed by the limit or rule that stopped them, each once for a page it is on.
    """

    asked: int
    pages: int
    hosts: int
    failed: Mapping[str, int]
    left_out: Mapping[str, int]
    files: Mapping[str, int]

    def __str__(self) -> str:
        parts = [f"{self.pages} pages of {self.asked} asked for, {self.hosts} hosts"]
        for what, counts in (("failed", self.failed), ("links left out", self.left_out)):
            said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            parts += [f"{what}: {said}"] if said else []
        return "; ".join(parts)


class PageTable:
    """Writes the rows, some thousand at a time; a class, because it holds a file."""

    def __init__(self, folder: str) -> None:
        self._path, self._rows = storage.join(folder, PAGES), list[dict[str, Any]]()
        self._open = ExitStack()

    def __enter__(self) -> "PageTable":
        temporary = self._open.enter_context(storage.writing(self._path))
        self._writer = self._open.enter_context(
            pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True)
        )
        return self

    def __exit__(self, *error: object) -> None:
        if error[:1] == (None,):
            self._flush()
        self._open.__exit__(*error)  # type: ignore[arg-type]

    def add(self, **row: Any) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows.clear()


def begin(folder: str, digest: str) -> bool:
    """Make the folder ready for a crawl with these options; whether another was there before.

    What a killed run of the same crawl left is written again from its answers.
    """
    path = storage.join(folder, _BEGUN)
    before = _noted(path) if storage.exists(path) else None
    is_other = before is not None and before != digest
    archives = [name for name in storage.files_below(folder) if _ARCHIVE.fullmatch(name)]
    for name in (_DONE, PAGES, *archives):
        storage.remove(storage.join(folder, name))
    storage.write_json(path, {"options": digest})
    return is_other


def _noted(path: str) -> str:
    return str(storage.read_fields(path, "options")["options"])


def finish(folder: str, digest: str, stats: CrawlStats) -> None:
    storage.write_json(storage.join(folder, _DONE), {"options": digest, "counts": asdict(stats)})


def finished(folder: str, digest: str) -> CrawlStats | None:
    """The counts of a crawl with these options that is done; None when there is none.

    Raises DamagedFile when a file of it is missing or has another size.
    """
    path = storage.join(folder, _DONE)
    if not storage.exists(path) or storage.read_fields(path, "options")["options"] != digest:
        return None
    stats = CrawlStats(**storage.read_fields(path, "counts")["counts"])
    for name, size in stats.files.items():
        file = storage.join(folder, name)
        held = storage.size(file) if storage.exists(file) else None
        if held != size:
            said = "is missing" if held is None else f"has {held} bytes instead of {size}"
            raise DamagedFile(f"{file}: {said}; remove {path} to crawl anew")
    return stats


def signals_json(signals: Mapping[str, str]) -> str | None:
    return json.dumps(dict(signals), sort_keys=True, ensure_ascii=False) if signals else None
