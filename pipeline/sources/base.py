"""What every kind of source says of its rows, and nothing about where they go.

A source lists its units, each a file or a part of one, and reads the rows of a unit in order.
It yields a row for everything it meets: what can't be read is a row with a reason.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.fetch.options import FetchOptions
from pipeline.keys import digest, pair_key

_AS_SAID = json.JSONEncoder(sort_keys=True, default=str)


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
    `failed` is a reason code with `detail` for a person. `held` says where the source itself has
    the image of a row that came without; `hashes` are known ones of its bytes, `md5` and `sha256`
    in hexadecimal; `fetched` is what fetching it told, by columns of the pool.
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
    held: str | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, Any] = field(default_factory=dict, repr=False)
    _hashed: tuple[bytes, bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def caption(self) -> str | None:
        return self.captions[0]["text"] if self.captions else None

    def give(self, image: bytes | None) -> None:
        """Have this image."""
        self.image = image

    @property
    def image_sha256(self) -> bytes | None:
        """Computed once for each image."""
        if self.image is None:
            return None
        if self._hashed is None or self._hashed[0] is not self.image:
            self._hashed = self.image, hashlib.sha256(self.image).digest()
        return self._hashed[1]

    def key(self, source: str) -> bytes:
        """The key of the pair; of a row with neither URL nor image, a name for the row itself."""
        if self.uid is not None:
            return digest(b"uid", self.uid.encode("utf-8", "replace"))
        sha = self.image_sha256
        if self.url is None and sha is None:
            name = None if self.source_key is None else self.source_key.encode("utf-8", "replace")
            return digest(b"row", source.encode(), name, self.said.encode())
        return pair_key(url=self.url, image_sha256=sha, caption=self.caption)

    def rank(self, source: str, said: str | None = None) -> bytes:
        """Of rows with equal keys the one of smallest rank carries the sample.

        `said` is what the property of that name gives, where that is known.
        """
        said = self.said if said is None else said
        name = (self.source_key or "").encode("utf-8", "replace")
        if self.image is None and not self.parts:
            return digest(source.encode(), name, said.encode())
        others = [part for e, data in sorted(self.parts.items()) for part in (e.encode(), data)]
        if self.url is not None and self.image is not None:  # the key does not tell the image
            others.append(self.image)
        return digest(source.encode(), name, said.encode(), *others)

    @property
    def said(self) -> str:
        """What the source said of the row, in the one way of writing that ranks go by: JSON."""
        return _AS_SAID.encode([self.captions, self.meta])


class Source(Protocol):
    """A kind of source; implementations are frozen dataclasses, and so can be sent to workers."""

    @property
    def name(self) -> str: ...

    @property
    def fetches(self) -> bool:
        """Whether images are fetched over the network."""
        ...

    @property
    def web(self) -> FetchOptions | None:
        """How our own fetcher fetches the images; None when it does not."""
        ...

    def units(self) -> list[Unit]:
        """The pieces of the source, in an order that depends on their names alone.

        Raises RecipeError when there is nothing at the place the recipe names.
        """
        ...

    def read(self, unit: Unit) -> Iterator[Incoming]:
        """The rows of a unit in order; the same rows each time it is called."""
        ...

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        """The same rows in the same order with their images, one at a time where that can be.

        Rows that have failed, and those of sources that hold images, come back as they are.
        """
        ...


def caption(text: str | bytes, origin: str) -> dict[str, Any]:
    """A caption as it came; what is not UTF-8 or not Unicode is replaced, and flagged so."""
    text, flags = _unicode(text) if isinstance(text, str) else _decoded(text)
    return {"text": text, "origin": origin, "kind": "raw", "flags": flags or None}


def _decoded(data: bytes) -> tuple[str, list[str]]:
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("utf-8-sig", "replace"), ["not_utf8"]


def _unicode(text: str) -> tuple[str, list[str]]:
    """Text with lone surrogates are bytes of a file that was no UTF-8, or escapes in JSON."""
    if text.isascii():
        return text, []
    try:
        text.encode("utf-8")
        return text, []
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), ["not_utf8"]
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode(), ["not_unicode"]


def readable(text: str) -> str:
    """A file name or another short text as Unicode, whatever bytes it is made of."""
    return _unicode(text)[0]


def captions_of(value: Any, origin: str) -> list[dict[str, Any]]:
    """The captions of a cell or a field: a text, or a list of texts; numbers as they print."""
    if type(value) is str:  # nearly always
        return [caption(value, origin)]
    texts = value if isinstance(value, list) else [value]
    found = (text if isinstance(text, str | bytes) else _printed(text) for text in texts)
    return [caption(text, origin) for text in found if text is not None]


def _printed(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and value == value else None


def json_fields(data: bytes | None) -> dict[str, Any]:
    """The fields of a JSON object; of another JSON value, or of none, what was found."""
    if data is None:
        return {}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {"unreadable_json": True}
    return value if isinstance(value, dict) else {"json": value}


def image_extension(extension: str) -> bool:
    """Whether a member or file of this extension is taken for the image of its sample."""
    return extension.lower() in _IMAGES


_IMAGES = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"}
)
