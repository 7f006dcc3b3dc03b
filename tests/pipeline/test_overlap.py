"""Reading and decoding go on while a model runs, and nothing else about scoring changes."""

import os
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from pipeline import decoding
from pipeline.contract import interface
from pipeline.errors import DamagedFile
from pipeline.score import score_shard
from pipeline.score_job import ScoreJob
from tests.conftest import tree
from tests.pipeline.user_scorers import column, recipe

WAIT_S = 20.0


@dataclass(frozen=True)
class Model:
    """A model on a device that is not there, whose values are not the device's business."""

    device: str = "cuda"
    batch_size: int = 4
    name: str = "brightness"
    image_request: int | None = None
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption", "image")
    threads: ClassVar[set[str]] = set()

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    @property
    def writes(self) -> pa.Schema:
        return pa.schema([(self.name, pa.float64())])

    def prepare_image(self, image: np.ndarray) -> Any:
        self.threads.add(threading.current_thread().name)
        return (image.astype(np.float64) / 255,)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        seen = [i if isinstance(i, tuple) else self.prepare_image(i) for i in batch["image"]]
        if any("number 3" in text for text in batch["caption"]):
            raise RuntimeError("poison")
        return {self.name: [float(pixels.mean()) for (pixels,) in seen]}


@dataclass(frozen=True)
class Watching(Model):
    """Looks, while it has its first batch, at what is prepared of those that come."""

    prepared: ClassVar[list[float]] = []
    calls: ClassVar[list[int]] = []
    ahead: ClassVar[list[int]] = []

    def prepare_image(self, image: np.ndarray) -> Any:
        self.prepared.append(time.monotonic())
        return super().prepare_image(image)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        self.calls.append(len(batch["image"]))
        taken, deadline = sum(self.calls), time.monotonic() + WAIT_S
        while taken < 8 and len(self.prepared) < taken + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # for whatever else would come
        self.ahead.append(len(self.prepared) - taken)
        return {self.name: [0.0] * len(batch["image"])}


@dataclass(frozen=True)
class Breaking(Model):
    """Ends the run in the middle of it, by what it is told to raise."""

    how: str = "value"

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self.how == "interrupt":
            raise KeyboardInterrupt
        return {self.name: [1.0]}  # too few: an error of the scorer, not of a sample


@dataclass(frozen=True)
class Picky(Model):
    """Can't prepare some of the pictures."""

    def prepare_image(self, image: np.ndarray) -> Any:
        if int(image.sum()) % 3 == 0:
            raise ArithmeticError("divisible")
        return super().prepare_image(image)


@dataclass(frozen=True)
class Napping(Model):
    """Takes its time to load, and for each batch."""

    def prepare(self) -> None:
        time.sleep(0.05)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        time.sleep(0.05)
        return {self.name: [0.0] * len(batch["image"])}


@dataclass(frozen=True)
class Blind(Model):
    """Would prepare images that it does not read."""

    reads: ClassVar[tuple[str, ...]] = ("caption",)


def line(kind: type[Any], rest: str = "", name: str = "mine") -> str:
    return f"  {name}: {{scorer: '{__name__}:{kind.__name__}'{rest}}}\n"


def job_of(build: Any) -> tuple[Any, ScoreJob]:
    made = build.open_pool()
    return made.shards[0], ScoreJob(made.root, build.resolve(made)[0].instances)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("pipeline.score_input.CHUNK", 4)


def running() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("decode", "read"))]


def test_columns_are_the_same_bytes_with_threads_and_without(make_build, small_chunks):
    found = []
    for device in ("cpu", "cuda"):
        Model.threads.clear()
        score = line(Model, f", device: {device}")
        score += line(Model, f", device: {device}, name: small, image_request: 20", name="other")
        build = make_build(recipe(score), device, after="ingest")
        build.score()
        found.append(tree(build.out, "columns/**/*"))
        is_threaded = {name.startswith("decode") for name in Model.threads} == {True}
        assert is_threaded == (device == "cuda")
    assert found[0] == found[1]
    assert len(found[0]) == 2
    errors = {key: error for key, error in column(build, "mine_error").items() if error}
    assert errors.pop("20_cut.jpg").startswith("truncated")
    assert errors == {"03.jpg": "RuntimeError: poison"}


