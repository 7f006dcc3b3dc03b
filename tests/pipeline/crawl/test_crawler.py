import asyncio

import pytest

from pipeline.crawl.crawler import REASONS, crawl, together
from pipeline.errors import BusyBuild, CurationError
from pipeline.fetch.outcome import REASONS as FETCH_REASONS
from pipeline.storage import lock
from tests.fetch.asking import quick
from tests.fetch.server import http, to
from tests.pipeline.crawl.sites import Made, archived, asked, crawled, options, page, paths, rows


@pytest.fixture
def tree(server):
    """Two pages below each page, six levels deep."""
    server.answers = Made(lambda path: page(f"{path}0", f"{path}1") if len(path) < 7 else page())
    return server


def failures(folder):
    return {row["url"].split("/", 3)[3]: row["failed"] for row in rows(folder) if row["failed"]}


def test_depth_counts_links_from_the_start(tree, tmp_path):
    stats = crawled(tmp_path, options(tree, depth=2))
    found = rows(tmp_path)
    assert paths(found) == ["/", "/0", "/1", "/00", "/01", "/10", "/11"]
    assert [row["depth"] for row in found] == [0, 1, 1, 2, 2, 2, 2]
    assert [row["found_on"] and row["found_on"][-2:] for row in found[:5]] == [
        *(None, f"{tree.port}/"[-2:], f"{tree.port}/"[-2:]),
        *("/0", "/0"),
    ]
    assert stats.left_out == {"depth": 8}
    assert sorted(asked(tree)) == sorted(paths(found))


def test_depth_nothing_is_the_start_alone(tree, tmp_path):
    stats = crawled(tmp_path, options(tree, depth=0))
    assert (stats.asked, stats.left_out) == (1, {"depth": 2})


def test_a_row_says_what_became_of_a_page_and_where_it_lies(tree, tmp_path):
    crawled(tmp_path, options(tree, depth=1))
    first, second, _ = rows(tmp_path)
    file = first.pop("file")
    assert first.pop("fetched_at").endswith("Z")
    assert first == {
        "url": tree.url("/"),
        "final_url": tree.url("/"),
        "depth": 0,
        "found_on": None,
        "status": 200,
        "failed": None,
        "detail": None,
        "retriable": None,
        "offset": archived(tmp_path)[0].offset,
        "links": 2,
        "signals": None,
    }
    assert second["offset"] == archived(tmp_path)[1].offset
    assert (tmp_path / file).exists()


def test_the_limit_of_pages_counts_what_is_asked_for(tree, tmp_path):
    tree.answers["/0"] = http(404)
    stats = crawled(tmp_path, options(tree, depth=5, max_pages=6))
    assert paths(rows(tmp_path)) == ["/", "/0", "/1", "/10", "/11", "/100"]
    assert (stats.asked, stats.pages, stats.failed) == (6, 5, {"http_status": 1})
    assert stats.left_out == {"max_pages": 5}
    assert len(asked(tree)) == 6


def test_each_host_has_a_limit_of_its_own(server, tmp_path):
    hosts = ("a.test", "b.test", "c.test")
    links = [server.url(f"/{n}", host) for host in hosts for n in range(4)]
    server.answers = Made(lambda path: page(*links))
    wanted = options(
        server, links[0], hosts=hosts, stay="any", max_hosts=2, max_pages_per_host=3, depth=1
    )
    stats = crawled(tmp_path, wanted)
    assert [row["url"] for row in rows(tmp_path)] == [*links[:3], *links[4:7]]
    assert stats.left_out["max_hosts"] == 4
    assert stats.hosts == 2


@pytest.mark.parametrize(
    ("stay", "hosts"),
    [
        ("host", ["www.example.org"]),
        ("site", ["www.example.org", "example.org", "img.example.org"]),
        ("any", ["www.example.org", "example.org", "img.example.org", "example.com"]),
    ],
)
def test_a_crawl_stays_where_it_is_told(server, tmp_path, stay, hosts):
    every = ("www.example.org", "example.org", "img.example.org", "example.com")
    server.otherwise = page(*[server.url("/x", host) for host in every])
    start = server.url("/", every[0])
    stats = crawled(tmp_path, options(server, start, hosts=every, stay=stay, depth=1))
    assert [row["url"] for row in rows(tmp_path)[1:]] == [server.url("/x", host) for host in hosts]
    assert stats.left_out.get("stay", 0) == (4 - len(hosts)) * stats.pages


