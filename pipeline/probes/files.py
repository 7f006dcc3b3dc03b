"""Pictures of a user's data set: files below a folder, whole or cut to a box.

A name that leads out of the folder is as good as not there. A picture that is missing is named
and counted, and only what it is needed for is left out.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image

from pipeline import decoding, storage
from pipeline.errors import CurationError, DamagedFile

EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".webp")
_SHOWN = 5
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FilePicture:
    """A file, called as the data set calls it; `box` is left, upper, width, height in pixels."""

    name: str
    path: str = field(compare=False, repr=False)
    box: Box | None = None

    def read(self) -> bytes:
        data = storage.read_bytes(self.path)
        return data if self.box is None else _cut(data, self.box)


def _cut(data: bytes, box: Box) -> bytes:
    """The part of a picture as PNG; of one that can't be decoded the bytes as they are."""
    try:
        image = Image.fromarray(decoding.decode(data))
    except decoding.Unreadable:
        return data
    left, upper, width, height = box
    stream = BytesIO()
    edges = (left, upper, left + width, upper + height)
    inside = image.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]
    inside.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


class Missing(Exception):
    """A picture that a data set names and its folder does not hold."""


@dataclass
class Folder:
    """Where the pictures of a data set are; collects the names of those that are not.

    A class with state because what is missing is told once, after all of a data set is read.
    """

    root: str
    missing: dict[str, None] = field(default_factory=dict)
    left_out: int = 0

    def find(self, name: str, box: Box | None = None) -> FilePicture:
        """The picture of a name, which may lack its extension. Raises Missing."""
        root = os.path.realpath(self.root)
        for extension in EXTENSIONS if "\0" not in name else ():
            path = os.path.realpath(os.path.join(root, name + extension))
            if os.path.isfile(path) and os.path.commonpath([root, path]) == root:
                label = name if box is None else f"{name} {box}"
                return FilePicture(label, path, box)
        self.missing.setdefault(name)
        raise Missing(name)

    def json(self) -> dict[str, Any]:
        """What is missing, for the record."""
        return {"left_out": self.left_out, "pictures": sorted(self.missing)}

    def told(self) -> str | None:
        """What is missing in words, None when nothing is."""
        if not self.missing:
            return None
        names = sorted(self.missing)
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        shown = ", ".join(names[:_SHOWN])
        return f"{len(names):,} pictures are not in {self.root}: {shown}{more}"


def require_some(items: Sequence[Any], folder: Folder, source: str) -> None:
    """Raise CurationError when a data set has nothing that can be asked."""
    if not items:
        told = folder.told()
        raise CurationError(f"{source}: nothing can be asked{'; ' + told if told else ': empty'}")


def damaged(path: str, place: str, what: str) -> DamagedFile:
    """An error about a file of a data set; `place` is such as `line 3`, or empty."""
    return DamagedFile(": ".join(part for part in (path, place, what) if part))