def test_the_next_chunk_is_prepared_while_the_model_runs_and_no_more(make_build, small_chunks):
    for noted in (Watching.prepared, Watching.calls, Watching.ahead):
        noted.clear()
    build = make_build(recipe(line(Watching)), after="ingest")
    build.score()
    assert sum(Watching.calls) == 13  # whose pictures can be read and have captions
    assert Watching.ahead[0] >= 1
    assert max(Watching.ahead) <= 8  # what is left of this chunk, and the next


def test_each_image_is_decoded_once_for_all_scorers_of_one_request(make_build, monkeypatch):
    decoded: list[tuple[bytes, Any]] = []
    real = decoding.decode

    def counting(data: bytes, request: int | None, max_pixels: int) -> Any:
        decoded.append((data, request))
        return real(data, request, max_pixels)

    monkeypatch.setattr("pipeline.decoding.decode", counting)
    score = line(Model) + line(Model, ", name: second", name="second")
    build = make_build(
        recipe(score + line(Model, ", name: cpu, device: cpu", "cpu")), after="ingest"
    )
    shard, job = job_of(build)
    both = tuple(i for i in job.instances if i.device == "cuda")
    score_shard(shard, replace(job, instances=both))
    assert len(decoded) == 14  # those with captions, the cut one and two equal ones among them
    score_shard(shard, job)
    assert len(decoded) == 28


def test_what_can_not_be_prepared_gets_its_reason_from_the_batch(make_build):
    plain = make_build(recipe(line(Picky, ", device: cpu")), "plain", after="ingest")
    plain.score()
    build = make_build(recipe(line(Picky)), after="ingest")
    build.score()
    errors = column(build, "mine_error")
    assert errors == column(plain, "mine_error")
    assert "ArithmeticError: divisible" in errors.values()


def test_only_a_scorer_of_images_can_prepare_them():
    assert interface(Model())
    with pytest.raises(ValueError, match="`prepare_image` must be a method, of a scorer that"):
        interface(Blind())


@pytest.mark.parametrize(
    ("how", "error"), [("value", ValueError), ("interrupt", KeyboardInterrupt)]
)
def test_threads_end_with_what_ends_the_scoring(make_build, small_chunks, how, error):
    build = make_build(recipe(line(Breaking, f", how: {how}")), after="ingest")
    shard, job = job_of(build)
    with pytest.raises(error):
        score_shard(shard, job)
    assert running() == []
    assert tree(build.out, "columns/**/*") == {}


def test_a_tar_that_breaks_off_is_named_from_the_thread_that_reads_it(make_build, small_chunks):
    build = make_build(recipe(line(Model)), after="ingest")
    shard, job = job_of(build)
    path = f"{build.root}/pool/00000.tar"
    whole = os.path.getsize(path)
    os.truncate(path, whole // 2 // 512 * 512)
    with pytest.raises(DamagedFile, match=r"00000\.tar: expected sample"):
        score_shard(shard, job)
    assert running() == []


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_record_says_how_long_was_loaded_waited_and_scored(make_build, monkeypatch, device):
    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(0.01)
        return real(*args, **options)

    real = decoding.decode
    monkeypatch.setattr("pipeline.decoding.decode", slow)
    build = make_build(recipe(line(Napping, f", device: {device}")), after="ingest")
    build.score()
    record = build.record("score-mine", "00000")
    stats = record["stats"]
    times = [stats["load_s"], stats["wait_s"], stats["scorers"]["mine"]["score_s"]]
    assert all(0.04 < seconds < record["wall_s"] for seconds in times)
    assert sum(times) < record["wall_s"]


@pytest.mark.parametrize(
    ("device", "cores", "processes", "threads"),
    [("cpu", 64, 1, 0), ("cuda", 64, 8, 8), ("cuda", 12, 4, 3), ("cuda", 2, 8, 1)],
)
def test_threads_depend_on_the_device_and_share_the_cores(
    make_build, monkeypatch, device, cores, processes, threads
):
    _, job = job_of(make_build(recipe(line(Model, f", device: {device}")), after="ingest"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert replace(job, processes=processes).threads == threads
