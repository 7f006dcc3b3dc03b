"""Tables of URLs with captions; their images are fetched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.sources.base import Incoming, Unit
from pipeline.sources.tables import check_columns, table_units


@dataclass(frozen=True)
class UrlTable:
    """Rows of a table with a column of URLs."""

    name: str
    pattern: str
    url: str
    captions: tuple[str, ...] = ()
    key: str | None = None
    threads: int = 32
    timeout_s: float = 10.0
    retries: int = 1
    allow_hosts: tuple[str, ...] = ()

    def units(self) -> list[Unit]:
        found = table_units(self.pattern, self.name)
        for path in dict.fromkeys(unit.path for unit in found):
            check_columns(path, [self.url, *self.captions], self.name)
        return found

    def read(self, unit: Unit) -> Iterator[Incoming]:
        raise NotImplementedError

    def fetch(self, rows: Sequence[Incoming]) -> list[Incoming]:
        raise NotImplementedError
