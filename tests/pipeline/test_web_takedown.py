"""What is taken down is found by where redirects led, and by the bytes as they came."""

from collections import Counter
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import explain, pool, takedown_record
from pipeline.explain import Found
from pipeline.pool import Pool, Shard
from pipeline.record import BuildRecord
from pipeline.takedown_record import TAKEN, Entry
from tests import pictures
from tests.commands import done
from tests.fetch.server import http, serving, to
from tests.pipeline.retries import base_of, pool_of

pytestmark = pytest.mark.slow
HOSTS = ("127.0.0.1", "127.0.0.2")
RECIPE = """\
sources:
  web:
    table: urls.csv
    url: url
    caption: alt
    fetch: {allow_hosts: [127.0.0.1, 127.0.0.2], store: {max_side: 40}}
score: {image: {}}
select: [{readable: {where: width is not null}}]
export: {seed: 0}
"""


@pytest.fixture
def server():
    with serving(addresses=HOSTS) as running:
        running.answers |= {
            "/1.jpg": http(200, pictures.jpeg(1)),
            "/2.jpg": http(200, pictures.jpeg(2)),
            f"{HOSTS[0]}/moved": to(running.url("/here", HOSTS[1])),
            f"{HOSTS[1]}/here": to(running.url("/3.jpg")),
            "/3.jpg": http(200, pictures.jpeg(3)),
        }
        yield running


def write(folder: Path, server) -> Path:
    lines = [f"{server.url(f'/{name}')},{name}" for name in ("1.jpg", "2.jpg", "moved")]
    (folder / "urls.csv").write_text("\n".join(["url,alt", *lines]))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


def entries(server) -> list[Entry]:
    original = sha256(pictures.jpeg(2)).hexdigest()
    return [Entry("url", server.url("/here", HOSTS[1])), Entry("sha256", original)]


def kept(recipe: Path) -> set[object]:
    return {row["caption"] for row in base_of(pool_of(recipe)) if row["failed"] is None}


@pytest.mark.parametrize("kind", ["url", "domain"])
def test_a_finished_pool_is_searched_by_redirects_and_received_bytes(tmp_path, server, kind):
    recipe, out = write(tmp_path, server), tmp_path / "out"
    done("build", recipe, "--out", out)
    assert kept(recipe) == {"1.jpg", "2.jpg", "moved"}
    assert all(row["received_sha256"] for row in base_of(pool_of(recipe)))
    by_url, by_bytes = entries(server)
    named = by_url.value if kind == "url" else HOSTS[1]
    (tmp_path / "list.txt").write_text(f"{named}\n{by_bytes.value}\n")
    text = done("takedown", tmp_path / "list.txt", "--out", out, "--erase")
    by = ", ".join(sorted([f"{kind} 1", "sha256 1"]))
    assert f"rows: 2 of 3 are taken down (by {by})" in text
    assert kept(recipe) == {"1.jpg"}
    done("build", recipe, "--out", out)
    assert kept(recipe) == {"1.jpg"}
    assert "all is as promised: 3 rows" in done("verify", "--out", out)


def test_an_ingest_writes_nothing_that_redirects_took_from_there(tmp_path, server):
    recipe, out = write(tmp_path, server), tmp_path / "out"
    takedown_record.append(str(out), entries(server))
    done("ingest", recipe, "--out", out)
    assert kept(recipe) == {"1.jpg"}
    made = pool_of(recipe)
    assert sum(shard.samples for shard in made.shards) == 1
    stored = [pool.read_stored(made.root, shard)["failed"] for shard in made.shards]
    reasons = Counter(reason for column in stored for reason in column.to_pylist())
    assert reasons == {None: 1, "taken_down": 2}


def test_explain_names_the_takedown_of_this_row_alone(tmp_path):
    """Not that of an earlier attempt, which may be at the same place of another shard."""
    root, key = str(tmp_path), bytes(16)
    rows = [
        {"key": key, "shard": shard, "row": 1, "kind": "url", "reason": shard, "date": None}
        for shard in ("00001", "00006")
    ]
    takedown_record.write_taken(root, pa.Table.from_pylist(rows, schema=TAKEN), "label")
    record = BuildRecord(root, "", "", Pool(root, "", ()), {}, {})
    found = Found(Shard("00006", "web", 2, 0, 0, "", ""), 1, {"key": key})
    assert list(explain._taken_down(record, found)) == ["by url, 00006"]
