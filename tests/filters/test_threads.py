"""One native thread while torch computes, in however many threads of ours."""

import threading

import torch

from filters.threads import one_thread


def test_the_number_comes_back_when_the_last_has_left():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    inside, leave = threading.Event(), threading.Event()
    seen: list[int] = []

    def other() -> None:
        with one_thread():
            inside.set()
            assert leave.wait(10)
            seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    try:
        with one_thread():
            thread.start()
            assert inside.wait(10)
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        leave.set()
        thread.join()
        assert seen == [1]
        assert _in_a_new_thread() == 3
    finally:
        torch.set_num_threads(before)


def _in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]
