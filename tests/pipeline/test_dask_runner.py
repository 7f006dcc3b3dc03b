"""The Dask runner gives the rows of the local runner, or says what it can't do."""

from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from pipeline import portable
from tests.pipeline import probes
from tests.pipeline.cluster import Cluster, running_cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


def strict() -> PipelineRunner:
    from pipeline.dask_runner import StrictDaskRunner  # it takes a while: for slow tests alone

    return StrictDaskRunner()


def on(cluster: Cluster) -> beam.Pipeline:
    options = PipelineOptions([f"--dask_client_address={cluster.address}"])
    return beam.Pipeline(runner=strict(), options=options)


@pytest.mark.parametrize("probe", probes.PROBES, ids=lambda probe: probe.name)
def test_is_right_or_refuses(probe: probes.Probe, cluster: Cluster, tmp_path: Path) -> None:
    options = [f"--dask_client_address={cluster.address}"]
    runner = strict()
    if probe.refused is not None:
        with pytest.raises(portable.NotPortable, match=probe.refused):
            probes.run(probe, tmp_path, runner, options)
    elif probe.raises is not None:
        with pytest.raises(Exception, match=probe.raises):
            probes.run(probe, tmp_path, runner, options)
    else:
        assert probes.run(probe, tmp_path, runner, options) == probe.rows


def test_a_tag_that_nobody_declared_is_an_error(cluster: Cluster) -> None:
    """The local runner drops such rows without a word."""
    pipeline = on(cluster)
    _ = pipeline | beam.Create([1]) | beam.Map(lambda x: beam.pvalue.TaggedOutput("lost", x))
    with pytest.raises(KeyError, match="lost"):
        pipeline.run().wait_until_finish()
