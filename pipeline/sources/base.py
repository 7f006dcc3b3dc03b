"""What every kind of source says of its rows, and nothing about where they go.

A source lists its units, each a file or a part of one, and reads the rows of a unit in order.
It yields a row for everything it meets: what can't be read is a row with a reason.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.keys import digest, pair_key


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a source that one worker reads: a file, or rows `start` to `stop` of it.

    `stamp` changes when the file does (its size, or the names it stands for).
    """

    source: str
    path: str
    start: int = 0
    stop: int | None = None
    names: tuple[str, ...] = ()
    stamp: str = ""


@dataclass(slots=True)
class Incoming:
    """One row as it came in, before anything is decided about it.

    `parts` are the other members of the sample by extension. `metadata_only` says that the
    source has no image by design; its rows are named by `uid`, not by what they point to.
    `failed` is a reason code with `detail` for a person.
    """

    source_key: str | None = None
    url: str | None = None
    captions: list[dict[str, Any]] = field(default_factory=list)
    image: bytes | None = field(default=None, repr=False)
    parts: dict[str, bytes] = field(default_factory=dict, repr=False)
    meta: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None
    detail: str | None = None
    retriable: bool | None = None
    metadata_only: bool = False
    uid: str | None = None

    @property
    def caption(self) -> str | None:
        return self.captions[0]["text"] if self.captions else None

    @property
    def image_sha256(self) -> bytes | None:
        return None if self.image is None else hashlib.sha256(self.image).digest()

    def key(self, source: str) -> bytes:
        """The key of the pair; of a row with neither URL nor image, a name for the row itself."""
        if self.uid is not None:
            return digest(b"uid", self.uid.encode("utf-8", "replace"))
        sha = self.image_sha256
        if self.url is None and sha is None:
            name = None if self.source_key is None else self.source_key.encode("utf-8", "replace")
            return digest(b"row", source.encode(), name, self._text())
        return pair_key(url=self.url, image_sha256=sha, caption=self.caption)

    def rank(self, source: str) -> bytes:
        """Of rows with equal keys the one of smallest rank carries the sample."""
        name = (self.source_key or "").encode("utf-8", "replace")
        return digest(source.encode(), name, self._text())

    def _text(self) -> bytes:
        return json.dumps([self.captions, self.meta], sort_keys=True, default=str).encode()


class Source(Protocol):
    """A kind of source; implementations are frozen dataclasses, and so can be sent to workers."""

    @property
    def name(self) -> str: ...

    def units(self) -> list[Unit]:
        """The pieces of the source, in an order that depends on their names alone.

        Raises RecipeError when there is nothing at the place the recipe names.
        """
        ...

    def read(self, unit: Unit) -> Iterator[Incoming]:
        """The rows of a unit in order; the same rows each time it is called."""
        ...

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        """The same rows with their images; sources that hold images return them as they are."""
        ...


def caption(text: str | bytes, origin: str) -> dict[str, Any]:
    """A caption as it came; bytes that are not UTF-8 are replaced, and flagged so."""
    flags: list[str] = []
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            text, flags = text.decode("utf-8", "replace"), ["not_utf8"]
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, as JSON can carry it
        text, flags = text.encode("utf-8", "replace").decode(), ["not_unicode"]
    return {"text": text, "origin": origin, "kind": "raw", "flags": flags or None}


def image_extension(extension: str) -> bool:
    """Whether a member or file of this extension is taken for the image of its sample."""
    return extension.lower() in _IMAGES


_IMAGES = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"}
)