def test_a_start_may_lead_to_another_host_of_its_site(server, tmp_path):
    hosts = ("example.org", "www.example.org", "example.com")
    server.answers |= {
        "example.org/": to(server.url("/", "www.example.org")),
        "example.org/old": to(server.url("/", "example.com")),
        "example.com/": page("/3"),
        "www.example.org/": page("/1", server.url("/2", "example.com")),
        "www.example.org/1": page(),
    }
    starts = [server.url(path, "example.org") for path in ("/", "/old")]
    crawled(tmp_path, options(server, *starts, hosts=hosts, depth=3))
    found = rows(tmp_path)
    assert [row["final_url"] for row in found] == [
        server.url("/", "www.example.org"),
        server.url("/", "example.com"),
        server.url("/1", "www.example.org"),
    ]
    assert [row["failed"] for row in found] == [None, "out_of_bounds", None]
    assert found[1]["detail"] == f"stay: {server.url('/', 'example.com')}"


def test_patterns_choose_pages_but_not_the_start(tree, tmp_path):
    stats = crawled(tmp_path, options(tree, depth=3, only=(r":\d+/1",), refuse=("/10$",)))
    assert paths(rows(tmp_path)) == ["/", "/1", "/11", "/110", "/111"]
    assert stats.left_out == {"only": 1, "refuse": 1, "depth": 4}


def test_one_page_by_many_names_is_asked_for_once(server, tmp_path):
    port = server.port
    names = ["/a/b?q=1", "/a/./b?q=1#top", "/x/../a/b?q=1", "/a/%2e/b?q=1", "/a/b?q=2", "", "#x"]
    names += [f"//127.0.0.1:{port}/a/b?q=1", f"HTTP://127.0.0.1:{port}/a/b?q=1"]
    server.answers |= {"/": page(*names)}
    server.answers |= {"/a/b?q=1": page("/", "."), "/a/b?q=2": page()}
    crawled(tmp_path, options(server, "/", "/./", "/#x"))
    assert asked(server) == ["/", "/a/b?q=1", "/a/b?q=2", "/a/"]


def test_a_page_that_others_lead_to_is_kept_once(server, tmp_path):
    server.answers |= {
        "/": page("/1", "/real", "/2", "/3"),
        "/real": page("/late"),
        "/1": to("/real"),
        "/2": to("/on"),
        "/on": to("/only"),
        "/only": page("/on", "/only"),
        "/3": to("/4"),
        "/4": to("/3"),
        "/late": to("/real"),
    }
    stats = crawled(tmp_path, options(server))
    assert [one.url for one in archived(tmp_path)] == [
        server.url(path) for path in ("/", "/real", "/only")
    ]
    assert stats.failed == {"same_page": 2, "redirect_loop": 1}
    assert asked(server).count("/on") == 1
    assert {row["detail"] for row in rows(tmp_path) if row["failed"] == "same_page"} == {
        server.url("/real")
    }


def test_a_redirect_out_of_bounds_gives_no_page(server, tmp_path):
    hosts = ("127.0.0.1", "b.test")
    server.answers |= {"/": page("/out", "/no", "/in"), "/in": to("/x")}
    server.answers |= {"/out": to(server.url("/", "b.test")), "/no": to("/private")}
    server.answers |= {"b.test/": page(), "/private": page(), "/x": page()}
    crawled(tmp_path, options(server, hosts=hosts, refuse=("/private",)))
    assert failures(tmp_path) == {"out": "out_of_bounds", "no": "out_of_bounds"}
    assert [row["retriable"] for row in rows(tmp_path)] == [None, False, False, None]


def test_links_that_may_not_be_followed_are_not(server, tmp_path):
    server.answers |= {
        "/": page("/meta", "/head", "/ours", "/theirs", more='<a rel="x nofollow" href="/no">'),
        "/meta": page("/no", more='<meta name="robots" content="noarchive, NOFOLLOW">'),
        "/head": page("/no", headers=("X-Robots-Tag: nofollow",)),
        "/ours": page("/no", more='<meta name="pairmill" content="nofollow">'),
        "/theirs": page("/yes", headers=("X-Robots-Tag: otherbot: nofollow",)),
        "/yes": page(),
    }
    crawled(tmp_path, options(server, depth=5))
    found = rows(tmp_path)
    assert paths(found) == ["/", "/meta", "/head", "/ours", "/theirs", "/yes"]
    assert [row["links"] for row in found] == [4, None, None, None, 1, 0]
    assert "/no" not in asked(server)


def test_every_failure_has_its_reason_and_stops_nobody(server, tmp_path):
    async def silent(_):
        await asyncio.sleep(5)

    server.answers |= {
        "/robots.txt": http(200, b"User-agent: *\nDisallow: /private\n"),
        "/": page("/500", "/private/x", "/png", "/noai", "/slow", "/203", "/gone", "/fine"),
        "/500": http(500),
        "/png": http(200, b"\x89PNG", "Content-Type: image/png"),
        "/noai": page("/never", more='<meta name="robots" content="noai">'),
        "/slow": silent,
        "/203": http(203, b"<p>", "Content-Type: text/html"),
        "/fine": page("/last"),
        "/last": page(),
    }
    stats = crawled(tmp_path, options(server, depth=5, web={"give_up_after": 2}))
    assert failures(tmp_path) == {
        "500": "server_error",
        "private/x": "robots",
        "png": "not_a_page",
        "noai": "noai",
        "slow": "timeout",
        "203": "http_status",
        "gone": "http_status",
    }
    assert {row["failed"] for row in rows(tmp_path) if row["retriable"]} == {
        "server_error",
        "timeout",
    }
    assert stats.pages == 3
    assert "/private/x" not in asked(server)


