"""Programs in a row that answer text by text, as those of Apertium do: NUL ends a text.

They live as long as they answer. One that dies or says nothing for a while is ended with all the
others of its row, and what was asked of it is handed back unanswered.
"""

import atexit
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

TIMEOUT_S = 20.0
_CHUNK = 1 << 16
_MOST_TOLD = 1 << 20  # bytes of messages that are kept
Command = tuple[str, ...]


class Row:
    """Programs of which each reads what the one before writes; `heeded` is whose messages count.

    A class because it holds processes. They end with this process, and a fork of it has its own.
    """

    def __init__(
        self, commands: Sequence[Command], heeded: int | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.timeout_s = timeout_s
        self._commands = list(commands)
        self._heeded = heeded
        self._running: list[subprocess.Popen[bytes]] = []
        self._told = b""
        self._pid = 0

    def exchange(self, texts: Sequence[bytes]) -> tuple[list[bytes], str | None]:
        """Answers to the first texts, in order, and why there are no more; None if all have one.

        A text must not hold NUL. After a failure the next call starts the programs anew.
        """
        if not texts:
            return [], None
        try:
            self._start()
            return self._pump(texts)
        except OSError as error:
            self.close()
            return [], f"{type(error).__name__}: {error}"
        except BaseException:  # an interrupt: what is under way must not be the next one's answer
            self.close()
            raise

    def messages(self) -> bytes:
        """What the heeded program has said since it was asked last."""
        told, self._told = self._told, b""
        return told

    def close(self) -> None:
        """End the programs; the next texts start new ones."""
        running, self._running = self._running, []
        if self._pid != os.getpid():
            return
        for process in running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        for process in running:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()

    def _start(self) -> None:
        if self._running and self._pid == os.getpid():
            return
        self._running, self._told, self._pid = [], b"", os.getpid()
        before: int | IO[bytes] | None = subprocess.PIPE
        for number, command in enumerate(self._commands):
            is_heeded = number == self._heeded
            process = subprocess.Popen(
                command,
                stdin=before,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if is_heeded else subprocess.DEVNULL,
                start_new_session=True,  # an interrupt is for us, who end them
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
            if number:
                assert not isinstance(before, int)
                assert before is not None
                before.close()
            self._running.append(process)
            before = process.stdout
        atexit.register(self.close)
        for stream in (self._first, self._last, self._messages):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)

    @property
    def _first(self) -> IO[bytes]:
        stream = self._running[0].stdin
        assert stream is not None
        return stream

    @property
    def _last(self) -> IO[bytes]:
        stream = self._running[-1].stdout
        assert stream is not None
        return stream

    @property
    def _messages(self) -> IO[bytes] | None:
        return None if self._heeded is None else self._running[self._heeded].stderr

    def _pump(self, texts: Sequence[bytes]) -> tuple[list[bytes], str | None]:
        waiting = memoryview(b"".join(text + b"\0" for text in texts))
        found: list[bytes] = []
        rest = b""
        last = time.monotonic()
        with selectors.DefaultSelector() as chooser:
            chooser.register(self._first, selectors.EVENT_WRITE)
            chooser.register(self._last, selectors.EVENT_READ)
            if self._messages is not None:
                chooser.register(self._messages, selectors.EVENT_READ)
            while len(found) < len(texts):
                for key, _ in chooser.select(1.0):
                    if key.fileobj is self._last:
                        new = os.read(self._last.fileno(), _CHUNK)
                        if not new:
                            return found, self._ended()
                        *whole, rest = (rest + new).split(b"\0")
                        found += whole
                        last = time.monotonic()
                    elif key.fileobj is self._first:
                        waiting = self._write(waiting)
                        if not waiting:
                            chooser.unregister(self._first)
                    elif not self._listen():
                        chooser.unregister(key.fileobj)
                if time.monotonic() - last > self.timeout_s:
                    self.close()
                    return found, f"no answer for {self.timeout_s:g} s"
        self._listen()
        if len(found) > len(texts) or rest:  # they are out of step
            self.close()
            return [], "more answers than texts"
        return found, None

    def _write(self, waiting: memoryview) -> memoryview:
        """What is left to be written; a program that reads no more is told of by its output."""
        try:
            return waiting[os.write(self._first.fileno(), waiting[:_CHUNK]) :]
        except BlockingIOError:
            return waiting
        except BrokenPipeError:
            return waiting[:0]

    def _listen(self) -> bool:
        """Take what the heeded program says; whether it may say more."""
        if self._messages is None:
            return False
        try:
            while new := os.read(self._messages.fileno(), _CHUNK):
                self._told = (self._told + new)[-_MOST_TOLD:]
        except BlockingIOError:
            return True
        return False

    def _ended(self) -> str:
        """Close the row after its output has ended; the program that failed, for a person."""
        ends = []
        for process, command in zip(self._running, self._commands, strict=True):
            with suppress(subprocess.TimeoutExpired):
                if process.wait(0.5) not in (0, -signal.SIGPIPE):
                    ends.append(f"{os.path.basename(command[0])} ended with {process.returncode}")
                    break
        self.close()
        return ends[0] if ends else "the programs ended"
