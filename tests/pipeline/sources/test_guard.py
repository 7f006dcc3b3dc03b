"""The guard is for a whole process, so each test installs it in one of its own."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.pipeline.sources.server import drip, moved, ok, serving

ROOT = Path(__file__).parents[3]
HEAD = """
import json, sys, socket, urllib.request
from pipeline.sources import guard
hosts, urls = json.loads(sys.argv[1])
guard.install(guard.Limits(frozenset(hosts), 1000, 1.0))
def get(url):
    try:
        with urllib.request.urlopen(urllib.request.Request(url), timeout=0.8) as response:
            return response.read().decode()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


def guarded(code, hosts=(), urls=()):
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code), json.dumps([hosts, urls])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"http_proxy": "http://127.0.0.1:9", "PATH": ""},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fetched(urls, hosts=("127.0.0.1",)):
    answers = guarded("print(json.dumps({url: get(url) for url in urls}))", hosts, urls)
    return [answers[url] for url in urls]


@pytest.mark.slow
def test_what_is_served_is_read_within_the_limits():
    def chunked(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 500)

    answers = {
        "ok": ok(b"hello"),
        "empty": ok(b""),
        "chunked": chunked,
        "to": moved("/ok"),
        "large": ok(b"x" * 1001),
        "full": ok(b"x" * 1000),
        "endless": endless,
        "short": ok(b"x" * 10, **{"Content-Length": "100"}),
        "body": drip("body"),
        "head": drip("head"),
    }
    with serving(answers) as server:
        found = fetched([server.url(path) for path in answers])
    assert dict(zip(answers, found, strict=True)) == {
        "ok": "hello",
        "empty": "",
        "chunked": "abcde",
        "to": "hello",
        "large": "Refused: too_large: 1001 bytes, limit 1000",
        "full": "x" * 1000,
        "endless": "Refused: too_large: more than 1000 bytes",
        "short": "IncompleteRead: IncompleteRead(0 bytes read, 90 more expected)",
        "body": "TimeoutError: timed out: no end after 1 s",
        "head": "TimeoutError: timed out: no end after 1 s",
    }


def test_other_schemes_are_unknown_also_after_a_redirect(tmp_path):
    (tmp_path / "secret").write_text("secret")
    local = (tmp_path / "secret").as_uri()
    with serving({"file": moved(local), "ftp": moved("ftp://127.0.0.1/x")}) as server:
        found = fetched([local, "ftp://127.0.0.1/x", "data:,x", *map(server.url, ("file", "ftp"))])
    assert "secret" not in found
    assert all("unknown url type" in text for text in (*found[:3], found[4]))
    assert "Redirection to url 'file:" in found[3]


def test_private_addresses_are_refused_in_every_notation():
    hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
    with serving({"x": ok(b"secret")}) as server:
        found = fetched([server.url("x", host) for host in hosts], hosts=())
        assert not server.asked
    assert all(answer.startswith("Refused: blocked_address: ") for answer in found), found


def test_a_redirect_to_a_private_address_is_refused_by_its_own_host():
    with serving({}) as server:
        server.answers["x"] = moved(server.url("secret", "localhost"))
        server.answers["secret"] = ok(b"secret")
        (answer,) = fetched([server.url("x")])
        assert answer == "Refused: blocked_address: 127.0.0.1 is not public"
        assert not server.asked["secret"]
        assert fetched([server.url("x")], ["127.0.0.1", "localhost"]) == ["secret"]


def test_other_ways_to_connect_are_guarded_too():
    code = """
    import http.client
    said = {}
    def attempt(name, connect):
        try:
            connect()
            said[name] = "connected"
        except guard.Refused:
            said[name] = "refused"
    port = int(urls[0])
    attempt("connect", lambda: socket.socket().connect(("127.0.0.1", port)))
    attempt("name", lambda: socket.socket().connect(("localhost", port)))
    attempt("connect_ex", lambda: socket.socket().connect_ex(("127.0.0.1", port)))
    attempt("http", lambda: http.client.HTTPConnection("localhost", port).connect())
    pair = socket.socketpair()
    print(json.dumps(said))
    """
    with serving({}) as server:
        said = guarded(code, urls=[str(server.port)])
    assert set(said.values()) == {"refused"}, said
