"""Scorers that see exactly this much and no more: what a probe must say of them is known."""

import functools
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters.too_few import NotEnoughRows
from pipeline.decoding import decode
from pipeline.probes.drawing import Scene
from pipeline.probes.drawn import DRAWN
from pipeline.probes.probe import Probe

HERE = "tests.pipeline.probing.toys"
Batch = dict[str, list[Any]]
SMALL = 4  # items of a probe in tests


def digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


@functools.cache
def drawn(name: str, limit: int = SMALL) -> Probe:
    """A drawn probe; what is true of its pictures is known to Oracle and the others from now on."""
    probe = DRAWN[name](limit)
    for question in probe.questions:
        for picture, _ in question.pairs:
            know(picture)
        Oracle.true.add(fact(*question.pairs[question.right]))
    for grid in probe.grids:
        for picture, place in zip(grid.pictures, grid.right, strict=True):
            Oracle.true.add(fact(picture, grid.options[place][0]))
    return probe


def fact(picture: Any, text: str) -> tuple[bytes, str]:
    return digest(decode(picture.read())), text


def know(picture: Any) -> None:
    if isinstance(picture, Scene):
        Words.scenes[digest(decode(picture.read()))] = picture


@dataclass(frozen=True)
class Constant:
    """Says the same of everything."""

    value: float = 0.5
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image", "caption")
    writes: ClassVar[pa.Schema] = pa.schema([("constant", pa.float32())])

    def __call__(self, batch: Batch) -> Batch:
        return {"constant": [self._score(*row) for row in zip(*batch.values(), strict=True)]}

    def _score(self, image: np.ndarray, text: str) -> Any:
        return self.value


@dataclass(frozen=True)
class Oracle(Constant):
    """Knows which captions are true of which drawn picture."""

    true: ClassVar[set[tuple[bytes, str]]] = set()

    def _score(self, image: np.ndarray, text: str) -> float:
        return float((digest(image), text) in self.true)


@dataclass(frozen=True)
class Words(Constant):
    """A bag of concepts: how many words of the caption are of things or colours in the picture."""

    scenes: ClassVar[dict[bytes, Scene]] = {}

    def _score(self, image: np.ndarray, text: str) -> float:
        seen = {
            word
            for thing in self.scenes[digest(image)].things
            for word in (thing.shape, thing.colour)
        }
        return float(sum(word.strip(".,") in seen for word in text.split()))


@dataclass(frozen=True)
class Binder(Constant):
    """Whether a thing and a colour that the caption names are one thing of the picture."""

    def _score(self, image: np.ndarray, text: str) -> float:
        words = text.replace(".", "").split()
        things = Words.scenes[digest(image)].things
        return float(any(t.shape in words and t.colour in words for t in things))


@dataclass(frozen=True)
class Spoilt(Oracle):
    """An oracle that fails, each time in another way, for some captions."""

    version: ClassVar[int] = 1

    def __call__(self, batch: Batch) -> Batch:
        if any("orange" in text for text in batch["caption"]):
            raise RuntimeError("no orange")
        return super().__call__(batch)

    def _score(self, image: np.ndarray, text: str) -> Any:
        if "purple" in text:
            return math.nan
        if "yellow" in text:
            return ValueError("no yellow")
        return None if "blue" in text else super()._score(image, text)


@dataclass(frozen=True)
class Dual:
    """A dual encoder over mean colours and letters; `factor` -1 makes its score no cosine."""

    factor: float = 1.0
    embeddings: bool = False
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image", "caption")
    asked: ClassVar[list[int]] = []

    @property
    def writes(self) -> pa.Schema:
        fields = [pa.field("cosine", pa.float32())]
        if self.embeddings:
            fields += [pa.field(n, pa.list_(pa.float16())) for n in ("dual_image", "dual_text")]
        return pa.schema(fields)

    def __call__(self, batch: Batch) -> Batch:
        self.asked.append(len(batch["image"]))
        seen = _unit([self._seen(image) for image in batch["image"]])
        read = _unit([[text.count(c) + 0.5 for c in "reblugn"] for text in batch["caption"]])
        values = {
            "cosine": [self.factor * float(s) for s in np.einsum("ij,ij->i", seen, read)],
            "dual_image": [*seen.astype(np.float16)],
            "dual_text": [*read.astype(np.float16)],
        }
        return {name: values[name] for name in self.writes.names}

    def _seen(self, image: np.ndarray) -> list[float]:
        return [*image.mean(axis=(0, 1)), *image.std(axis=(0, 1)), float(image[0, 0, 0])]


def _unit(rows: Iterable[Iterable[float]]) -> np.ndarray:
    found = np.array([[*row] for row in rows])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@dataclass(frozen=True)
class OverVectors:
    """A scorer of stored vectors, as a reward is."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("clip_image", "clip_text")
    writes: ClassVar[pa.Schema] = pa.schema([("over", pa.float32())])

    def __call__(self, batch: Batch) -> Batch:
        pairs = zip(batch["clip_image"], batch["clip_text"], strict=True)
        return {"over": [float(np.float64(a) @ np.float64(b)) for a, b in pairs]}


@dataclass(frozen=True)
class Doubled:
    """Reads what another scorer of the same recipe writes."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("constant", "caption")
    writes: ClassVar[pa.Schema] = pa.schema([("length", pa.int32()), ("doubled", pa.float64())])

    def __call__(self, batch: Batch) -> Batch:
        return {
            "length": [len(text) for text in batch["caption"]],
            "doubled": [2 * value for value in batch["constant"]],
        }


@dataclass(frozen=True)
class Reads(Constant):
    """Reads whatever it is told to."""

    what: tuple[str, ...] = ("image", "caption")

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.what


@dataclass(frozen=True)
class Fitted:
    """Says how many captions it has learnt; `fewest` are those it can learn from."""

    fewest: int = 0
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image", "caption")
    writes: ClassVar[pa.Schema] = pa.schema([("known", pa.float32())])
    fit_rows: ClassVar[int] = 10
    fit_reads: ClassVar[tuple[str, ...]] = ("caption",)
    learnt: ClassVar[list[list[str]]] = []

    def fit(self, rows: pa.Table) -> dict[str, np.ndarray]:
        if len(rows) < self.fewest:
            raise NotEnoughRows(f"needs {self.fewest} rows")
        self.learnt.append(rows["caption"].to_pylist())
        return {"rows": np.array([len(rows)])}

    def __call__(self, batch: Batch, fitted: dict[str, np.ndarray]) -> Batch:
        return {"known": [float(fitted["rows"][0]) for _ in batch["caption"]]}


@dataclass(frozen=True)
class FittedOverVectors(OverVectors):
    """Learns from what an encoder stores, and compares with the mean of it."""

    fit_rows: ClassVar[int] = 1000

    def fit(self, rows: pa.Table) -> dict[str, np.ndarray]:
        vectors = np.array(rows["clip_text"].to_pylist(), np.float64)
        return {"mean": vectors.mean(axis=0)}

    def __call__(self, batch: Batch, fitted: dict[str, np.ndarray]) -> Batch:  # type: ignore[override]
        texts = [np.float64(text) - fitted["mean"] for text in batch["clip_text"]]
        return super().__call__({**batch, "clip_text": texts})


@dataclass(frozen=True)
class Unloadable(Constant):
    """Its weights are missing."""

    def prepare(self) -> None:
        raise FileNotFoundError("weights.bin is not there")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
