"""The guard lets through what engines run alike, and names what they don't."""

import logging
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import portable
from tests.pipeline import probes

LOCAL = ["--runner=FnApiRunner"]


def graph_of(probe: probes.Probe, folder: Path) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=PipelineOptions(LOCAL))
    probe.build(pipeline, probes.Keep(folder))
    return pipeline


@pytest.mark.slow
@pytest.mark.parametrize("probe", probes.PROBES, ids=lambda probe: probe.name)
def test_refuses_what_is_not_portable_and_nothing_else(probe: probes.Probe, tmp_path: Path) -> None:
    pipeline, problem = graph_of(probe, tmp_path), probe.foreign or probe.refused
    if problem is None:
        portable.check_portable(pipeline)
    else:
        with pytest.raises(portable.NotPortable, match=problem):
            portable.check_portable(pipeline)


@pytest.mark.slow
@pytest.mark.parametrize("probe", probes.PROBES, ids=lambda probe: probe.name)
def test_the_local_runner_has_every_feature(probe: probes.Probe, tmp_path: Path) -> None:
    if probe.raises is None:
        assert probes.run(probe, tmp_path, None, LOCAL) == probe.rows
    else:
        with pytest.raises(Exception, match=probe.raises):
            probes.run(probe, tmp_path, None, LOCAL)


def test_names_the_step() -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(LOCAL))
    _ = pipeline | "Pairs" >> beam.Create([("a", 1)]) | "Count" >> beam.ParDo(probes.WithState())
    with pytest.raises(portable.NotPortable, match="'Count' is not portable: state"):
        portable.check_portable(pipeline)


def test_refuses_more_descriptors_than_a_graph_should_have() -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(LOCAL))
    _ = pipeline | "Many" >> beam.Create(range(10_001))
    with pytest.raises(portable.NotPortable, match=r"10001 descriptors \(limit 10000\)"):
        portable.check_portable(pipeline)


def test_many_tasks_share_descriptors() -> None:
    tasks = [(f"{number:05d}", number) for number in range(25_000)]
    groups = portable._groups(tasks)
    assert len(groups) <= portable.MAX_DESCRIPTORS
    assert [task for group in groups for task in group] == tasks


@pytest.mark.slow
def test_importing_beam_says_nothing_and_leaves_logging_alone() -> None:
    code = "import pipeline.portable, logging; print(logging.getLogger().handlers)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("[]\n", "")


def test_errors_of_beam_are_still_logged(caplog: pytest.LogCaptureFixture) -> None:
    with portable._without_cloud_notices(), caplog.at_level(logging.INFO):
        logging.getLogger().error("anything else")
    assert "anything else" in caplog.text
