"""Existing webdataset tars, all members of each sample kept."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.shards import Sample, read_shard
from pipeline.sources.base import Incoming, Unit, caption, image_extension


@dataclass(frozen=True)
class WebDataset:
    """Tars named by a glob or braces, or all `*.tar` of a folder.

    `captions` lists where texts are, in order of preference: a member (`txt`) or a field of a
    json member (`json.caption`).
    """

    name: str
    pattern: str
    captions: tuple[str, ...] = ("txt", "json.caption", "json.text")

    def units(self) -> list[Unit]:
        folder = storage.is_folder(self.pattern)
        pattern = storage.join(self.pattern, "*.tar") if folder else self.pattern
        paths = [path for path in storage.expand(pattern) if storage.exists(path)]
        if not paths:
            raise RecipeError(f"source {self.name!r}: no tar at {self.pattern}")
        return [Unit(self.name, path, stamp=str(storage.size(path))) for path in paths]

    def read(self, unit: Unit) -> Iterator[Incoming]:
        for sample in read_shard(unit.path):
            yield self._row(sample)

    def _row(self, sample: Sample) -> Incoming:
        row = Incoming(source_key=_text(sample.key), failed=sample.failed, detail=sample.detail)
        image = next((e for e in sample.parts if image_extension(e.rpartition(".")[2])), None)
        fields = _json(sample.parts.get("json"))
        for place in self.captions:
            text = _find(place, sample, fields)
            if text is not None:
                row.captions.append(caption(text, place))
        url = fields.pop("url", None)
        row.url = url if isinstance(url, str) and url else None
        row.meta = fields
        row.parts = {e: data for e, data in sample.parts.items() if e != image}
        if image is not None:
            row.image = sample.parts[image]
        elif row.failed is None:
            row.failed, row.detail = "no_image", f"members: {', '.join(sorted(sample.parts))}"
        return row

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        return list(rows)


def _find(place: str, sample: Sample, fields: dict[str, Any]) -> str | bytes | None:
    member, dot, name = place.partition(".")
    if dot and member == "json":
        value = fields.get(name)
        return value if isinstance(value, str) else None
    return sample.parts.get(place)


def _json(data: bytes | None) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        value = json.loads(data)
    except ValueError:
        return {"unreadable_json": True}
    return value if isinstance(value, dict) else {"json": value}


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
