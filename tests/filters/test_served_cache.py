"""The store: killed processes, damaged files, full disks, several processes, budgets."""

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filters.served import Answer, BudgetSpent, Request, Server, ask
from filters.served import keep_in as keep
from filters.served_cache import FILE, Store, is_on_network
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve, unused_port
from tests.privileges import permissions_hold

ROOT = Path(__file__).parents[2]
ECHO = Action(text=prompt_of, usage=(10, 5))
ANSWER = Answer("x", "stop", 1, 2, ({"a": -0.1},), {"b": [1.5, None]})
PROGRAM = """\
import sys
from filters.served import *
folder, url, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
keep_in(folder)
server = Server((url,), "tiny", kind="openai", concurrency=4, backoff=0.01)
found = ask([Request(f"{i}") for i in range(first, last)], server)
print(sum(isinstance(answer, Answer) for answer in found))
"""


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    keep(None)


def of(server: ModelServer, **options: object) -> Server:
    known = {"backoff": 0.01, "timeout": 5.0, "kind": "openai"}
    return Server((server.url,), "tiny", **{**known, **options})


def asks(*prompts: str) -> list[Request]:
    return [Request(prompt, max_tokens=20) for prompt in prompts]


def start(folder: Path, url: str, first: int, last: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(folder), url, str(first), str(last)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def stored(folder: Path) -> list[str]:
    """The texts that a file holds."""
    with sqlite3.connect(folder / FILE) as connection:
        rows = connection.execute("select answer from answers").fetchall()
    return [json.loads(row[0])["text"] for row in rows]


def kind_of(error: object) -> str:
    return type(error).__name__


@pytest.mark.slow
def test_after_a_kill_no_stored_answer_is_asked_for_again(tmp_path):
    answered = 0
    with serve() as model:
        for more in (10, 15, 15):  # answers, and then four requests under way for good
            model.actions = [ECHO] * (len(model.asked) + more) + [Action(wait_s=60)]
            process = start(tmp_path, model.url, 0, 60)
            answered += more
            _wait_until(lambda n=answered: (tmp_path / FILE).exists() and _count(tmp_path) == n)
            _wait_until(lambda: len(model.asked) == len(model.actions) + 3)
            process.kill()
            process.communicate()
            assert process.returncode == -9
        before, sent = set(stored(tmp_path)), model.prompts
        assert len(before) == 40
        model.actions = [ECHO]
        assert start(tmp_path, model.url, 0, 60).communicate(timeout=60) == ("60\n", "")
        assert set(model.prompts - sent) == {f"{i}" for i in range(60)} - before
        assert model.prompts.total() == 60 + 3 * 4  # what was under way at a kill, and no more
    assert sorted(stored(tmp_path)) == sorted(f"{i}" for i in range(60))


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _count(folder: Path) -> int:
    """Answers in a file; none while its table is not made yet."""
    try:
        return len(stored(folder))
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
def test_several_processes_share_a_file(tmp_path):
    with serve(ECHO) as model:
        runs = [start(tmp_path, model.url, 30 * i, 30 * i + 60) for i in range(3)]
        for run in runs:
            assert run.communicate(timeout=60) == ("60\n", "")
        assert len(stored(tmp_path)) == 120
        keep(str(tmp_path))
        seen = len(model.asked)
        ask([Request(f"{i}") for i in range(120)], of(model))
        assert len(model.asked) == seen
    assert Store(str(tmp_path / FILE)).spent("tiny") == (seen, seen * 15)


def test_a_stored_answer_comes_back_the_same(tmp_path):
    store = Store(str(tmp_path / FILE))
    keys = [Request(f"{i}").key("m") for i in range(1200)]
    for key in keys[:1100]:
        store.keep(key, "m", ANSWER)
    assert store.recall(keys) == dict.fromkeys(keys[:1100], ANSWER)
    other = Store(str(tmp_path / FILE))
    assert other.recall(keys[:1]) == {keys[0]: ANSWER}
    other.close()
    assert other.recall(keys[:1]) == {keys[0]: ANSWER}


def test_without_a_file_nothing_is_kept_and_spending_is_counted():
    store = Store()
    server = Server(("http://a/v1",), "m", max_requests=2)
    assert [store.reserve(server, 10) for _ in range(3)] == [True, True, False]
    store.keep(b"k", "m", ANSWER, 0, -7)
    assert store.recall([b"k"]) == {}
    assert store.spent("m") == (2, 13)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database at all, but quite long" * 99),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192),
        lambda path: _execute(path, "pragma user_version = 7"),
        lambda path: (path.unlink(), _execute(path, "create table other (a)")),
    ],
    ids=["junk", "cut", "overwritten", "version", "foreign"],
)
def test_a_damaged_file_is_set_aside_and_made_anew(tmp_path, damage, caplog):
    with serve(ECHO) as model:
        path = tmp_path / FILE
        before = Store(str(path))
        for i in range(60):
            before.keep(Request(f"{i}").key("tiny"), "tiny", ANSWER)
        before.close()
        assert not (tmp_path / f"{FILE}-wal").exists()
        damage(path)
        broken = path.read_bytes()
        keep(str(tmp_path))
        found = ask([Request(f"{i}") for i in range(60)], of(model))
        assert [answer.text for answer in found] == [f"{i}" for i in range(60)]
        assert len(model.asked) == 60
    assert (tmp_path / "requests.damaged-1.sqlite").read_bytes() == broken
    assert len(stored(tmp_path)) == 60
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "set aside as" in warning.getMessage()
    assert "requests.damaged-1.sqlite" in warning.getMessage()


