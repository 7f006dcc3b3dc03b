"""Work in a thread that can be left behind: when the program ends, it waits for no such thread."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Value = TypeVar("Value")


def begin(work: Callable[[], Value]) -> "Future[Value]":
    """What the work will come to; it has begun, in a thread of its own."""
    outcome: Future[Value] = Future()
    threading.Thread(target=_work, args=(work, outcome), daemon=True).start()
    return outcome


def _work(work: Callable[[], Value], outcome: "Future[Value]") -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:  # noqa: BLE001 (it goes to the thread that waits for it)
        outcome.set_exception(error)
