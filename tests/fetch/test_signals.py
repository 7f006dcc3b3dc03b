"""Signals about the use of content: found, kept as they are, and obeyed."""

import json

import pytest

from pipeline.fetch import signals
from pipeline.fetch.manners import reservations
from pipeline.fetch.options import SIGNALS
from tests import pictures
from tests.fetch.asking import all_of, one, quick
from tests.fetch.server import Server, http

JPEG = pictures.jpeg(0)
PAGE = "<!doctype html><html><head>{}</head><body>text</body></html>"


@pytest.mark.parametrize(
    ("header", "forbids"),
    [
        ("X-Robots-Tag: noai", True),
        ("X-Robots-Tag: nofollow, NoImageAI", True),
        ("X-Robots-Tag: noindex", True),
        ("X-Robots-Tag: none", True),
        ("X-Robots-Tag: noml", True),
        ("X-Robots-Tag: pairmill: noai", True),
        ("X-Robots-Tag: otherbot: noai, noindex", False),
        ("X-Robots-Tag: otherbot: noai, *: noml", True),
        ("X-Robots-Tag: ourfriend: noai", True),
        ("X-Robots-Tag: max-snippet: 5, unavailable_after: 2030, noai", True),
        ("X-Robots-Tag: noai noimageai", True),
        ("X-Robots-Tag: otherbot: noindex; noai", False),
        ("X-Robots-Tag: max-image-preview: none", False),
        (f"X-Robots-Tag: {'otherbot: noindex, ' * 50}*: noai", True),
        ("X-Robots-Tag: nofollow, noarchive", False),
        ("X-Robots-Tag: \xff\xfe noai?", False),
        ("tdm-reservation: 1", True),
        ("TDM-Reservation: 0", False),
        ("Content-Usage: train-ai=n", True),
        ("Content-Usage: search=y, train-ai=N", True),
        ("Content-Usage: train-ai=y, train-genai=n", True),
        ("Content-Usage: bots=n", True),
        ("Content-Usage: bots=n, train-ai=y", False),
        ("Content-Usage: search=n", False),
        ("Content-Usage: ((((", False),
        ('Link: </terms.xml>; rel="license"; type="application/rsl+xml"', True),
        ('Link: </terms.html>; rel="license"', False),
        ("License: https://a.test/terms.xml", True),
    ],
)
def test_headers_are_obeyed_before_the_body_is_read(
    server: Server, header: str, forbids: bool
) -> None:
    server.answers["/image"] = http(200, JPEG, header)
    outcome = one(server, "/image", agents=("OurFriend",))
    assert outcome.failed == ("noai" if forbids else None)
    assert len(outcome.signals) == 1
    assert (outcome.retriable, outcome.date is None) == (False if forbids else None, False)
    json.dumps(dict(outcome.signals)).encode()


def test_a_recipe_chooses_what_it_refuses(server: Server) -> None:
    licence = 'Link: </terms.xml>; rel="license"; type="application/rsl+xml"'
    server.answers["/image"] = http(200, JPEG, "X-Robots-Tag: noai", licence)
    assert one(server, "/image", refuse=frozenset()).data == JPEG
    assert one(server, "/image", refuse=frozenset({"noindex"})).data == JPEG
    assert one(server, "/image", refuse=frozenset({"rsl"})).failed == "noai"
    assert one(server, "/image", refuse=SIGNALS - {"rsl", "noai"}).data == JPEG


def test_repeated_headers_are_one_signal() -> None:
    found = signals.of_headers([("x-robots-tag", "a: noai"), ("X-ROBOTS-TAG", "noml")])
    assert found == {"X-Robots-Tag": "a: noai | noml"}
    assert signals.forbidden(found, quick()) == "X-Robots-Tag: a: noai | noml"
    found = signals.of_headers([("Content-Usage", "search=y"), ("content-usage", "train-ai=n")])
    assert found == {"Content-Usage": "search=y, train-ai=n"}