def _execute(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def test_two_processes_that_meet_damage_keep_one_new_file(tmp_path):
    path = str(tmp_path / FILE)
    first, second = Store(path), Store(path)
    for store in (first, second):
        store.keep(b"old", "m", ANSWER)
    for end in ("", "-wal"):
        (tmp_path / f"{FILE}{end}").write_bytes(b"junk" * 5000)
    first.keep(b"a", "m", ANSWER)
    second.keep(b"b", "m", ANSWER)
    assert set(first.recall([b"a", b"b"])) == set(second.recall([b"a", b"b"])) == {b"a", b"b"}
    assert len(list(tmp_path.glob("requests.damaged-*.sqlite"))) == 1


def test_an_answer_that_was_changed_is_not_believed(tmp_path):
    store = Store(str(tmp_path / FILE))
    store.keep(b"a", "m", ANSWER)
    store.keep(b"b", "m", ANSWER)
    change = "update answers set answer = replace(answer, 'x', 'y') where key = x'61'"
    _execute(tmp_path / FILE, change)
    assert set(store.recall([b"a", b"b"])) == {b"b"}


def test_a_file_that_is_removed_is_made_anew(tmp_path):
    store = Store(str(tmp_path / "b" / FILE))
    store.keep(b"a", "m", ANSWER)
    shutil.rmtree(tmp_path / "b")
    assert store.recall([b"a"]) == {}
    store.keep(b"a", "m", ANSWER)
    assert Store(str(tmp_path / "b" / FILE)).recall([b"a"]) == {b"a": ANSWER}


@pytest.mark.parametrize("place", ["closed/sub", "file/sub", "s3://bucket/build"])
def test_a_folder_that_can_t_be_used_costs_the_cache_alone(tmp_path, caplog, place):
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "file").write_text("")
    keep(place if "://" in place else str(tmp_path / place))
    with serve(ECHO) as model, permissions_hold():
        for _ in range(2):
            (answer,) = ask(asks("q"), of(model))
            assert answer.text == "q"
        assert len(model.asked) == 2
        (error,) = ask(asks("q"), of(model, max_requests=100))
        assert kind_of(error) == "BudgetSpent"
        assert "the budget can't be kept" in str(error)
        assert place in str(error)
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "answers are not kept" in warnings[0].getMessage()


