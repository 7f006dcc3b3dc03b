"""One process for each GPU, whatever dies; the GPUs here are names in a script."""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline import gpus, procs
from pipeline.run import Engine
from tests.commands import pairmill
from tests.conftest import RECIPE
from tests.pipeline import works
from tests.pipeline.test_procs import work_on
from tests.pipeline.user_scorers import column, mine, recipe


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    monkeypatch.setattr("pipeline.gpus._count", lambda: 2)


@pytest.mark.parametrize(
    ("listed", "count", "names"),
    [
        (None, 0, ()),
        (None, 2, ("0", "1")),
        ("3,5", 2, ("3", "5")),
        (" GPU-8932f937, MIG-3eb87630", 2, ("GPU-8932f937", "MIG-3eb87630")),
        ("1,-1,0", 1, ("1",)),  # CUDA stops at the first that is none
        ("", 0, ()),
    ],
)
def test_gpus_have_the_names_that_processes_are_given(monkeypatch, listed, count, names):
    monkeypatch.setattr("pipeline.gpus._count", lambda: count)
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    if listed is not None:
        monkeypatch.setenv(gpus.VARIABLE, listed)
    assert gpus.visible() == names


@pytest.mark.parametrize(("listed", "said"), [(None, "is not set"), ("7", "is '7'")])
def test_without_a_gpu_it_is_said_what_was_found(monkeypatch, tmp_path, listed, said):
    monkeypatch.setattr("pipeline.gpus._count", lambda: 0)
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    if listed is not None:
        monkeypatch.setenv(gpus.VARIABLE, listed)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ["--out", tmp_path / "out", "--engine", "procs", "--workers", "gpu"]
    code, text = pairmill("score", tmp_path / "recipe.yaml", *words)
    assert code == 2
    assert "there is no GPU here that torch " in text
    assert f"CUDA_VISIBLE_DEVICES {said}" in text


def test_only_processes_of_this_machine_are_given_gpus(two_gpus):
    procs_ = Engine("procs", workers=5)
    assert procs_.for_device("cuda") == Engine("procs", workers=2, gpus=("0", "1"))
    assert procs_.for_device("cpu") is procs_
    for other in (Engine(), Engine("dask", scheduler="tcp://host:1")):
        assert other.for_device("cuda") is other


def _keep_gpu(shard: works.Shard, until: int = 1) -> None:
    """Leave the name of the GPU that this process sees, when so many have begun."""
    works.write_file(shard)
    shard.path.write_text(os.environ.get(gpus.VARIABLE, "all"))
    works.wait_until(lambda: len(works.pids(Path(shard.folder))) >= until)


def _die_once(shard: works.Shard) -> None:
    """Shard 1 kills its worker the first time, when three are at work; shard 3 has a fourth."""
    is_first = not works.files_begun(Path(shard.folder), 1)
    _keep_gpu(shard, 3 if shard.number < 3 else 4)
    if shard.number == 1 and is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    seen = Path(shard.folder) / "seen" / f"{os.getpid()}"
    seen.parent.mkdir(exist_ok=True)
    seen.write_text(os.environ[gpus.VARIABLE])


def run(work: Any, tasks: list[procs.Task], workers: int, devices: tuple[str, ...]) -> None:
    main = partial(work_on, work)
    supervisor = procs.Supervisor(tasks, main, on_lost=lambda *_: None, tick=lambda: None)
    supervisor.run(workers, devices)


@pytest.mark.slow
def test_each_process_sees_one_gpu_and_no_two_the_same(tmp_path):
    run(partial(_keep_gpu, until=2), works.shards(tmp_path, 2), 2, ("3", "GPU-8932f937"))
    assert set(works.contents(tmp_path).values()) == {b"3", b"GPU-8932f937"}


@pytest.mark.slow
def test_without_gpus_nothing_is_hidden(tmp_path, monkeypatch):
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    run(_keep_gpu, works.shards(tmp_path, 1), 1, ())
    assert works.contents(tmp_path)["00000.bin"] == b"all"


@pytest.mark.slow
def test_who_takes_the_place_of_a_dead_one_takes_its_gpu(tmp_path):
    run(_die_once, works.shards(tmp_path, 8), 3, ("0", "1", "2"))
    seen = [path.read_text() for path in (tmp_path / "seen").iterdir()]
    assert sorted(seen) == ["0", "1", "2"]
    assert len(works.pids(tmp_path)) == 4


@dataclass(frozen=True)
class OnGpu:
    """Says which GPU its process sees; there is none, but for its word."""

    version: ClassVar[int] = 1
    device: ClassVar[str] = "cuda"
    reads: ClassVar[tuple[str, ...]] = ("image",)
    writes: ClassVar[pa.Schema] = pa.schema([("gpu", pa.string())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        time.sleep(0.3)  # so that the other process has a share
        return {"gpu": [os.environ.get(gpus.VARIABLE, "all")] * len(batch["image"])}


@pytest.mark.slow
def test_gpu_scorers_have_a_pass_of_their_own_with_a_process_for_each_gpu(make_build, two_gpus):
    text = recipe(mine("Length") + f"  on_gpu: {{scorer: '{__name__}:OnGpu'}}\n")
    text = text.replace("rows_per_shard: 50", "rows_per_shard: 2")
    build = make_build(text, after="ingest", engine=Engine("procs", workers=3))
    passes = [[i.name for i in group] for group in build.resolve()[0].passes()]
    assert passes == [["mine"], ["on_gpu"]]
    build.score()
    assert set(column(build, "gpu").values()) == {"0", "1", None}