def test_one_broken_page_does_not_end_a_host(server, tmp_path):
    server.answers |= {"/": page("/bad", "/1"), "/bad": http(500), "/1": page()}
    stats = crawled(tmp_path, options(server, web={"retries": 2}))
    assert stats.failed == {"server_error": 1}


@pytest.mark.parametrize(
    "trap",
    [
        lambda path: page(f"/day/{int(path.rpartition('/')[2] or 0) + 1}", "/", path),
        lambda path: page(*(f"/?sid={len(path)}{n}{path[-9:]}" for n in range(3))),
        lambda path: page("deeper/", "./", "../"),
        lambda path: to(f"{path}x") if len(path) % 2 else page(f"{path}y", path),
    ],
    ids=["calendar", "session ids", "deeper and deeper", "redirects"],
)
def test_traps_end_with_the_limits(server, tmp_path, trap):
    server.answers = Made(trap)
    stats = crawled(tmp_path, options(server, depth=1000, max_pages=25))
    assert stats.asked == 25
    assert stats.left_out["max_pages"] >= 1
    assert len(set(asked(server))) == len(asked(server))


def test_files_of_other_kinds_are_not_asked_for(server, tmp_path):
    others = ["/a.zip", "/b.PDF?x", "/c.mp4", "/d.jpg", "/e.svg", "/f.css", "mailto:a@b", "data:,x"]
    server.answers |= {"/": page(*others, "/File:g.svg", "/h.html", "ftp://127.0.0.1/")}
    server.answers |= {"/File:g.svg": page(), "/h.html": page()}
    stats = crawled(tmp_path, options(server))
    assert asked(server) == ["/", "/File:g.svg", "/h.html"]
    assert stats.left_out == {"other_kind": 6}


def test_links_to_what_is_never_fetched_are_counted(server, tmp_path):
    server.answers |= {"/": page("http://10.0.0.1/", "http://u:p@127.0.0.1/", "http://b.test:1/")}
    wanted = options(server, stay="any", web={"contact": "mailto:a@example.org"})
    stats = crawled(tmp_path, wanted)
    assert stats.left_out == {"blocked_address": 1, "credentials_in_url": 1, "port_not_allowed": 1}


def test_without_a_contact_other_hosts_are_left_alone(server, tmp_path):
    server.answers |= {"/": page("http://example.org/", "/1"), "/1": page()}
    assert crawled(tmp_path, options(server, stay="any")).left_out == {"no_contact": 1}
    with pytest.raises(CurationError, match="contact"):
        crawl(str(tmp_path / "b"), options(server, "http://example.org/"))


def test_a_site_of_which_nothing_can_be_had_leaves_rows_and_no_archive(server, tmp_path):
    server.answers["/robots.txt"] = http(500)
    stats = crawled(tmp_path, options(server, "/", "/1"))
    assert (stats.pages, dict(stats.files)) == (0, {})
    assert stats.failed == {"robots_unreachable": 2}


def test_progress_counts_pages(tree, tmp_path):
    seen = []
    crawl(str(tmp_path), options(tree, depth=2), seen.append)
    assert [(one.done, one.total) for one in seen if one.done == one.total] == [
        *((1, 1), (3, 3), (7, 7))
    ]


def test_two_processes_do_not_share_a_folder(tree, tmp_path):
    with lock(str(tmp_path)), pytest.raises(BusyBuild):
        crawl(str(tmp_path), options(tree))


def test_an_object_store_needs_a_journal(tree, tmp_path):
    with pytest.raises(CurationError, match="journal"):
        crawl("memory://crawl", options(tree))
    stats = crawl("memory://crawl", options(tree), journal=str(tmp_path / "journal"))
    assert stats == crawl("memory://crawl", options(tree), journal=str(tmp_path / "journal"))
    assert not (tmp_path / "journal").exists()
    assert asked(tree).count("/") == 1


def test_of_a_site_no_more_is_asked_in_one_call_than_there_is_time_for():
    urls = [f"http://{host}.org/{n}" for host in "ab" for n in range(5)]
    web = quick(per_host_per_second=0.5, shard_s=12)
    assert list(together(urls, web)) == [
        [*urls[:3], *urls[5:8]],
        [*urls[3:5], *urls[8:]],
    ]
    assert list(together([], web)) == []


def test_reasons_of_a_crawl_are_documented():
    assert set(REASONS) - set(FETCH_REASONS) == {"same_page", "out_of_bounds"}
