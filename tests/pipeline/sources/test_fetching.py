import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import CurationError
from pipeline.sources import fetching
from pipeline.sources.fetching import FetchLimits, Outcome, encoded, fetched, judge, refusal
from tests import pictures
from tests.pipeline.sources.server import drip, moved, ok, serving

QUICK = FetchLimits(threads=8, timeout_s=3, retries=0, allow_hosts=("127.0.0.1",), slowness=1)
KINDS = {name.replace(" ", "_"): data for name, data in pictures.every_kind().items()}


@pytest.mark.slow
def test_every_outcome_of_a_real_fetch(tmp_path):
    answers = {
        **{f"kind/{name}": ok(data) for name, data in KINDS.items()},
        "html": ok(pictures.HTML),
        "empty": ok(b""),
        "a%20b/%C3%BC?q=%C3%A4": ok(b"encoded"),
        "gone": (410, {}, b""),
        "busy": (503, {}, b""),
        "later": (429, {}, b""),
        "opted": ok(b"x", **{"X-Robots-Tag": "noai"}),
        "file": moved(tmp_path.as_uri()),
        "short": ok(b"x", **{"Content-Length": "9"}),
        "drip": drip("body"),
    }
    with serving(answers) as server:
        server.answers["private"] = moved(server.url("html", "localhost"))
        paths = [*answers, "private", "missing", "a b/ü?q=ä"]
        closed = "http://127.0.0.1:1/x"
        urls = [*map(server.url, paths), closed, "http://localhost/x", server.url("html")]
        with fetched(urls, QUICK) as outcome_of:
            found = {path: outcome_of(url) for path, url in zip(paths, urls, strict=False)}
            found |= {"closed": outcome_of(closed), "blocked": outcome_of("http://localhost/x")}
        assert server.asked["html"] == 1
        assert all("pairmill" in agent for agent in server.agents)
    for name, data in KINDS.items():
        assert found[f"kind/{name}"] == Outcome(data), name
    assert [found[p].data for p in ("html", "empty")] == [pictures.HTML, b""]
    assert found["a b/ü?q=ä"].data == b"encoded"
    reasons = {p: (o.failed, o.retriable) for p, o in found.items() if o.failed}
    assert reasons == {
        "gone": ("fetch_failed", False),
        "missing": ("fetch_failed", False),
        "busy": ("fetch_failed", True),
        "later": ("fetch_failed", True),
        "opted": ("opted_out", False),
        "file": ("bad_scheme", False),
        "short": ("fetch_failed", True),
        "drip": ("fetch_failed", True),
        "private": ("blocked_address", False),
        "closed": ("fetch_failed", True),
        "blocked": ("blocked_address", False),
    }
    assert found["gone"].detail == "HTTP Error 410: Gone"


@pytest.mark.slow
def test_a_fetch_that_takes_too_long_is_stopped_and_keeps_what_came(monkeypatch):
    monkeypatch.setattr(FetchLimits, "deadline_s", lambda *_: 12.0)
    limits = FetchLimits(2, 30, 0, ("127.0.0.1",))
    with serving({"ok": ok(b"x"), "drip": drip("body")}) as server:
        started = time.monotonic()
        with fetched([server.url("drip"), server.url("ok")], limits) as outcome_of:
            late, good = outcome_of(server.url("drip")), outcome_of(server.url("ok"))
        assert time.monotonic() - started < 40
    assert good == Outcome(b"x")
    assert (late.failed, late.retriable) == ("fetch_deadline", True)
    assert late.detail == "no result when the fetch was stopped after 12 s"


def test_what_img2dataset_loses_is_accounted_for(monkeypatch, tmp_path):
    """A stand-in for the program: fetches nothing, and says so as img2dataset does."""
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, sys\n"
        "spec = json.load(open(sys.argv[-1]))\n"
        "os.mkdir(spec['output'] + '/00000')\n"
        "print('Sample 1 failed to download: no space left')\n"
        "meta = dict(number=2, key='2', status='success', sha256='0' * 64)\n"
        "json.dump(meta, open(spec['output'] + '/00000/2.json', 'w'))\n"
        "open(spec['output'] + '/00000/2.jpg', 'w').write('half')\n"
        "open(spec['output'] + '/00000/3.json', 'w').write('{\"num')\n"
    )
    monkeypatch.setattr(fetching, "_PROGRAM", (str(program),))
    with fetched(["a://0", "a://1", "a://2", "a://3"], QUICK) as outcome_of:
        found = [outcome_of(f"a://{i}") for i in range(4)]
    assert {(o.failed, o.retriable) for o in found} == {("lost_by_img2dataset", True)}
    assert found[1].detail == "no space left"
    assert "without a result" in found[0].detail


