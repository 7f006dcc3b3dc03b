"""A chat server on loopback that does as it is told: answers, fails, waits, breaks off.

`with serve(...) as server:` gives its address, counts what it is asked, and answers by a script:
the nth request gets the nth action, and the last one is kept to; `by_prompt` overrides it.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OWNERS = {"openai": "openai", "vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp"}


@dataclass(frozen=True)
class Action:
    """What is done with one request: a status and a body after a while, or worse.

    `body` is sent as it is; without one, an answer of `text` in the manner of the server's kind.
    A request for an embedding gets `vector`, whatever the kind. `cut` closes the connection after
    so many bytes of the body, `trickle_s` waits between bytes.
    """

    text: str | Callable[[dict[str, Any]], str] = "fine"
    status: int = 200
    body: str | bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    wait_s: float = 0.0
    cut: int | None = None
    trickle_s: float | None = None
    finish: str = "stop"
    logprobs: Sequence[dict[str, float]] | None = None
    usage: tuple[int, int] | None = (7, 3)
    vector: Any = (0.6, 0.8)


def failing(status: int, message: str = "no", *headers: tuple[str, str], **error: Any) -> Action:
    """An error in the manner of OpenAI."""
    wrapped = {"error": {"message": message, **error}}
    return Action(status=status, body=json.dumps(wrapped), headers=headers)


@dataclass
class ModelServer:
    """The server and all it has seen; `asked` are the bodies of chat requests, in order."""

    actions: Sequence[Action] = (Action(),)
    kind: str = "openai"
    model: str = "tiny"
    by_prompt: dict[str, Action] = field(default_factory=dict)
    models_status: int = 200
    models_body: str | None = None
    owner: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def prompts(self) -> Counter[str]:
        """How often each prompt was asked."""
        return Counter(prompt_of(body) for body in self.asked)

    def next_action(self, body: dict[str, Any]) -> Action:
        with self.lock:
            number = len(self.asked)
            self.asked.append(body)
        action = self.actions[min(number, len(self.actions) - 1)]
        return self.by_prompt.get(prompt_of(body), action)


def prompt_of(body: dict[str, Any]) -> str:
    if "input" in body:
        return str(body["input"][0]["text"])
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def answer_body(action: Action, asked: dict[str, Any], kind: str) -> str:
    """A whole answer; `text` may depend on what was asked."""
    text = action.text(asked) if callable(action.text) else action.text
    message = {"role": "assistant", "content": text}
    places = action.logprobs if asked.get("logprobs") else None
    listed = None if places is None else [_place(place) for place in places]
    if kind == "ollama":
        counts = dict(zip(("prompt_eval_count", "eval_count"), action.usage or (), strict=False))
        found = {"message": message, "done_reason": action.finish, "done": True, **counts}
        return json.dumps(found | ({} if listed is None else {"logprobs": listed}))
    logprobs = None if listed is None else {"content": listed}
    choice = {"message": message, "finish_reason": action.finish, "logprobs": logprobs}
    usage = dict(zip(("prompt_tokens", "completion_tokens"), action.usage or (), strict=False))
    return json.dumps({"choices": [choice], **({"usage": usage} if usage else {})})


def vector_body(action: Action, asked: dict[str, Any]) -> str:
    """A whole answer with a vector, which may depend on what was asked."""
    vector = action.vector(asked) if callable(action.vector) else action.vector
    found = {"object": "list", "data": [{"index": 0, "embedding": vector}], "model": "/models/tiny"}
    return json.dumps(
        found | ({"usage": {"prompt_tokens": action.usage[0]}} if action.usage else {})
    )


def _place(place: dict[str, float]) -> dict[str, Any]:
    top = [{"token": token, "logprob": value} for token, value in place.items()]
    return {**top[0], "top_logprobs": top}


@contextmanager
def serve(*actions: Action, **options: Any) -> Iterator[ModelServer]:
    """A server that runs until the end of the block; its requests are answered on threads."""
    told = ModelServer(actions=actions or (Action(),), **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "llama.cpp" if told.kind == "llamacpp" else "model_server"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            told.paths.append(self.path)
            if self.path == "/api/version" and told.kind == "ollama":
                return _send(self, Action(body='{"version": "0.13.0"}'))
            if not self.path.endswith("/models"):
                return _send(self, failing(404))
            owner = told.owner or OWNERS.get(told.kind, "library")
            body = {"data": [{"id": "other", "owned_by": "x"}]}
            body["data"].append({"id": told.model, "owned_by": owner})
            listed = told.models_body or json.dumps(body)
            return _send(self, Action(status=told.models_status, body=listed))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.paths.append(self.path)
            told.headers.append(dict(self.headers))
            with told.lock:
                told.at_once += 1
                told.most_at_once = max(told.most_at_once, told.at_once)
            try:
                action = told.next_action(asked)
                time.sleep(action.wait_s)
                body = action.body
                if body is None and self.path.endswith("/embeddings"):
                    body = vector_body(action, asked)
                _send(self, action, answer_body(action, asked, told.kind) if body is None else body)
            finally:
                with told.lock:
                    told.at_once -= 1

    server = _Server(("127.0.0.1", 0), Handler)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is none."""


def _send(handler: BaseHTTPRequestHandler, action: Action, body: str | bytes | None = None) -> None:
    found = action.body if body is None else body
    data = found.encode() if isinstance(found, str) else found or b""
    handler.send_response(action.status)
    sent = dict(action.headers)
    for name, value in {"Content-Type": "application/json", **sent}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if action.trickle_s is not None:
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(action.trickle_s)
        return
    handler.wfile.write(data[: action.cut])
    if action.cut is not None:
        handler.close_connection = True


def unused_port() -> int:
    """A port that nobody listens on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return int(server.server_address[1])