@pytest.mark.slow
def test_a_full_disk_costs_the_cache_alone(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    with serve(Action(text="a" * 20_000)) as model:
        command = [sys.executable, "-c", limit + PROGRAM, str(tmp_path), model.url, "0", "30"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.stdout == "30\n"
        assert "answers are not kept while this lasts" in done.stderr
        assert done.stderr.count("\n") < 4
        kept = len(stored(tmp_path))
        assert 0 < kept < 30
        process = start(tmp_path, model.url, 0, 30)
        assert process.communicate(timeout=60) == ("30\n", "")
        assert len(model.asked) == 30 + 30 - kept


def test_a_budget_of_requests_holds_over_runs_and_retries(tmp_path):
    keep(str(tmp_path))
    with serve(failing(500), ECHO) as model:
        server = of(model, max_requests=4, concurrency=1)
        found = ask(asks(*"abcde"), server)
        assert len(model.asked) == 4
        assert [kind_of(a) for a in found].count("BudgetSpent") == 2
        assert {kind_of(a) for a in found} == {"Answer", "BudgetSpent"}
        (error,) = [a for a in found if isinstance(a, BudgetSpent)][:1]
        assert "budget of tiny: 4 requests of 4 and 45 tokens of any are spent" in str(error)
        again = ask(asks(*"abcde"), server)  # what is stored costs nothing
        assert [kind_of(a) for a in again] == [kind_of(a) for a in found]
        assert len(model.asked) == 4
        more = ask(asks(*"abcde"), of(model, max_requests=6))
        assert {kind_of(a) for a in more} == {"Answer"}
    assert Store(str(tmp_path / FILE)).spent("tiny") == (6, 75)


def test_a_budget_of_tokens_counts_what_the_server_says(tmp_path):
    keep(str(tmp_path))
    with serve(ECHO) as model:  # reserved are 16 + 20, counted 15
        server = of(model, max_tokens=100, concurrency=1)
        found = ask(asks(*"abcdefgh"), server)
    assert [kind_of(a) for a in found] == ["Answer"] * 5 + ["BudgetSpent"] * 3
    assert "75 tokens of 100 are spent, 36 more were needed" in str(found[-1])
    assert Store(str(tmp_path / FILE)).spent("tiny") == (5, 75)


def test_requests_that_were_never_sent_or_were_refused_are_not_charged(tmp_path):
    keep(str(tmp_path))
    gone = Server((f"http://127.0.0.1:{unused_port()}/v1",), "tiny", kind="openai", backoff=0.001)
    ask(asks("q"), gone)
    assert Store(str(tmp_path / FILE)).spent("tiny") == (0, 0)
    with serve(failing(400)) as model:
        ask(asks("q"), of(model))
    assert Store(str(tmp_path / FILE)).spent("tiny") == (1, 0)
    with serve(Action(wait_s=2)) as model:
        ask(asks("q"), of(model, timeout=0.2, attempts=1))  # it may have been computed
    assert Store(str(tmp_path / FILE)).spent("tiny") == (2, 36)


def test_the_budget_of_a_process_without_a_cache():
    with serve(ECHO) as model:
        server = Server((model.url,), "a model of its own", kind="openai", max_requests=3)
        found = [ask(asks(prompt), server)[0] for prompt in "abcd"]
    assert [kind_of(a) for a in found] == ["Answer"] * 3 + ["BudgetSpent"]


def test_network_file_systems_are_known(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n/dev/b /data/fast xfs rw 0 0\nbad\n"
    )
    places = {"/data/b/f": True, "/data/fast/f": False, "/database": False, "/home/f": False}
    for place, network in places.items():
        assert is_on_network(place, str(mounts)) == network
    assert not is_on_network("/data", str(tmp_path / "none"))


def test_a_journal_beside_the_file_only_where_memory_is_shared(tmp_path, monkeypatch):
    for network, mode in ((False, "wal"), (True, "delete")):
        monkeypatch.setattr("filters.served_cache.is_on_network", lambda _, n=network: n)
        path = tmp_path / mode / FILE
        Store(str(path)).keep(b"a", "m", ANSWER)
        with sqlite3.connect(path) as connection:
            assert connection.execute("pragma journal_mode").fetchone() == (mode,)
    assert os.path.exists(tmp_path / "delete" / FILE)
