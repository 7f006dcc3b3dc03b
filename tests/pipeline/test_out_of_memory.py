"""Memory runs out in the middle of a shard: batches fall, recover, and no value is another."""

import gc
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline import verify
from pipeline.errors import ShardsFailed
from pipeline.score_memory import GROW_AFTER, Room, is_out_of_memory
from tests.conftest import built, tree
from tests.pipeline.user_scorers import Length, column, recipe


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


ERRORS = {
    "python": MemoryError(),
    "torch": OutOfMemoryError("Tried to allocate 20.00 MiB"),
    "cuda": RuntimeError("CUDA error: out of memory"),
    "cublas": RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "allocator": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
}


class Filling:
    """What fills the memory during a call."""


@dataclass(frozen=True)
class Padding(Length):
    """Pads its batches to `batch_size`, and has room for as many samples as the script says."""

    batch_size: int = 8
    script: ClassVar[list[int]] = []
    sizes: ClassVar[list[int]] = []
    held: ClassVar[list[Any]] = []
    error: ClassVar[Exception] = MemoryError()

    @property
    def identity(self) -> dict[str, Any]:
        return {}

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        assert len(batch["caption"]) <= self.batch_size
        assert [ref() for ref in self.held] == [None] * len(self.held)
        filling = Filling()
        self.held.append(weakref.ref(filling))
        self.sizes.append(self.batch_size)
        room = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if self.batch_size > room:
            raise type(self.error)(*self.error.args)
        return super().__call__(batch)


@pytest.fixture
def scripted(make_build, monkeypatch):
    """Scores the fourteen captions with so much room call by call, the last for the rest."""
    monkeypatch.setattr("pipeline.score_memory.GROW_AFTER", 2)

    def run(script: list[int], error: Exception = ERRORS["python"], out: str = "out") -> Any:
        for noted in (Padding.sizes, Padding.held, Padding.script):
            noted.clear()
        Padding.script += script
        monkeypatch.setattr(Padding, "error", error)
        line = f"  mine: {{scorer: '{__name__}:Padding'}}\n"
        build = make_build(recipe(line), out, after="ingest")
        gc.disable()  # what is held must go by itself
        try:
            build.score()
        finally:
            gc.enable()
        return build

    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
def test_batches_fall_until_they_fit_and_every_value_is_there(scripted, kind):
    build = scripted([2], ERRORS[kind])
    # From eight to two; after two that fit, four is tried in vain.
    assert Padding.sizes[:9] == [8, 4, 2, 2, 4, 2, 2, 4, 2]
    values = column(build, "length")
    assert sum(value is not None for value in values.values()) == 14
    assert set(column(build, "mine_error").values()) == {None}


def test_they_recover_when_there_is_room_again(scripted):
    build = scripted([2, 2, 8])
    assert Padding.sizes == [8, 4, 2, 2, 4, 4, 8]
    assert build.record("score-mine", "00000")["stats"]["scorers"]["mine"]["smallest_batch"] == 2


def test_the_size_that_fits_is_remembered_from_batch_to_batch(scripted):
    scripted([4])
    assert Padding.sizes[:3] == [8, 4, 4]
    assert Padding.sizes.count(8) < Padding.sizes.count(4)


def test_columns_are_the_same_bytes_as_with_room(scripted):
    tight, roomy = scripted([1], out="tight"), scripted([8], out="roomy")
    assert Padding.sizes == [8, 8]
    assert tree(tight.out, "columns/**/*") == tree(roomy.out, "columns/**/*") != {}
    stats = roomy.record("score-mine", "00000")["stats"]["scorers"]["mine"]
    assert "smallest_batch" not in stats
    assert stats["scored"] == 14
    assert tight.record("score-mine", "00000")["stats"]["scorers"]["mine"]["scored"] == 14


def test_without_room_for_one_sample_the_shard_fails(scripted):
    with pytest.raises(ShardsFailed, match="CUDA error: out of memory"):
        scripted([0], ERRORS["cuda"])
    assert Padding.sizes == [8, 4, 2, 1]


@pytest.mark.slow
def test_verify_names_the_shard(scripted):
    said = verify.check(built(scripted([4])).out)
    assert said.endswith("\n  shard 00000: mine ran out of memory, batches fell to 4")


def test_what_is_no_lack_of_memory():
    for error in (RuntimeError("shape mismatch"), ValueError("out of memory of bad days")):
        assert not is_out_of_memory(error)


def test_a_room_of_odd_size_comes_back_to_it():
    room = Room.of(25)
    sizes = []
    for _ in range(4):
        room.fall(room.now)
        sizes.append(room.now)
    for _ in range(5 * GROW_AFTER):
        room.fits()
        sizes.append(room.now)
    assert list(dict.fromkeys(sizes)) == [12, 6, 3, 1, 2, 4, 8, 16, 25]
    assert room == Room(25, 25, 1)


@dataclass(frozen=True)
class Two(Padding):
    """One of its samples is poison, and there is no room for more than two."""

    writes: ClassVar[pa.Schema] = pa.schema([("length", pa.int32())])  # type: ignore[assignment]

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self.batch_size > 2:
            raise MemoryError
        if any("number 3" in text for text in batch["caption"]):
            raise RuntimeError("poison")
        return Length.__call__(self, batch)


def test_poison_costs_itself_where_memory_is_short_too(make_build):
    build = make_build(recipe(f"  mine: {{scorer: '{__name__}:Two'}}\n"), after="ingest")
    build.score()
    errors = {key: error for key, error in column(build, "mine_error").items() if error}
    assert errors == {"03.jpg": "RuntimeError: poison"}
    assert build.record("score-mine", "00000")["stats"]["scorers"]["mine"]["scored"] == 13
