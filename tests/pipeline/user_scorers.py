"""Scorers as users write them, sound and broken, and what builds make of them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from pipeline.pool import read_base
from tests.conftest import RECIPE


@dataclass(frozen=True)
class Length:
    """A scorer as a user writes one: the length of the caption, times a factor."""

    factor: int = 1
    version: ClassVar[int] = 1

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption",)

    @property
    def writes(self) -> pa.Schema:
        return pa.schema([("length", pa.int32())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"length": [self.factor * len(text) for text in batch["caption"]]}


@dataclass(frozen=True)
class Poisoned(Length):
    """Fails for the whole batch when one caption names number 3."""

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if any("number 3" in text for text in batch["caption"]):
            raise RuntimeError("poison")
        return super().__call__(batch)


@dataclass(frozen=True)
class Area:
    """Counts its calls, to see that an image is measured once for all rows that share it."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema([("area", pa.int32())])
    seen: ClassVar[list[int]] = []

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        self.seen.append(len(batch["image"]))
        return {"area": [image.shape[0] * image.shape[1] for image in batch["image"]]}


@dataclass(frozen=True)
class Batched(Length):
    """Notes the sizes of its batches, and when it was asked to load."""

    batch_size: int = 4
    seen: ClassVar[list[Any]] = []

    def prepare(self) -> None:
        self.seen.append("loaded")

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        self.seen.append(len(batch["caption"]))
        return super().__call__(batch)


@dataclass(frozen=True)
class AfterLength(Area):
    """Reads what another scorer of the same pass writes."""

    reads: ClassVar[tuple[str, ...]] = ("image", "length")
    writes: ClassVar[pa.Schema] = pa.schema([("twice", pa.int32())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"twice": [2 * length for length in batch["length"]]}


@dataclass(frozen=True)
class Hungry(Length):
    """Has room for two captions, or for none."""

    room: int = 2

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if len(batch["caption"]) > self.room:
            raise MemoryError("too many")
        return super().__call__(batch)


@dataclass(frozen=True)
class Weightless(Length):
    """A model whose weights are not there."""

    def prepare(self) -> None:
        raise ValueError("no weights")


@dataclass(frozen=True)
class Short(Length):
    """Breaks the contract: one value too few."""

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"length": [1] * (len(batch["caption"]) - 1)}


@dataclass(frozen=True)
class Wild(Length):
    """Gives values that its columns can't hold for three captions."""

    writes: ClassVar[pa.Schema] = pa.schema(  # type: ignore[assignment]
        [("length", pa.int32()), ("ratio", pa.float32()), ("vector", pa.list_(pa.float32()))]
    )

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch["caption"]
        return {
            "length": [2**40 if "number 3" in text else len(text) for text in texts],
            "ratio": [float("nan") if "number 4" in text else 0.5 for text in texts],
            "vector": [[float("inf")] if "number 5" in text else [1.0] for text in texts],
        }


def recipe(score: str, select: str = "") -> str:
    """RECIPE with these scorers and steps, and a pool of one shard."""
    lines = RECIPE.partition("score:")[0] + "score:\n" + score + "select:\n" + select
    return lines + "  - all: {where: key is not null}\ningest: {rows_per_shard: 50}\n"


def column(build: Any, name: str) -> list[Any]:
    """A column over the whole pool, by source key."""
    made = build.open_pool()
    resolved, _ = build.resolve(made)
    values, keys = [], []
    for shard in made.shards:
        columns = resolved.writers.get(name, _error_set(resolved, name))
        values += columns.read(shard)[name].to_pylist()
        keys += read_base(made.root, shard, ["source_key"])["source_key"].to_pylist()
    return dict(zip(keys, values, strict=True))


def _error_set(resolved: Any, name: str) -> Any:
    return next((i.columns for i in resolved.instances if i.columns.error_column == name), None)


def mine(scorer: str, rest: str = "", name: str = "mine") -> str:
    """A line of a recipe: a scorer of this module under a name."""
    return f"  {name}: {{scorer: '{__name__}:{scorer}'{rest}}}\n"
