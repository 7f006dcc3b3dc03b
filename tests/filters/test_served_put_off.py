"""A request at which a server fails, while it answers others: asked again by the next run, once."""

import sqlite3

import pytest

from filters.served import Answer, Request, Server, ServerFailed, TimedOut, ask
from filters.served import keep_in as keep
from filters.served_cache import FILE, RUN, Store
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve

ECHO = Action(text=prompt_of)
ASKS = [Request(prompt) for prompt in ("a", "bad", "b")]


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep(None)


def of(server: ModelServer, **options: object) -> Server:
    return Server((server.url,), "tiny", kind="openai", attempts=2, backoff=0.001, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "kind"), [(failing(500, "no"), ServerFailed), (Action(wait_s=1), TimedOut)]
)
def test_the_first_failure_is_retriable_and_the_second_is_the_row_s(tmp_path, action, kind):
    keep(str(tmp_path))
    with serve(ECHO, by_prompt={"bad": action}) as model:
        server = of(model, timeout=0.3)
        first = ask(ASKS, server)
        assert [type(one) for one in first] == [Answer, kind, Answer]
        assert first[1].retriable
        assert first[1].is_alone
        assert str(first[1]).endswith("; run again, and it is asked once more")
        before = model.prompts["a"], len(model.asked)
        second = ask(ASKS, server)
        assert model.prompts["a"] == before[0]
        assert len(model.asked) == before[1] + 2  # nothing but the attempts of the one that failed
    assert type(second[1]) is kind
    assert not second[1].retriable
    assert (first[0], first[2]) == (second[0], second[2])


@pytest.mark.slow
def test_failures_in_one_run_count_once_however_often_it_is_asked(tmp_path):
    keep(str(tmp_path))
    (tmp_path / RUN).write_text("first")
    with serve(ECHO, by_prompt={"bad": failing(500)}) as model:
        server = of(model)
        assert [ask(ASKS, server)[1].retriable for _ in range(3)] == [True] * 3
        (tmp_path / RUN).write_text("second")
        assert [ask(ASKS, server)[1].retriable for _ in range(2)] == [False] * 2


def test_one_that_is_answered_the_second_time_is_stored(tmp_path):
    keep(str(tmp_path))
    with serve(ECHO, by_prompt={"bad": failing(500)}) as model:
        assert ask(ASKS, of(model))[1].retriable
        model.by_prompt.clear()
        assert ask(ASKS, of(model))[1].text == "bad"
        asked = len(model.asked)
        assert ask(ASKS, of(model))[1].text == "bad"
        assert len(model.asked) == asked


def test_where_nothing_is_kept_it_is_the_row_s_at_once():
    with serve(ECHO, by_prompt={"bad": failing(500, "no")}) as model:
        error = ask(ASKS, of(model))[1]
    assert isinstance(error, ServerFailed)
    assert not error.retriable
    assert "run again" not in str(error)


@pytest.mark.slow
def test_refusals_and_servers_that_are_down_are_not_counted(tmp_path):
    keep(str(tmp_path))
    with serve(ECHO, by_prompt={"bad": failing(400, "no")}) as model:
        assert not ask(ASKS, of(model))[1].retriable
    with serve(failing(500, "engine died")) as model:
        found = ask([Request(f"{i}") for i in range(60)], of(model, concurrency=2))
    assert all(error.retriable and not error.is_alone for error in found)
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("select count(*) from failures").fetchone() == (0,)


@pytest.mark.parametrize("is_older", [False, True])
def test_a_file_made_before_failures_were_counted_is_used_on(tmp_path, is_older):
    path = str(tmp_path / FILE)
    first = Store(path)
    first.keep(b"k", "tiny", Answer("x", "stop", 1, 2))
    first.close()
    with sqlite3.connect(path) as connection:
        connection.execute("drop table failures")
        if is_older:
            made = "create table failures (key blob primary key, times int not null)"
            connection.execute(made)
    store = Store(path)
    assert store.recall([b"k"])[b"k"].text == "x"
    assert store.note_failures([b"k", b"l"]) == {b"k": 1, b"l": 1}
    assert store.note_failures([b"l"]) == {b"l": 2}
    assert store.note_failures([]) == Store().note_failures([b"l"]) == {}
    assert store.problem is None
    store.close()
