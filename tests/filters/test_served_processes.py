"""Asking from threads, forks and programs that end: one loop per process, and no noise."""

import asyncio
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from filters.served import Answer, Request, Server, ServerUnavailable, ask
from filters.served import keep_in as keep
from filters.served_cache import FILE, Store
from filters.served_calls import Line
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ECHO = Action(text=prompt_of)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    keep(None)


def of(server: ModelServer, **options: object) -> Server:
    known = {"backoff": 0.01, "timeout": 5.0, "kind": "openai"}
    return Server((server.url,), "tiny", **{**known, **options})


def asks(*prompts: str) -> list[Request]:
    return [Request(prompt) for prompt in prompts]


def texts(answers: list) -> list[str]:
    return [answer.text for answer in answers]


def test_never_more_at_once_than_allowed_over_all_threads():
    with serve(Action(wait_s=0.03)) as model, ThreadPoolExecutor(4) as threads:
        server = of(model, concurrency=3)
        runs = [threads.submit(ask, asks(*(f"{t} {i}" for i in range(6))), server) for t in "abcd"]
        assert all(len(run.result()) == 6 for run in runs)
        assert len(model.asked) == 24
        assert model.most_at_once == 3


def test_calls_that_want_the_same_at_a_time_send_it_once(tmp_path):
    keep(str(tmp_path))
    with serve(Action(text=prompt_of, wait_s=0.1)) as model, ThreadPoolExecutor(3) as threads:
        runs = [threads.submit(ask, asks("same", own), of(model)) for own in "abc"]
        assert [texts(run.result()) for run in runs] == [["same", own] for own in "abc"]
    assert model.prompts == dict.fromkeys(("same", *"abc"), 1)


def test_the_end_of_a_call_is_none_of_another_that_waits_for_its_answer():
    class Slow(Line):
        async def _answer(self, key: bytes, request: Request, store: Store) -> Answer:
            await asyncio.sleep(0.05)
            return Answer(request.prompt, "stop", 1, 1)

    async def both() -> list[Answer]:
        line = Slow(Server(("http://127.0.0.1:9",), "tiny"), None)
        wanted = {b"k": Request("same")}
        first, second = (asyncio.create_task(line.answer_all(wanted, Store())) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        found = await second
        assert first.cancelled()
        assert not line.under_way
        return list(found.values())

    assert [answer.text for answer in asyncio.run(both())] == ["same"]


def test_what_another_process_stores_meanwhile_is_not_asked(tmp_path):
    keep(str(tmp_path))
    with serve(Action(text=prompt_of, wait_s=0.3)) as model:
        with ThreadPoolExecutor(1) as threads:
            run = threads.submit(ask, asks("first", "later"), of(model, concurrency=1))
            time.sleep(0.1)
            key = Request("later").key("tiny")
            Store(str(tmp_path / FILE)).keep(key, "tiny", Answer("of another", "stop", 1, 1))
            assert texts(run.result()) == ["first", "of another"]
        assert model.prompts == {"first": 1}


def test_requests_overlap():
    with serve(Action(wait_s=0.2)) as model:
        started = time.monotonic()
        ask(asks(*"abcdefgh"), of(model))
        assert time.monotonic() - started < 8 * 0.2 / 2
        assert model.most_at_once > 4


def test_a_fork_of_a_process_that_asked_can_ask(tmp_path):
    keep(str(tmp_path))
    with serve(ECHO) as model:
        ask(asks("before"), of(model))
        context = multiprocessing.get_context("fork")
        with context.Pool(2) as workers:
            found = workers.starmap(_ask_texts, [(p, of(model)) for p in ("x", "y", "before")])
        assert found == [["x"], ["y"], ["before"]]
        assert texts(ask(asks("x", "after"), of(model))) == ["x", "after"]
        assert model.prompts == {"before": 1, "x": 1, "y": 1, "after": 1}


def _ask_texts(prompt: str, server: Server) -> list[str]:
    return texts(ask(asks(prompt), server))


@pytest.mark.slow
def test_a_program_that_asked_ends_quietly_and_at_once():
    code = (
        "import sys; from filters.served import *\n"
        "print(ask([Request('q')], Server((sys.argv[1],), 'tiny'))[0].text)"
    )
    with serve() as model:
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", code, model.url]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)


def test_an_interrupt_ends_the_wait():
    code = (
        "import sys; from filters.served import *\n"
        "try: ask([Request('q')], Server((sys.argv[1],), 'tiny', kind='openai'))\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    with serve(Action(wait_s=30)) as model:
        command = [sys.executable, "-c", code, model.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            while not model.asked:
                time.sleep(0.01)
            process.send_signal(2)
            started = time.monotonic()
            assert process.communicate(timeout=10)[0] == "interrupted\n"
            assert time.monotonic() - started < 5


def test_asking_works_where_an_event_loop_runs():
    async def inside(server: Server) -> list:
        return ask(asks("q"), server)

    with serve(ECHO) as model:
        assert texts(asyncio.run(inside(of(model)))) == ["q"]


def test_connections_are_used_again():
    accepted = []
    with serve(ECHO) as model, socket.create_server(("127.0.0.1", 0)) as front:
        thread = threading.Thread(target=_forward, args=(front, model.port, accepted), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{front.getsockname()[1]}/v1"
        server = Server((url,), "tiny", kind="openai", concurrency=1)
        assert texts(ask(asks(*"abc"), server)) == ["a", "b", "c"]
        assert texts(ask(asks(*"de"), server)) == ["d", "e"]
    assert len(accepted) == 1


def _forward(front: socket.socket, port: int, accepted: list[int]) -> None:
    """Hand connections on to a port, and count them."""
    while True:
        try:
            client, _ = front.accept()
        except OSError:
            return
        accepted.append(1)
        behind = socket.create_connection(("127.0.0.1", port))
        for pair in ((client, behind), (behind, client)):
            threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(1 << 16):
        target.sendall(data)


def test_importing_the_client_loads_no_http_library():
    code = (
        "import sys, filters.served; print('aiohttp' in sys.modules, 'jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False False\n"


def test_a_server_that_dies_under_many_requests_is_given_up_as_soon_as_any_other():
    broken = [Action(cut=0)] * 12
    with serve(*broken, failing(503, "gone")) as model:
        started = time.monotonic()
        found = ask(asks(*map(str, range(24))), of(model, concurrency=12, backoff=0.02))
        assert all(isinstance(one, ServerUnavailable) for one in found)
        assert time.monotonic() - started < 5
