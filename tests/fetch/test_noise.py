"""Whatever bytes a server sends, there is an outcome and no fault of this program."""

import gzip
import random

import pytest

from tests import pictures
from tests.fetch.asking import all_of, quick
from tests.fetch.server import Server, http, to

JPEG = pictures.jpeg(0)
WELL = [
    http(200, JPEG, "Content-Type: image/jpeg", "ETag: x", "X-Robots-Tag: a: noai, all"),
    http(200, gzip.compress(JPEG), "Content-Encoding: gzip"),
    http(200, b"7\r\nabcdefg\r\n0\r\nTrailer: x\r\n\r\n", "Transfer-Encoding: chunked"),
    http(429, b"", "Retry-After: 0")
    + http(503, b"x", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"),
    to("//127.0.0.1/%zz?\xe4#x") + http(200, b"<html><meta name=robots content=all></html>"),
    http(200, b'[{"location": "/", "tdm-reservation": 0}]', "Link: <a>; rel=license"),
    http(200, b"User-agent: *\nCrawl-delay: 0\nAllow: /\nContent-Usage: / x=y\nLicense: z\n"),
]
PIECES = (b"\r\n", b"\n", b"\0", b":", b" ", b"\xff", b"HTTP/1.1 ", b"chunked", b"99999999999999")


def noise(seed: int) -> bytes:
    """A good answer with some bytes changed, left out, doubled or put in, mostly in its head."""
    dice = random.Random(seed)
    wire = bytearray(dice.choice(WELL))
    for _ in range(dice.randint(1, 6)):
        place = min(int(dice.expovariate(1 / 60)), len(wire))
        end = place + dice.randint(0, 4)
        piece = dice.choice((*PIECES, bytes(wire[place:end]) * 2, dice.randbytes(2), b""))
        wire[place:end] = piece
    return bytes(wire)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "page", "any"])
def test_any_bytes_have_an_outcome(server: Server, kind: str) -> None:
    hosts = [f"h{n}.test" for n in range(120)]
    for n, host in enumerate(hosts):
        server.answers[host + "/x"] = noise(3 * n)
        server.answers[host + "/robots.txt"] = noise(3 * n + 1)
        server.answers[host + "/.well-known/tdmrep.json"] = noise(3 * n + 2)
    options = quick(*hosts, kind=kind, retries=0, read_s=0.2, request_s=0.4, longest_wait_s=0)
    outcomes = all_of([server.url("/x", host) for host in hosts], options)
    assert len({outcome.failed for outcome in outcomes}) > 3
    for outcome in outcomes:
        for text in (outcome.detail, outcome.content_type, outcome.etag, *outcome.signals.values()):
            assert text is None or text.encode("utf-8") is not None
