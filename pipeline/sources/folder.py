"""A folder of images with captions beside them (`.txt`, `.json`), or in one table."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.sources.base import (
    Incoming,
    Unit,
    captions_of,
    image_extension,
    json_fields,
    readable,
)
from pipeline.sources.tables import (
    BROKEN,
    plain,
    read_rows,
    table_columns,
    table_units,
    text_of,
)

_UNIT_ROWS = 1000
_FILE, _TEXT = ("file", "file_name"), ("caption", "text")


@dataclass(frozen=True)
class Folder:
    """Images below `root`, each with `<stem>.txt` or `<stem>.json` beside it.

    A caption file without an image is a row that failed with `no_image`. In a `.json` the
    captions are its `caption` field; the other fields become the row's meta. With `captions`, a
    table of file names and texts, other files than images are not looked at; a name may have
    several rows there, and one that no file has is a row that failed with `missing_file`.
    """

    name: str
    root: str
    captions: str | None = None

    def units(self) -> list[Unit]:
        if not storage.is_folder(self.root):
            raise RecipeError(f"source {self.name!r}: there is no folder {self.root}")
        rows = self._rows(storage.files_below(self.root))
        if not rows:
            known = "images" if self.captions else "images, .txt or .json files"
            raise RecipeError(f"source {self.name!r}: there are no {known} below {self.root}")
        groups = [rows[i : i + _UNIT_ROWS] for i in range(0, len(rows), _UNIT_ROWS)]
        return [
            Unit(
                source=self.name,
                path=self.root,
                start=number * _UNIT_ROWS,
                names=tuple("\0".join(files) for files in group),
                stamp=self._stamp([file for files in group for file in files]),
            )
            for number, group in enumerate(groups)
        ]

    def _rows(self, files: Sequence[str]) -> list[list[str]]:
        """The files of each row: those with one stem, or, with a table, each image."""
        if self.captions is None:
            return [group for _, group in sorted(_by_stem(files).items())]
        images = {file for file in files if image_extension(_extension(file))}
        return [[file] for file in sorted(images | set(self._table()))]

    def _table(self) -> Mapping[str, tuple[str, ...]]:
        if self.captions is None:
            return {}
        return _caption_table(self.captions, self.name, storage.size(self.captions))

    def _stamp(self, files: Sequence[str]) -> str:
        sizes = [f"{file}\0{self._size(file)}" for file in files]
        if self.captions is not None:
            sizes.append(str(storage.size(self.captions)))
        return digest(*(size.encode("utf-8", "surrogatepass") for size in sizes)).hex()

    def _size(self, file: str) -> int | None:
        try:
            return storage.size(self._path(file))
        except FileNotFoundError:
            return None

    def _path(self, file: str) -> str:
        return storage.join(self.root, file)

    def read(self, unit: Unit) -> Iterator[Incoming]:
        table = self._table()
        for names in unit.names:
            files = names.split("\0")
            images = [file for file in files if image_extension(_extension(file))]
            for image in images:
                yield self._row(image, files, table)
            if not images:
                yield self._without_image(files, table)

    def _row(
        self, image: str, files: Sequence[str], table: Mapping[str, tuple[str, ...]]
    ) -> Incoming:
        row = Incoming(source_key=readable(image))
        try:
            self._add_captions(row, files)
            row.image = self._data(image)
        except FileNotFoundError:
            row.failed, row.detail = "missing_file", "no such file"
        except OSError as error:
            row.failed, row.detail = "unreadable_file", readable(str(error))
        row.retriable = None if row.failed is None else True
        row.captions += _from_table(table, image)
        return row

    def _without_image(
        self, files: Sequence[str], table: Mapping[str, tuple[str, ...]]
    ) -> Incoming:
        row = Incoming(source_key=readable(files[0]), failed="no_image", retriable=False)
        row.detail = "no image beside it"
        if self.captions is not None:
            row.failed, row.detail = "missing_file", "named in the table, and not in the folder"
            row.captions = _from_table(table, files[0])
        else:
            self._add_captions(row, files)
        return row

    def _add_captions(self, row: Incoming, files: Sequence[str]) -> None:
        for file in files:
            if _extension(file) == "txt":
                row.captions += captions_of(self._data(file).strip() or None, "txt")
            elif _extension(file) == "json":
                fields: dict[str, Any] = json_fields(self._data(file))
                row.captions += captions_of(fields.pop("caption", None), "json.caption")
                url = fields.pop("url", None)
                row.url = readable(url) if isinstance(url, str) and url else row.url
                row.meta.update(plain(fields))

    def _data(self, file: str) -> bytes:
        return storage.read_bytes(self._path(file))

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def _by_stem(files: Sequence[str]) -> dict[str, list[str]]:
    """Files that belong together: those with one stem. Other kinds of files are no rows."""
    groups: dict[str, list[str]] = {}
    for file in files:
        extension = _extension(file)
        if image_extension(extension) or extension in ("txt", "json"):
            groups.setdefault(posixpath.splitext(file)[0], []).append(file)
    return {stem: sorted(group, key=_captions_last) for stem, group in groups.items()}


def _captions_last(file: str) -> tuple[bool, str]:
    """Images first; a `.txt` is preferred to a `.json`."""
    return not image_extension(_extension(file)), _extension(file) == "json", file


def _extension(file: str) -> str:
    return posixpath.splitext(file)[1].lstrip(".").lower()


def _from_table(table: Mapping[str, tuple[str, ...]], file: str) -> list[dict[str, Any]]:
    return captions_of(list(table.get(file, ())), "table")


@lru_cache(maxsize=4)
def _caption_table(path: str, source: str, _: int) -> Mapping[str, tuple[str, ...]]:
    """The texts of each file named in a table with a column of files and one of captions.

    Read once by each process, as long as its size stays the same.
    """
    columns = table_columns(path)
    file = next((name for name in _FILE if name in columns), None)
    text = next((name for name in _TEXT if name in columns), None)
    if file is None or text is None:
        raise RecipeError(
            f"source {source!r}: {path} needs a column `file` (or `file_name`) and a column"
            f" `caption` (or `text`); its columns are {', '.join(columns) or 'none'}"
        )
    found: dict[str, tuple[str, ...]] = {}
    for unit in table_units(path, source):
        for row in read_rows(unit):
            if BROKEN in row or not text_of(row.get(file)):
                raise RecipeError(f"source {source!r}: {path}: {row.get(BROKEN, 'no file name')}")
            name = posixpath.normpath(text_of(row[file]) or "")
            captions = captions_of(row.get(text), "table")
            found[name] = (*found.get(name, ()), *(c["text"] for c in captions))
    return found
