"""What is known of a page beyond its bytes: its headers, and whether links are followed."""

import pytest

from pipeline.fetch.options import FetchOptions
from pipeline.fetch.signals import may_follow
from pipeline.fetch.spool import Spool
from tests import pictures
from tests.fetch.asking import one
from tests.fetch.server import Server, http, to

HEADERS = ("Content-Type: text/html", "Link: <a>; rel=license", "link: <b>", "Set-Cookie: a=b")


def test_a_page_has_the_headers_that_matter(server: Server) -> None:
    long = "X-Robots-Tag: " + "x" * 5000
    server.answers["/page"] = http(200, b"<p>", *HEADERS, long, "Server: s", "ETag: \xe4")
    server.answers["/to"] = to("/page")
    expected = (
        ("Content-Type", "text/html"),
        ("Link", "<a>; rel=license"),
        ("Link", "<b>"),
        ("X-Robots-Tag", "x" * 4000),
        ("Etag", "?"),
    )
    assert one(server, "/page", kind="page").headers == expected
    assert one(server, "/to", kind="page").headers == expected


def test_other_kinds_have_no_headers(server: Server) -> None:
    server.answers["/image"] = http(200, pictures.jpeg(0), *HEADERS)
    assert one(server, "/image").headers == ()


def test_headers_are_kept_on_disk(server: Server, tmp_path) -> None:  # type: ignore[no-untyped-def]
    server.answers["/page"] = http(200, b"<p>", *HEADERS)
    outcome = one(server, "/page", kind="page")
    spool = Spool(str(tmp_path / "spool"), "x")
    spool.put("a", outcome)
    assert spool.get("a") == outcome
    spool.close()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, True),
        ({"X-Robots-Tag": "noarchive"}, True),
        ({"X-Robots-Tag": "noindex, NoFollow"}, False),
        ({"X-Robots-Tag": "none"}, False),
        ({"X-Robots-Tag": "otherbot: nofollow"}, True),
        ({"X-Robots-Tag": "otherbot: noai, *: nofollow"}, False),
        ({"X-Robots-Tag": "PairMill: nofollow"}, False),
        ({"X-Robots-Tag": "unavailable_after: nofollow"}, True),
        ({"meta robots": "nofollow"}, False),
        ({"meta other": "index,nofollow"}, False),
        ({"meta robots": "follow, nofollowing"}, True),
        ({"robots.txt Content-Usage": "nofollow", "Link": "nofollow"}, True),
    ],
)
def test_links_are_followed_unless_a_robot_is_told_not_to(
    found: dict[str, str], expected: bool
) -> None:
    assert may_follow(found, FetchOptions(agents=("other",))) is expected
