"""Existing webdataset tars, all members of each sample kept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline import storage
from pipeline.errors import DamagedFile
from pipeline.shards import Sample, read_shard
from pipeline.sources.base import (
    Incoming,
    Unit,
    captions_of,
    image_extension,
    json_fields,
    readable,
)
from pipeline.sources.tables import named_files, plain

_CUT = "truncated_archive"  # what read_shard says where a tar ends in the middle


@dataclass(frozen=True)
class WebDataset:
    """Tars named by a glob or braces, or all below a folder.

    `captions` lists where texts are, in order of preference: a member (`txt`) or a field of a
    json member (`json.caption`), which may hold a list of texts. An empty member is no caption.
    """

    name: str
    pattern: str
    captions: tuple[str, ...] = ("txt", "json.caption", "json.text")
    fetches: ClassVar[bool] = False
    web: ClassVar[None] = None

    def units(self) -> list[Unit]:
        paths = named_files(self.pattern, f"source {self.name!r}", (".tar", ".tar.gz", ".tgz"))
        return [Unit(self.name, path, stamp=str(storage.size(path))) for path in paths]

    def read(self, unit: Unit) -> Iterator[Incoming]:
        for sample in samples_of(unit.path):
            yield self._row(sample)

    def _row(self, sample: Sample) -> Incoming:
        row = row_of(sample)
        fields = json_fields(sample.parts.get("json"))
        for place in self.captions:
            row.captions += _captions(place, sample, fields)
        url = fields.pop("url", None)
        row.url = readable(url) if isinstance(url, str) and url else None
        row.meta = plain(fields)
        take_image(row, sample)
        return row

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


def samples_of(path: str, *, headers_only: bool = False) -> Iterator[Sample]:
    """The samples of a tar; the last before a cut may lack members, and so has failed.

    Raises DamagedFile when the tar can't be opened.
    """
    held: Sample | None = None
    try:
        for sample in read_shard(path, headers_only=headers_only):
            if held is not None:
                yield _cut(held, sample.detail) if sample.failed == _CUT else held
            held = sample
        if held is not None:
            yield held
    except OSError as error:
        raise DamagedFile(f"{path}: can't be read: {error.strerror or error}") from error


def _cut(sample: Sample, detail: str | None) -> Sample:
    return Sample(sample.key, {}, "truncated_sample", f"may be incomplete: {detail}")


def row_of(sample: Sample) -> Incoming:
    """A row named like the sample, with the reason when it is none."""
    retriable = None if sample.failed is None else False
    name = readable(sample.key)
    detail = None if sample.detail is None else readable(sample.detail)
    return Incoming(source_key=name, failed=sample.failed, detail=detail, retriable=retriable)


def take_image(row: Incoming, sample: Sample) -> None:
    """Give a row the image of a sample, and the other members as its parts.

    Of several images it is the first whose extension is plain: `jpg` goes before `mask.png`.
    """
    images = [e for e in sample.parts if image_extension(e.rpartition(".")[2])]
    image = min(images, key=lambda extension: "." in extension, default=None)
    row.parts = {readable(e): data for e, data in sample.parts.items() if e != image}
    if image is not None:
        row.image = sample.parts[image]
    elif row.failed is None:
        row.failed, row.retriable = "no_image", False
        row.detail = f"members: {', '.join(sorted(row.parts)) or 'none'}"


def _captions(place: str, sample: Sample, fields: dict[str, Any]) -> list[dict[str, Any]]:
    member, dot, name = place.partition(".")
    if dot and member == "json":
        return captions_of(fields.get(name), place)
    return captions_of(sample.parts.get(place) or None, place)