@pytest.mark.parametrize(
    ("head", "forbids"),
    [
        ('<meta name="robots" content="noai, noimageai">', True),
        ("<META CONTENT='NOINDEX' NAME=Robots />", True),
        ('<meta name="robots" content="noai noimageai">', True),
        ('<meta name="robots" content="follow;noindex">', True),
        ('<meta name="robots" content="max-image-preview: none">', False),
        (f'<meta name="robots" content="{"follow, " * 100}noai">', True),
        ('<meta name="pairmill" content="noml">', True),
        ('<meta name="otherbot" content="noai">', False),
        ('<meta name="tdm-reservation" content="1">', True),
        ('<meta name="tdm-reservation" content="0">', False),
        ('<meta name="robots" content="&#110;oai">', True),
        ('<!-- <meta name="robots" content="noai"> -->', False),
        ('<meta name="robots" content="index,follow">', False),
        ("<meta " * 50_000, False),
    ],
)
def test_meta_of_pages_is_obeyed(server: Server, head: str, forbids: bool) -> None:
    body = PAGE.format(head).encode()
    server.answers["/page"] = http(200, body, "Content-Type: text/html; charset=utf-8")
    for kind in ("page", "any"):
        outcome = one(server, "/page", kind=kind, max_bytes=1_000_000)
        assert outcome.failed == ("noai" if forbids else None)


def test_a_page_in_utf_16_is_read_too(server: Server) -> None:
    body = PAGE.format('<meta name="robots" content="noai">').encode("utf-16")
    server.answers["/page"] = http(200, body, "Content-Type: text/html")
    assert one(server, "/page", kind="page").failed == "noai"


def test_a_page_is_html(server: Server) -> None:
    server.answers["/page"] = http(200, JPEG, "Content-Type: image/jpeg")
    assert one(server, "/page", kind="page").failed == "not_a_page"
    assert one(server, "/page", kind="any").data == JPEG
    server.answers["/mute"] = http(200, b"text")
    assert one(server, "/mute", kind="page").detail == (
        "no content type, and not the beginning of HTML"
    )


def test_content_usage_and_licence_of_robots_txt(server: Server) -> None:
    text = b"License: https://a.test/l.xml\nUser-agent: *\nContent-Usage: /no/ train-ai=n\n"
    server.answers["/robots.txt"] = http(200, text)
    server.otherwise = http(200, JPEG)
    urls = [server.url("/no/x"), server.url("/yes")]
    no, yes = all_of(urls, quick(refuse=SIGNALS - {"rsl"}))
    assert (no.failed, yes.failed) == ("noai", None)
    assert yes.signals == {"robots.txt License": "https://a.test/l.xml"}
    assert "/no/x" not in server.paths()
    _, yes = all_of(urls, quick())
    assert (yes.failed, yes.detail) == ("noai", "robots.txt License: https://a.test/l.xml")
    assert server.paths().count("/yes") == 1


def test_tdmrep_json_is_obeyed(server: Server) -> None:
    rules = [{"location": "/", "tdm-reservation": 1}, {"location": "/free/*", "tdm-reservation": 0}]
    server.answers["/.well-known/tdmrep.json"] = http(200, json.dumps(rules).encode())
    server.otherwise = http(200, JPEG)
    urls = [server.url("/x"), server.url("/free/x")]
    assert [one.failed for one in all_of(urls, quick())] == ["noai", None]
    assert "/x" not in server.paths()


def test_tdmrep_json_is_not_asked_for_where_robots_txt_forbids_it(server: Server) -> None:
    server.answers["/robots.txt"] = http(200, b"User-agent: *\nDisallow: /.well-known/\n")
    server.answers["/image"] = http(200, JPEG)
    assert one(server, "/image").data == JPEG
    assert server.paths() == ["/robots.txt", "/image"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1, null]", b'[{"location": 3, "tdm-reservation": 1}]', b"[" * 99_999, b"\xff"],
)
def test_what_is_no_tdmrep_json_reserves_nothing(data: bytes) -> None:
    assert reservations(data) == ()


def test_a_tdmrep_json_that_cannot_be_had_reserves_nothing(server: Server) -> None:
    server.answers |= {"/.well-known/tdmrep.json": http(500), "/image": http(200, JPEG)}
    assert one(server, "/image").data == JPEG
