"""A Dask cluster of separate processes on loopback, for tests to use and to hurt."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import storage

ROOT = Path(__file__).parents[2]
START_S = 60.0


class Cluster:
    """A scheduler on a free port and the workers that were added. Mutable: it owns processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, list[subprocess.Popen[bytes]]()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = folder / "scheduler.json"
        arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._start("scheduler", *arguments, "--scheduler-file", str(self._file))
        self.address = str(storage.read_json(str(self._wait_for(self._file)))["address"])

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny, so that a kill is the end of it."""
        arguments = ["--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        scratch = ["--local-directory", str(self.folder)]
        worker = self._start("worker", self.address, *arguments, *scratch)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self) -> None:
        """Wait until all workers that were added take part."""
        from pipeline.dask_runner import connect  # it takes a while: for slow tests alone

        client = connect(self.address)
        try:
            client.wait_for_workers(len(self.workers), timeout=START_S)
        finally:
            client.close()

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _wait_for(self, path: Path) -> Path:
        deadline = time.monotonic() + START_S
        while not path.exists() or not path.stat().st_size:
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.05)
        return path


@contextmanager
def running_cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    cluster = Cluster(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        cluster.wait_for_workers()
        yield cluster
    finally:
        cluster.stop()
