"""A folder of images with captions beside them (`.txt`, `.json`), or in one table."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

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
from pipeline.sources.delimited import BROKEN
from pipeline.sources.tables import files_of, plain, read_rows, table_columns, table_units, text_of

_UNIT_ROWS = 1000
_MISSING, _BAD_ROW, _LINK = "", "/", "//"  # in place of a file name, and never one
_FILE, _TEXT = ("file", "file_name"), ("caption", "text")


@dataclass(frozen=True)
class Folder:
    """Images below `root`, each with `<stem>.txt` or `<stem>.json` beside it.

    A caption file without an image is a row that failed with `no_image`. In a `.json` the
    captions are its `caption` field; the other fields become the row's meta. With `captions`, a
    table of file names and texts, other files than images are not looked at; a name may have
    several rows there, and one that no file has is a row that failed with `missing_file`.

    A folder may come from strangers, so nothing outside of it is opened: a row with a link that
    leads out failed with `link_outside`, and a link to a folder outside is such a row. Links to
    files below `root` are read like files; a link to a folder there adds nothing, for what it
    leads to is read in its own place.
    """

    name: str
    root: str
    captions: str | None = None
    fetches: ClassVar[bool] = False
    web: ClassVar[None] = None

    def units(self) -> list[Unit]:
        rows = self._rows(files_of(self.root, f"source {self.name!r}"))
        rows += [[_LINK, name] for name in storage.linked_folders(self.root) if self._is_out(name)]
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
        """The files of each row: those with one stem, or, with a table, each image.

        What the table names and the folder lacks follows _MISSING, a reason _BAD_ROW.
        """
        if self.captions is None:
            return [group for _, group in sorted(_by_stem(files).items())]
        table, reasons = self._table()
        named = {file for file in files if image_extension(_extension(file)) or file in table}
        missing = sorted(table.keys() - named)
        lost = [[_MISSING, file] for file in missing] + [[_BAD_ROW, text] for text in reasons]
        return [[file] for file in sorted(named)] + lost

    def _table(self) -> tuple[Mapping[str, list[dict[str, Any]]], list[str]]:
        if self.captions is None:
            return {}, []
        return _caption_table(self.captions, self.name, storage.size(self.captions))

    def _stamp(self, files: Sequence[str]) -> str:
        """Names and, where that is quick, sizes; the survey notices other changes."""
        here = storage.is_local(self.root)
        sizes = [f"{file}\0{self._size(file) if here else None}" for file in files]
        if self.captions is not None:
            sizes.append(str(storage.size(self.captions)))
        return digest(*(size.encode("utf-8", "surrogatepass") for size in sizes)).hex()

    def _size(self, file: str) -> int | None:
        try:
            return storage.size(self._path(file))
        except OSError:  # a name of the table only, or a link to nowhere
            return None

    def _is_out(self, file: str) -> bool:
        return storage.leads_out(self.root, file)

    def _path(self, file: str) -> str:
        return storage.join(self.root, file)

    def read(self, unit: Unit) -> Iterator[Incoming]:
        for names in unit.names:
            files = names.split("\0")
            if files[0] in (_MISSING, _BAD_ROW, _LINK):
                yield self._lost(*files)
                continue
            images = [file for file in files if self.captions or image_extension(_extension(file))]
            yield from (self._row(image, files) for image in images)
            if not images:
                yield self._row(None, files)

    def _lost(self, kind: str, text: str) -> Incoming:
        """A row of the table that has no file, or a folder that is not gone into."""
        if kind == _BAD_ROW:
            return Incoming(source_key="", failed="bad_row", detail=text, retriable=False)
        if kind == _LINK:
            return _outside(Incoming(source_key=readable(text)), text)
        row = Incoming(source_key=readable(text), captions=self._from_table(text), retriable=False)
        row.failed, row.detail = "missing_file", "named in the table, and not in the folder"
        return row

    def _row(self, image: str | None, files: Sequence[str]) -> Incoming:
        row = Incoming(source_key=readable(image or files[0]))
        for file in files:
            needed = file == image or not image_extension(_extension(file))
            if needed and self._is_out(file):
                return _outside(row, file)
        try:
            self._add_captions(row, files)
            if image is not None:
                row.image = self._data(image)
            else:
                row.failed, row.detail, row.retriable = "no_image", "no image beside it", False
        except OSError as error:
            row.failed, row.retriable = "unreadable_file", True
            row.detail = readable(error.strerror or str(error))
        return row

    def _add_captions(self, row: Incoming, files: Sequence[str]) -> None:
        if self.captions is not None:
            row.captions = self._from_table(files[0])
            return
        for file in files:
            if _extension(file) == "txt":
                row.captions += captions_of(self._data(file).strip() or None, "txt")
            elif _extension(file) == "json":
                fields: dict[str, Any] = json_fields(self._data(file))
                row.captions += captions_of(fields.pop("caption", None), "json.caption")
                url = fields.pop("url", None)
                row.url = readable(url) if isinstance(url, str) and url else row.url
                row.meta.update(plain(fields))

    def _from_table(self, file: str) -> list[dict[str, Any]]:
        return list(self._table()[0].get(file, ()))

    def _data(self, file: str) -> bytes:
        return storage.read_bytes(self._path(file))

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def _outside(row: Incoming, file: str) -> Incoming:
    row.failed, row.retriable = "link_outside", False
    row.detail = f"{readable(file)} is a link that leads out of the folder, and is not opened"
    return row


def _by_stem(files: Sequence[str]) -> dict[str, list[str]]:
    """Files that belong together: those with one stem. Other kinds of files are no rows."""
    groups: dict[str, list[str]] = {}
    for file in files:
        extension = _extension(file)
        if image_extension(extension) or extension in ("txt", "json"):
            groups.setdefault(posixpath.splitext(file)[0], []).append(file)
    return {stem: sorted(group, key=_in_order) for stem, group in groups.items()}


def _in_order(file: str) -> tuple[bool, bool, str]:
    """Images first; a `.txt` is preferred to a `.json`."""
    return not image_extension(_extension(file)), _extension(file) == "json", file


def _extension(file: str) -> str:
    return posixpath.splitext(file)[1].lstrip(".").lower()


@lru_cache(maxsize=4)
def _caption_table(
    path: str, source: str, _: int
) -> tuple[Mapping[str, list[dict[str, Any]]], list[str]]:
    """The captions of each file that a table names, and what its other rows are instead.

    Read once by each process, as long as its size stays the same. Raises RecipeError when a
    column is missing.
    """
    columns = table_columns(path)
    file = next((name for name in _FILE if name in columns), None)
    text = next((name for name in _TEXT if name in columns), None)
    if file is None or text is None:
        raise RecipeError(
            f"source {source!r}: {path} needs a column `file` (or `file_name`) and a column"
            f" `caption` (or `text`); its columns are {', '.join(columns) or 'none'}"
        )
    captions: dict[str, list[dict[str, Any]]] = {}
    reasons = []
    for row in (row for unit in table_units(path, source) for row in read_rows(unit)):
        name = text_of(row.get(file))
        if BROKEN in row or not name or "\0" in name:
            reasons.append(row.get(BROKEN, "a row without a file name").replace("\0", " "))
            continue
        found = captions.setdefault(posixpath.normpath(name), [])
        found += captions_of(row.get(text), text)
    return captions, reasons
