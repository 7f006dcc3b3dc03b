"""One native thread while torch computes: its sums round by the number of threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums that torch splits among threads round by their number; processes share the cores."""
    import torch

    with _Inside.lock:
        if not _Inside.count:
            _Inside.threads = torch.get_num_threads()
        _Inside.count += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _Inside.lock:
            _Inside.count -= 1
            if not _Inside.count:  # while others of ours compute, it stays one
                torch.set_num_threads(_Inside.threads)


class _Inside:
    """How many threads of ours compute now, and the number to go back to: torch has one for all."""

    lock = threading.Lock()
    count = 0
    threads = 1