def test_a_program_that_can_not_start_is_an_error_of_the_shard(monkeypatch):
    monkeypatch.setattr(fetching, "_PROGRAM", ("-c", "raise ImportError('no img2dataset')"))
    wanted = pytest.raises(CurationError, match="exit code 1: ImportError: no img2dataset")
    with wanted, fetched(["http://e.org/x"], QUICK):
        pass


def test_nothing_to_fetch_starts_no_program(monkeypatch):
    monkeypatch.setattr(fetching, "_PROGRAM", ("-c", "raise SystemExit(9)"))
    with fetched([], QUICK):
        pass


@pytest.mark.slow
def test_the_child_ends_and_tidies_up_when_its_parent_is_killed(tmp_path):
    code = (
        "import sys\n"
        "from pipeline.sources.fetching import FetchLimits, fetched\n"
        "limits = FetchLimits(1, 60, 0, ('127.0.0.1',))\n"
        "with fetched([sys.argv[1]], limits): pass\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with serving({"drip": drip("head")}) as server:
        parent = subprocess.Popen(
            [sys.executable, "-c", code, server.url("drip")],
            cwd=Path(__file__).parents[3],
            env=environment,
        )
        wait_for(lambda: server.asked["drip"])
        assert list(tmp_path.iterdir())
        parent.kill()
        parent.wait()
        wait_for(lambda: not list(tmp_path.iterdir()))


def wait_for(is_so):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://e.org/x", "bad_scheme"),
        ("file:///etc/passwd", "bad_scheme"),
        ("//e.org/x.jpg", "bad_scheme"),
        ("x.jpg", "bad_scheme"),
        ("javascript:alert(1)", "bad_scheme"),
        ("http:///x", "bad_url"),
        ("http://[::1/x", "bad_url"),
        ("http://e.org:port/x", "bad_url"),
        (f"http://{'ü' * 80}.org/", "bad_url"),
        ("http://127.0.0.1/x", "blocked_address"),
        ("HTTP://2130706433/x", "blocked_address"),
        ("https://0x7f.1/", "blocked_address"),
        ("http://[::ffff:10.0.0.1]/", "blocked_address"),
        ("http://169.254.169.254/latest/meta-data", "blocked_address"),
    ],
)
def test_what_is_never_fetched_is_known_before(url, reason):
    outcome = refusal(url, ())
    assert (outcome.failed, outcome.retriable) == (reason, False)
    assert outcome.detail


def test_other_urls_and_allowed_hosts_are_fetched():
    assert refusal("https://example.org/x.jpg", ()) is None
    assert refusal("http://1.1.1.1/", ()) is None
    assert refusal(" http://Bücher.example/ü ", ()) is None
    assert refusal("http://LOCALHOST:80/", ("Localhost",)) is None
    assert refusal("http://127.0.0.1:80/", ("127.0.0.1",)) is None


def test_urls_are_encoded_as_browsers_do():
    assert encoded("http://bücher.example:80/ä b?q=ö|%20&a=[1]#f") == (
        "http://xn--bcher-kva.example:80/%C3%A4%20b?q=%C3%B6%7C%20&a=[1]"
    )
    plain = "https://e.org/a%2Fb/c;d=1?x=%C3%A4&y=1+2"
    assert encoded(plain) == plain
    assert encoded(" http://e.org/a\nb ") == "http://e.org/ab"


@pytest.mark.parametrize(
    ("message", "reason", "retriable"),
    [
        ("HTTP Error 404: Not Found", "fetch_failed", False),
        ("HTTP Error 403: Forbidden", "fetch_failed", False),
        ("HTTP Error 408: Request Timeout", "fetch_failed", True),
        ("HTTP Error 502: Bad Gateway", "fetch_failed", True),
        ("<urlopen error timed out>", "fetch_failed", True),
        ("The read operation timed out", "fetch_failed", True),
        ("<urlopen error [Errno 111] Connection refused>", "fetch_failed", True),
        (
            "<urlopen error [Errno -3] Temporary failure in name resolution>",
            "fetch_failed",
            True,
        ),
        ("<urlopen error [Errno -2] Name or service not known>", "fetch_failed", False),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "fetch_failed", False),
        ("too_large: 9 bytes, limit 8", "too_large", False),
        ("blocked_address: 10.0.0.1 is not public", "blocked_address", False),
        ("<urlopen error unknown url type: ftp>", "bad_scheme", False),
        ("Use of image disallowed by X-Robots-Tag directive", "opted_out", False),
        ("something new", "fetch_failed", True),
    ],
)
def test_messages_say_whether_a_second_try_may_help(message, reason, retriable):
    outcome = judge(message)
    assert (outcome.failed, outcome.retriable) == (reason, retriable)


def test_long_messages_are_cut():
    assert len(judge("x" * 10_000).detail) == 500


def test_the_deadline_is_that_of_every_attempt_at_its_longest():
    limits = FetchLimits(threads=32, timeout_s=10, retries=1)
    assert limits.attempt_s == 60
    assert limits.deadline_s(1000) == 60 + 60 * 2 * 32
