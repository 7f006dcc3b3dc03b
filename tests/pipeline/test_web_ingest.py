"""URL tables fetched by our own fetcher: by site, with every outcome, and killed anywhere."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import pool
from pipeline.build import Build, Part
from pipeline.errors import RecipeError
from pipeline.recipe import parse_recipe
from pipeline.run import Engine
from pipeline.shards import read_shard
from tests import pictures
from tests.commands import done
from tests.fetch.server import Server, http, serving, to

HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 9))
EACH = 12  # images of each host
FETCH = "{allow_hosts: [%s], per_host_per_second: 1000, read_s: 2, request_s: 3, retries: 0}"
RECIPE = """\
sources:
  web: {table: urls.csv, url: url, caption: alt, fetch: %s}
ingest: {rows_per_shard: 3}
"""


@pytest.fixture
def server():
    with serving(addresses=HOSTS) as running:
        for number in range(EACH):
            running.answers[f"/{number}.jpg"] = http(
                200, pictures.jpeg(number), "Content-Type: image/jpeg", 'ETag: "e"'
            )
        yield running


def listed(server: Server) -> list[str]:
    """Rows sorted by host, as a crawl leaves them; every third URL has two captions."""
    return [
        f"{server.url(f'/{number}.jpg', host)},picture {number} {again}"
        for host in HOSTS
        for number in range(EACH)
        for again in range(1 + (number % 3 == 0))
    ]


def write(folder: Path, lines: list[str], fetch: str = FETCH % ", ".join(HOSTS)) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "urls.csv").write_text("\n".join(["url,alt", *lines]))
    (folder / "recipe.yaml").write_text(RECIPE % fetch)
    return folder / "recipe.yaml"


def build_of(recipe: Path, out: str = "out", **options: object) -> Build:
    parsed = parse_recipe(recipe.read_text(), str(recipe))
    return Build(parsed, str(recipe.parent / out), **options)  # type: ignore[arg-type]


def base_of(made: pool.Pool) -> list[dict[str, object]]:
    return [r for shard in made.shards for r in pool.read_base(made.root, shard).to_pylist()]


def rows_of(made: pool.Pool) -> list[dict[str, object]]:
    """Rows without the times, which differ from run to run."""
    return [row | {"fetched_at": None} for row in base_of(made)]


def tars(made: pool.Pool) -> list[bytes]:
    return [Path(pool.tar_path(made.root, shard.name)).read_bytes() for shard in made.shards]


def asked(server: Server) -> Counter[tuple[str, str]]:
    images = [one for one in server.asked if one.path.endswith(".jpg")]
    return Counter((one.host, one.path) for one in images)


def test_a_table_of_urls_becomes_a_pool(tmp_path, server):
    made = build_of(write(tmp_path, listed(server))).ingest()
    rows = base_of(made)
    assert len(rows) == len(listed(server))
    assert {row["failed"] for row in rows} == {None}
    assert set(asked(server).values()) == {1}  # also of URLs with two captions
    row = next(row for row in rows if row["url"] == server.url("/3.jpg", HOSTS[2]))
    assert row["fetched_at"].endswith("Z")
    assert (row["attempts"], row["http_status"], row["etag"]) == (1, 200, '"e"')
    assert row["final_url"] == row["url"]
    assert row["received_bytes"] == len(pictures.jpeg(3))
    assert row["received_sha256"] is None
    samples = [s for n in made.shards for s in read_shard(pool.tar_path(made.root, n.name))]
    assert Counter(s.parts["jpg"] for s in samples)[pictures.jpeg(3)] == 2 * len(HOSTS)


def test_shards_mix_sites_and_stay_near_their_size(tmp_path, server):
    made = build_of(write(tmp_path, listed(server))).ingest()
    assert max(shard.rows for shard in made.shards) <= 4
    assert min(shard.rows for shard in made.shards) >= 1
    for shard in made.shards:
        urls = pool.read_base(made.root, shard)["url"].to_pylist()
        runs = Counter(url.split("/")[2] for url in set(urls))
        assert max(runs.values()) <= 3
    stays = [row["url"] for row in base_of(made)]
    assert sum(a == b for a, b in pairwise(stays)) == len(HOSTS) * EACH // 3


@pytest.mark.slow
def test_engines_and_workers_make_the_same_pool(tmp_path, server):
    recipe = write(tmp_path, listed(server))
    one = build_of(recipe, "one").ingest()
    two = build_of(recipe, "two", engine=Engine("procs", 2)).ingest()
    assert tars(one) == tars(two)
    assert rows_of(one) == rows_of(two)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["beam", "dask"])
def test_other_engines_make_the_same_pool(tmp_path, server, engine, options_of):
    recipe = write(tmp_path, listed(server))
    one = build_of(recipe, "one").ingest()
    done("ingest", recipe, "--out", tmp_path / "two", *options_of(engine))
    two = build_of(recipe, "two").ingest()
    assert tars(one) == tars(two)
    assert rows_of(one) == rows_of(two)


@pytest.mark.slow
def test_the_order_of_the_list_does_not_matter(tmp_path, server):
    lines = listed(server)
    one = build_of(write(tmp_path / "a", lines)).ingest()
    two = build_of(write(tmp_path / "b", lines[::-1])).ingest()
    assert sorted(row["key"] for row in base_of(one)) == sorted(row["key"] for row in base_of(two))


def test_every_outcome_is_in_its_row(tmp_path, server):
    server.answers |= {
        "/moved.jpg": to("/1.jpg"),
        "/gone.jpg": http(410),
        "/busy.jpg": http(503),
        "/page.jpg": http(200, b"<html>not found</html>", "Content-Type: text/html"),
        "/noai.jpg": http(200, pictures.jpeg(2), "X-Robots-Tag: noai"),
        "/named.jpg": http(200, pictures.jpeg(3), "X-Robots-Tag: unavailable_after: 2030"),
    }
    names = ["moved.jpg", "gone.jpg", "busy.jpg", "page.jpg", "noai.jpg", "1.jpg"]
    lines = [f"{server.url(f'/{name}')},{name}" for name in names]
    lines += [
        ",nothing",
        "ftp://a.b/c,scheme",
        "http://u:p@a.org/,user",
        "http://10.0.0.1/x,inside",
    ]
    made = build_of(write(tmp_path, lines)).ingest()
    rows = {row["caption"]: row for row in base_of(made)}
    assert {name: row["failed"] for name, row in rows.items()} == {
        "moved.jpg": None, "gone.jpg": "http_status", "busy.jpg": "server_error",
        "page.jpg": "not_an_image", "noai.jpg": "noai", "1.jpg": None, "nothing": "no_url",
        "scheme": "bad_scheme", "user": "credentials_in_url", "inside": "blocked_address",
    }  # fmt: skip
    assert rows["moved.jpg"]["redirects"] == [server.url("/1.jpg")]
    assert rows["gone.jpg"]["http_status"] == 410
    assert [rows[name]["retriable"] for name in ("gone.jpg", "busy.jpg")] == [False, True]
    assert rows["page.jpg"]["content_type"] == "text/html"
    assert rows["page.jpg"]["received_sha256"] is not None
    assert "noai" in json.dumps(json.loads(rows["noai.jpg"]["signals"]))


def test_hashes_of_the_list_are_verified(tmp_path, server):
    from hashlib import md5, sha256

    right, wrong = md5(pictures.jpeg(1)).hexdigest(), sha256(b"other").hexdigest()
    lines = [
        f"{server.url('/1.jpg')},a,{right},",
        f"{server.url('/1.jpg')},b,,{wrong}",
        f"{server.url('/1.jpg')},c,,xyz",
        f"{server.url('/1.jpg')},d,,",
    ]
    recipe = write(tmp_path, [])
    (tmp_path / "urls.csv").write_text("\n".join(["url,alt,m,s", *lines]))
    recipe.write_text(
        recipe.read_text().replace("caption: alt,", "caption: alt, md5: m, sha256: s,")
    )
    rows = {row["caption"]: row["failed"] for row in base_of(build_of(recipe).ingest())}
    assert rows == {"a": None, "b": "hash_mismatch", "c": "bad_row", "d": None}


def test_hashes_may_be_bytes(tmp_path, server):
    from hashlib import sha256

    right, wrong = sha256(pictures.jpeg(1)).digest(), sha256(b"other").digest()
    urls = [server.url("/1.jpg"), server.url("/1.jpg"), server.url("/2.jpg")]
    table = {"url": urls, "alt": ["a", "b", "c"], "s": [right, wrong, b"short"]}
    recipe = write(tmp_path, [])
    pq.write_table(pa.table(table), tmp_path / "urls.parquet")
    named = "urls.parquet, url: url, caption: alt, sha256: s,"
    recipe.write_text(recipe.read_text().replace("urls.csv, url: url, caption: alt,", named))
    rows = {row["caption"]: row["failed"] for row in base_of(build_of(recipe).ingest())}
    assert rows == {"a": None, "b": "hash_mismatch", "c": "bad_row"}


def test_what_is_kept_of_an_image_is_made_on_the_way_in(tmp_path, server):
    big = pictures.jpeg(5, size=(400, 300))
    server.answers["/big.jpg"] = http(200, big)
    fetch = FETCH[:-1] % "127.0.0.1" + ", store: {max_side: 100, format: webp}}"
    made = build_of(write(tmp_path, [f"{server.url('/big.jpg')},x"], fetch)).ingest()
    (row,) = base_of(made)
    (sample,) = read_shard(pool.tar_path(made.root, "00000"))
    assert row["extension"] == "webp"
    assert row["received_bytes"] == len(big) > len(sample.parts["webp"])
    assert row["received_sha256"] is not None
    other = build_of(write(tmp_path, [], FETCH % "127.0.0.1"))
    with pytest.raises(RecipeError, match="another `sources:` section"):
        other.ingest()


def test_a_table_needs_to_say_who_asks(tmp_path):
    with pytest.raises(RecipeError, match=r"fetch: `contact` is missing; hosts have to know"):
        build_of(write(tmp_path, [], "{retries: 1}"))


def test_what_is_taken_down_is_not_asked_for(tmp_path, server):
    from pipeline import takedown_record
    from pipeline.takedown_record import Entry

    build = build_of(write(tmp_path, listed(server)))
    digest = __import__("hashlib").sha256(pictures.jpeg(5)).hexdigest()
    wanted = [Entry("domain", "127.0.0.3", reason="asked"), Entry("sha256", digest)]
    takedown_record.append(build.root, wanted)
    rows = base_of(build.ingest())
    gone = [row for row in rows if row["failed"] == "taken_down"]
    assert not [one for one in server.asked if one.host == "127.0.0.3"]
    assert len(gone) == len(rows) // len(HOSTS) + len(HOSTS) - 1
    assert {row["url"] for row in gone} == {None}


def start(recipe: Path, *options: str) -> "subprocess.Popen[bytes]":
    words = ["ingest", str(recipe), "--out", str(recipe.parent / "out"), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "procs", "beam", "dask"])
def test_what_was_killed_goes_on_and_asks_for_nothing_twice(tmp_path, server, engine, options_of):
    options = options_of(engine)
    slow = FETCH.replace("1000", "10, per_host_at_once: 1")
    recipe = write(tmp_path, listed(server), slow % ", ".join(HOSTS))
    for number in range(3):
        process = start(recipe, *options)
        before = len(server.asked)
        deadline = time.monotonic() + 60
        enough = before + 20 + 7 * number
        while len(server.asked) < enough and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() in (-signal.SIGKILL, 0)  # dask's workers go on after a kill
        time.sleep(1.0 if engine == "dask" else 0.3)  # its workers go on for a moment
    made = build_of(recipe).ingest()
    again = sum(asked(server).values()) - len(asked(server))
    assert len(asked(server)) == len(HOSTS) * EACH
    assert again <= 3 * len(HOSTS)  # those under way at each kill: one a host
    whole = build_of(recipe, "whole").ingest()
    assert tars(made) == tars(whole)
    ignored = {"fetched_at": None}
    assert [r | ignored for r in base_of(made)] == [r | ignored for r in base_of(whole)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_no_host_is_asked_more_often_than_allowed_whatever_the_workers(tmp_path, server, workers):
    pace = FETCH.replace("1000", "4")
    recipe = write(tmp_path, listed(server), pace % ", ".join(HOSTS))
    build_of(recipe, engine=Engine("procs" if workers > 1 else "local", workers)).ingest()
    for host in HOSTS:
        at = sorted(one.at for one in server.asked if one.host == host)
        assert max(sum(t <= s < t + 1 for s in at) for t in at) <= 4
        assert len(at) == EACH + 2  # robots.txt and tdmrep.json once each


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_where_redirects_lead_the_pace_is_kept_by_all_workers(tmp_path, server, workers):
    pace, common = FETCH.replace("1000", "4"), HOSTS[0]
    lines = []
    for number, host in enumerate(HOSTS):
        lines += [f"{server.url(f'/there?{n}', host)},picture {n}" for n in range(6)]
        for n in range(6):
            server.answers[f"{host}/there?{n}"] = to(server.url(f"/{number}.jpg", common))
    recipe = write(tmp_path, lines, pace % ", ".join(HOSTS))
    made = build_of(recipe, engine=Engine("procs" if workers > 1 else "local", workers)).ingest()
    assert {row["failed"] for row in base_of(made)} == {None}
    at = sorted(one.at for one in server.asked if one.host == common)
    assert len(at) >= len(lines)
    assert max(sum(t <= s < t + 1 for s in at) for t in at) <= 4


def test_parts_share_the_work(tmp_path, server):
    recipe = write(tmp_path, listed(server))
    import threading

    first = build_of(recipe, part=Part(0, 2, 60, 0.05))
    second = build_of(recipe, part=Part(1, 2, 60, 0.05))
    thread = threading.Thread(target=first.ingest)
    thread.start()
    made = second.ingest()
    thread.join()
    assert set(asked(server).values()) == {1}
    assert made.rows == len(listed(server))
