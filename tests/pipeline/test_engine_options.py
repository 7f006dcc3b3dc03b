"""Settings of an engine that make no sense: refused before anything runs, or within seconds."""

import socket
import time

import pytest

from pipeline.errors import CurationError, RecipeError
from pipeline.run import Engine, Stage, run_stage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--runner=Nope", "Unexpected pipeline runner: Nope"),
        ("--runner=apache_beam.nope.Runner", "No module named"),
        ("--runner=os.path.nope", "nope"),
        ("--runner=builtins.dict", "is no runner of Beam"),
        ("--runner", "needs --runner=NAME"),
        ("--runner=Dask", "loses rows"),
        ("--runner=DirectRunner --direct_num_workers=abc", "invalid int value: 'abc'"),
        ("--runner=DirectRunner --streaming=maybe", "ignored explicit argument 'maybe'"),
        ("--runner=FnApiRunner --direct_num_worker=4", "did you mean --direct_num_workers"),
        ("--runner=FnApiRunner stray", "'stray' is none"),
        ("stray --runner=PortableRunner", "'stray' is none"),
        ("--runner=FnApiRunner --help", "manual of Beam"),
    ],
)
def test_wrong_options_of_beam_are_refused_by_name(options, message):
    with pytest.raises(RecipeError) as error:
        Engine("beam", beam_options=tuple(options.split()))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_options_that_only_a_job_server_knows_pass():
    options = ("--runner=PortableRunner", "--parallelism", "3", "--made_up=x")
    assert Engine("beam", beam_options=options).beam_options == options


@pytest.mark.slow
def test_a_job_server_that_nobody_answers_at_is_named(tmp_path):
    where = "--job_endpoint=127.0.0.1:1"
    options = ("--runner=PortableRunner", where, "--job_server_timeout=1")
    stage = Stage("survey", _nothing, str(tmp_path))
    with pytest.raises(CurationError, match=r"no job server answers at 127\.0\.0\.1:1 within 1 s"):
        run_stage(stage, [("a", None)], Engine("beam", beam_options=options))


@pytest.mark.parametrize(
    "address",
    ["", "foo", "tcp://host", "tcp://host:0", "tcp://host:99999", "tcp://host:x", "http://host:1",
     "/tmp/scheduler.json", "tcp://a b:1"],
)  # fmt: skip
def test_what_is_no_address_of_a_scheduler_is_refused(address):
    with pytest.raises(RecipeError, match="expected tcp://HOST:PORT"):
        Engine("dask", scheduler=address)


@pytest.mark.parametrize("address", ["tcp://host:8786", "10.0.0.1:8786", "tcp://[::1]:8786"])
def test_addresses_of_schedulers_pass(address):
    assert Engine("dask", scheduler=address).scheduler == address


@pytest.mark.slow
def test_a_port_that_says_nothing_is_no_scheduler(tmp_path, monkeypatch):
    from pipeline import dask_runner

    monkeypatch.setattr(dask_runner, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(CurationError, match=f"no Dask scheduler answers at {address} within 1"):
            run_stage(
                Stage("survey", _nothing, str(tmp_path)),
                [("a", None)],
                Engine("dask", scheduler=address),
            )
        assert time.monotonic() - started < 60


def _nothing(_: object) -> dict[str, object]:
    return {}
