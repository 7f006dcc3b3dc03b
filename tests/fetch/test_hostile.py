"""Answers that lie, flood, stall and mislead: each ends in time, with the right reason."""

import asyncio
import gzip
import struct
import time
import tracemalloc

import brotli
import pytest
import zstandard

from pipeline.fetch.options import Wanted
from tests import pictures
from tests.fetch.asking import all_of, one, quick
from tests.fetch.server import Server, Writer, http, to

JPEG = pictures.jpeg(0)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>x()</script></svg>'


async def slow_head(writer: Writer) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 200:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(_: Writer) -> None:
    await asyncio.sleep(5)


async def slow_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(200):
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"a" * 50_000)
        await writer.drain()


async def endless_chunks(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        await writer.drain()


async def reset(writer: Writer) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: closing resets
    writer.transport.abort()


async def hang_up(writer: Writer) -> None:
    writer.close()


async def cut_body(writer: Writer) -> None:
    writer.write(http(200, JPEG)[:-100])


async def cut_chunks(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nabc")


async def endless_headers(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"a" * 1000 + b"\r\n")
        await writer.drain()


async def endless_line(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-More: ")
    while True:
        writer.write(b"a" * 5000)
        await writer.drain()


async def endless_early_hints(writer: Writer) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


def encoded(body: bytes, encoding: str) -> bytes:
    return http(200, body, f"Content-Encoding: {encoding}")


BOMB = bytes(30_000_000)
CASES = {
    "slow headers": (slow_head, "timeout"),
    "no answer": (silent, "timeout"),
    "slow body": (slow_body, "timeout"),
    "endless body": (endless_body, "too_large"),
    "endless chunks": (endless_chunks, "too_large"),
    "announced size": (http(200, b"", "Content-Length: 9000000000"), "too_large"),
    "gzip bomb": (encoded(gzip.compress(BOMB), "gzip"), "too_large"),
    "brotli bomb": (encoded(brotli.compress(BOMB, quality=2), "br"), "too_large"),
    "zstd bomb": (encoded(zstandard.compress(BOMB), "zstd"), "too_large"),
    "gzip in gzip": (encoded(gzip.compress(gzip.compress(BOMB)), "gzip, gzip"), "too_large"),
    "many encodings": (encoded(JPEG, "gzip, gzip, gzip"), "bad_encoding"),
    "unknown encoding": (encoded(JPEG, "rot13"), "bad_encoding"),
    "not as encoded": (encoded(JPEG, "gzip"), "bad_encoding"),
    "cut gzip": (encoded(gzip.compress(JPEG)[:-50], "gzip"), "bad_encoding"),
    "cut brotli": (encoded(brotli.compress(JPEG)[:-50], "br"), "bad_encoding"),
    "cut body": (cut_body, "truncated"),
    "cut chunks": (cut_chunks, "truncated"),
    "length beyond digits": (http(200, JPEG, "Content-Length: many"), "bad_answer"),
    "more than announced": (http(200, JPEG, "Content-Length: 99"), "bad_answer"),
    "two lengths": (http(200, JPEG, "Content-Length: 1", "Content-Length: 2"), "bad_answer"),
    "redirect loop": (to("/image"), "redirect_loop"),
    "redirect to file": (to("file:///etc/passwd"), "bad_redirect"),
    "redirect to data": (to("data:image/png;base64,AAAA"), "bad_redirect"),
    "redirect to credentials": (to("http://user:secret@127.0.0.1/"), "bad_redirect"),
    "redirect to nowhere": (http(302), "bad_redirect"),
    "redirect to no URL": (to("http://[::1"), "bad_redirect"),
    "redirect to bytes": (to("http://\xff\xfe/"), "bad_redirect"),
    "redirect to loopback": (to("http://127.0.0.2/"), "blocked_address"),
    "redirect to metadata": (to("http://169.254.169.254/latest/meta-data"), "blocked_address"),
    "redirect to IPv6 loopback": (to("http://[::ffff:127.0.0.1]/"), "blocked_address"),
    "redirect to octal": (to("//0177.0.0.2/"), "blocked_address"),
    "redirect to a port": (to("http://93.184.216.34:22/"), "port_not_allowed"),
    "reset": (reset, "reset"),
    "closed": (hang_up, "reset"),
    "header flood": (endless_headers, "header_flood"),
    "line flood": (endless_line, "header_flood"),
    "early hints": (endless_early_hints, "timeout"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "bad_answer"),
    "HTML as jpg": (http(200, pictures.HTML, "Content-Type: image/jpeg"), "not_an_image"),
    "SVG": (http(200, SVG, "Content-Type: image/svg+xml"), "not_an_image"),
    "bare SVG": (http(200, SVG[21:], "Content-Type: image/svg+xml"), "not_an_image"),
    "nothing": (http(200), "empty"),
    "no content": (http(204), "empty"),
    "gone": (http(410, b"gone"), "http_status"),
    "a fault": (http(500, b"oh"), "server_error"),
    "not modified": (http(304), "http_status"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_answer_ends_in_time_with_its_reason(server: Server, case: str) -> None:
    server.answers["/image"], reason = CASES[case]
    started = time.monotonic()
    outcome = one(server, "/image", retries=0)
    assert (outcome.failed, outcome.data) == (reason, None), outcome
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br", "zstd", "identity", "GZIP"])
def test_bodies_are_unpacked_within_the_limit(server: Server, encoding: str) -> None:
    packers = {"br": brotli.compress, "zstd": zstandard.compress, "identity": bytes}
    body = packers.get(encoding, gzip.compress)(JPEG)
    server.answers["/image"] = encoded(body, encoding)
    assert one(server, "/image").data == JPEG


@pytest.mark.slow
def test_a_bomb_costs_no_more_memory_than_the_limits(server: Server) -> None:
    for name in ("gzip bomb", "brotli bomb", "zstd bomb", "endless body", "endless headers"):
        server.answers["/" + name.replace(" ", "-")] = CASES.get(name, CASES["header flood"])[0]
    urls = [server.url(path) for path in list(server.answers) * 2]
    tracemalloc.start()
    try:
        outcomes = all_of(
            urls, quick(give_up_after=99, per_host_at_once=10, request_s=9, read_s=9, host_s=30)
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {one.failed for one in outcomes} == {"too_large", "header_flood"}
    assert peak < 20_000_000


def test_a_redirect_is_followed_and_recorded(server: Server) -> None:
    server.answers |= {"/a": to("/b?x=1 2", 301), "/b?x=1%202": to("c", 307)}
    headers = ('ETag: "x"', "Last-Modified: yesterday", "Content-Type: image/jpeg")
    server.answers["/c"] = http(200, JPEG, *headers)
    outcome = one(server, "/a")
    assert outcome.data == JPEG
    assert outcome.redirects == (server.url("/b?x=1%202"), server.url("/c"))
    assert outcome.final_url == server.url("/c")
    assert (outcome.status, outcome.attempts, outcome.size_bytes) == (200, 1, len(JPEG))
    assert (outcome.etag, outcome.last_modified) == ('"x"', "yesterday")
    assert outcome.content_type == "image/jpeg"


def test_redirects_have_an_end(server: Server) -> None:
    server.answers |= {f"/{n}": to(f"/{n + 1}") for n in range(9)}
    assert one(server, "/0", max_redirects=3).failed == "too_many_redirects"


def test_hashes_of_the_list_are_verified(server: Server) -> None:
    server.answers["/image"] = http(200, JPEG)
    url, good = server.url("/image"), one(server, "/image").sha256
    assert good is not None
    wanted = [
        Wanted(url, sha256=good.hex().upper()),
        Wanted(url, sha256="00"),
        Wanted(url, md5="0"),
    ]
    found = [outcome.failed for outcome in all_of(wanted, quick())]
    assert found == [None, "hash_mismatch", "hash_mismatch"]


def test_limits_of_size(server: Server) -> None:
    server.answers["/image"] = http(200, JPEG)
    assert one(server, "/image", max_bytes=len(JPEG)).data == JPEG
    assert one(server, "/image", max_bytes=len(JPEG) - 1).failed == "too_large"
    assert one(server, "/image", min_bytes=len(JPEG) + 1).failed == "too_small"


def test_nothing_is_asked_twice_behind_our_back(server: Server) -> None:
    server.answers |= {"/image": http(200, JPEG), "/bad": hang_up}
    all_of([server.url("/image"), server.url("/bad")], quick(retries=0, per_host_at_once=1))
    assert server.paths().count("/bad") == 1


def test_no_cookie_is_kept_and_the_agent_says_who_it_is(server: Server) -> None:
    server.answers["/image"] = http(200, JPEG, "Set-Cookie: a=b; Path=/")
    url = server.url("/image")
    all_of([url, url], quick(contact="mailto:us@example.org", per_host_at_once=1))
    assert all("cookie" not in asked.headers for asked in server.asked)
    agents = {asked.headers["user-agent"] for asked in server.asked}
    assert agents == {"pairmill/1.0 (+mailto:us@example.org)"}


def test_proxies_of_the_environment_are_not_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    server.answers["/image"] = http(200, JPEG)
    assert one(server, "/image").data == JPEG


def test_a_closed_port_is_refused(server: Server) -> None:
    assert all_of(["http://127.0.0.1:9/image"], quick())[0].failed == "refused"


def test_a_body_that_hardly_comes_does_not_take_the_time_of_a_whole_request(
    server: Server,
) -> None:
    server.answers["/image"] = slow_body
    started = time.monotonic()
    outcome = all_of([server.url("/image")], quick(read_s=0.5, request_s=8, retries=0))[0]
    assert (outcome.failed, time.monotonic() - started < 4) == ("timeout", True)
    assert " bytes in " in (outcome.detail or "")
