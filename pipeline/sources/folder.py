"""A folder of images with captions beside them (`.txt`, `.json`), or in one table."""

import json
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.sources.base import Incoming, Unit, caption, image_extension
from pipeline.sources.tables import read_rows, table_columns, table_units, text_of

_UNIT_ROWS = 1000


@dataclass(frozen=True)
class Folder:
    """Images below `root`, each with `<stem>.txt` or `<stem>.json` beside it.

    A caption file without an image is a row that failed with `no_image`. In a `.json` the
    caption is its `caption` field; the other fields become the row's meta. With `captions`, a
    mapping of file name to text read from a table, files beside the images are not looked at.
    """

    name: str
    root: str
    captions: tuple[tuple[str, str], ...] | None = None

    def units(self) -> list[Unit]:
        if not storage.is_folder(self.root):
            raise RecipeError(f"source {self.name!r}: there is no folder {self.root}")
        rows = sorted(_rows(storage.files_below(self.root)).items())
        groups = [rows[i : i + _UNIT_ROWS] for i in range(0, len(rows), _UNIT_ROWS)]
        return [
            Unit(
                source=self.name,
                path=self.root,
                start=number * _UNIT_ROWS,
                names=tuple("\0".join(files) for _, files in group),
                stamp=self._stamp([file for _, files in group for file in files]),
            )
            for number, group in enumerate(groups)
        ]

    def _stamp(self, files: Sequence[str]) -> str:
        sizes = (f"{file}\0{storage.size(self._path(file))}".encode() for file in files)
        return digest(
            *(size.decode("utf-8", "surrogateescape").encode("utf-8", "replace") for size in sizes)
        ).hex()

    def _path(self, file: str) -> str:
        return storage.join(self.root, file)

    def read(self, unit: Unit) -> Iterator[Incoming]:
        table = None if self.captions is None else dict(self.captions)
        for names in unit.names:
            files = names.split("\0")
            images = [file for file in files if image_extension(_extension(file))]
            for image in images or files[:1]:
                yield self._row(image if images else None, files, table)

    def _row(
        self, image: str | None, files: Sequence[str], table: dict[str, str] | None
    ) -> Incoming:
        row = Incoming(source_key=_readable(image or files[0]))
        for file in files:
            if _extension(file) == "txt" and table is None:
                row.captions.append(caption(self._data(file).strip(), "txt"))
            elif _extension(file) == "json":
                self._add_json(row, file, table is None)
        if table is not None and image is not None and image in table:
            row.captions.insert(0, caption(table[image], "table"))
        if image is None:
            row.failed, row.detail = "no_image", "a caption file without an image beside it"
        else:
            row.image = self._data(image)
        return row

    def _data(self, file: str) -> bytes:
        return storage.read_bytes(self._path(file))

    def _add_json(self, row: Incoming, file: str, with_caption: bool) -> None:
        try:
            value = json.loads(self._data(file))
        except ValueError:
            row.meta["unreadable_json"] = _readable(file)
            return
        fields: dict[str, Any] = value if isinstance(value, dict) else {"json": value}
        text = fields.pop("caption", None)
        if with_caption and isinstance(text, str):
            row.captions.append(caption(text, "json"))
        row.meta.update(fields)

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        return list(rows)


def _rows(files: Sequence[str]) -> dict[str, list[str]]:
    """Files that belong together: those with one stem. Other kinds of files are no rows."""
    groups: dict[str, list[str]] = {}
    for file in files:
        extension = _extension(file)
        if image_extension(extension) or extension in ("txt", "json"):
            groups.setdefault(posixpath.splitext(file)[0], []).append(file)
    return groups


def _extension(file: str) -> str:
    return posixpath.splitext(file)[1].lstrip(".").lower()


def _readable(name: str) -> str:
    """A file name as text, whatever bytes it is made of."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def caption_table(path: str, source: str) -> tuple[tuple[str, str], ...]:
    """File name and caption of every row of a table with the columns `file` and `caption`.

    `file_name` (the Hugging Face name) and `text` are taken too. Raises RecipeError without them.
    """
    columns = table_columns(path)
    file = next((name for name in ("file", "file_name") if name in columns), None)
    text = next((name for name in ("caption", "text") if name in columns), None)
    if file is None or text is None:
        raise RecipeError(
            f"source {source!r}: {path} needs a column `file` (or `file_name`) and a column"
            f" `caption` (or `text`); its columns are {', '.join(columns) or 'none'}"
        )
    rows = (row for unit in table_units(path, source) for row in read_rows(unit))
    pairs = ((text_of(row.get(file)), text_of(row.get(text))) for row in rows)
    return tuple((name, caption) for name, caption in pairs if name and caption is not None)
