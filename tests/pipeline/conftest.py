"""Fixtures of tests that run the program on every engine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.pipeline.cluster import running_cluster


@pytest.fixture
def options_of(tmp_path: Path) -> Iterator[Callable[[str], list[str]]]:
    """How the program is told to use an engine; a cluster is there until the test ends."""
    with ExitStack() as stack:

        def options(engine: str) -> list[str]:
            if engine == "beam":
                return ["--engine", "beam", "--", "--runner=DirectRunner"]
            if engine == "dask":
                (tmp_path / "cluster").mkdir()
                cluster = stack.enter_context(running_cluster(tmp_path / "cluster", 2))
                return ["--engine", "dask", "--scheduler", cluster.address]
            return ["--engine", engine, "--workers", "2"]

        yield options
