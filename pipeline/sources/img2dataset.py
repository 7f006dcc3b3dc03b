"""Folders that img2dataset wrote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.sources.base import Incoming, Unit


@dataclass(frozen=True)
class Img2datasetOutput:
    """Every row of the metadata of an img2dataset output folder."""

    name: str
    root: str

    def units(self) -> list[Unit]:
        raise NotImplementedError

    def read(self, unit: Unit) -> Iterator[Incoming]:
        raise NotImplementedError

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        return list(rows)
