"""A web server on the loopback interface that answers in every way a fetcher must survive."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers by path; a class because it counts what was asked for."""

    def __init__(self, port: int, answers: dict[str, Answer]) -> None:
        self.port, self.answers = port, answers
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/")
            server.asked[path] += 1
            server.agents.add(self.headers["User-Agent"])
            answer = server.answers.get(path, (404, {}, b""))
            with suppress(OSError):
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    class Patient(ThreadingHTTPServer):
        request_queue_size = 128  # by default 5, and the others wait a second
        daemon_threads = True

    with Patient(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_port, answers)
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        http.shutdown()


def ok(body: bytes, **headers: str) -> Answer:
    return 200, headers, body


def moved(to: str) -> Answer:
    return 302, {"Location": to}, b""


def drip(where: str) -> Answer:
    """A byte now and then, of the headers or of the body, for a minute."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.3)

    return answer
