"""A list of URLs of hosts that are down at first, and what tests of retries ask of it."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import pool
from pipeline.build import Build
from pipeline.recipe import parse_recipe
from pipeline.retry import Retried, retry
from tests import pictures
from tests.fetch.server import Server, http, serving

HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 5))
EACH = 5  # images of each host
DOWN = (0, 2)  # of them; fewer in a row than a host is given up after
ROWS = EACH * len(HOSTS)
DUE = len(DOWN) * len(HOSTS)
FETCH = (
    f"{{allow_hosts: [{', '.join(HOSTS)}], per_host_per_second: 1000, read_s: 2, request_s: 3,"
    " retries: 0}"
)
SOURCES = """\
sources:
  web: {table: urls.csv, url: url, caption: alt, md5: md5, fetch: %s}
ingest: {rows_per_shard: 5}
"""
STEPS = """\
score:
  image: {}
  caption: {}
  frequency: {}
select:
  - readable: {where: width is not null}
export: {samples_per_shard: 4, seed: 0}
"""
EMPTY = http(200)  # a failure that may pass, and slows nobody down


def image(number: int) -> bytes:
    return http(200, pictures.jpeg(number), "Content-Type: image/jpeg")


@contextmanager
def flaky() -> Iterator[Server]:
    """Hosts of which some images are not to be had; `mend` brings them."""
    with serving(addresses=HOSTS) as server:
        for number in range(EACH):
            server.answers[f"/{number}.jpg"] = EMPTY if number in DOWN else image(number)
        yield server


def mend(server: Server, *numbers: int) -> None:
    for number in numbers or DOWN:
        server.answers[f"/{number}.jpg"] = image(number)


def lines(server: Server) -> list[str]:
    return [
        f"{server.url(f'/{number}.jpg', host)},picture {number} of {host},,tag {number}"
        for host in HOSTS
        for number in range(EACH)
    ]


def write(folder: Path, rows: list[str], fetch: str = FETCH, more: str = "") -> Path:
    """The list and the recipe; returns the recipe."""
    folder.mkdir(exist_ok=True)
    (folder / "urls.csv").write_text("\n".join(["url,alt,md5,tag", *rows]))
    (folder / "recipe.yaml").write_text(SOURCES % fetch + more)
    return folder / "recipe.yaml"


def build_of(recipe: Path, out: str = "out", **options: Any) -> Build:
    parsed = parse_recipe(recipe.read_text(), str(recipe))
    return Build(parsed, str(recipe.parent / out), **options)


def again(recipe: Path, out: str = "out", **options: Any) -> Retried:
    return retry(build_of(recipe, out, **options))


def pool_of(recipe: Path, out: str = "out") -> pool.Pool:
    made = pool.open_pool(str(recipe.parent / out))
    assert made is not None
    return made


def base_of(made: pool.Pool) -> list[dict[str, Any]]:
    return [r for shard in made.shards for r in pool.read_base(made.root, shard).to_pylist()]


def current(made: pool.Pool) -> dict[str, dict[str, Any]]:
    """Rows that have no newer one, by caption; each is there once."""
    rows = [row for row in base_of(made) if row["failed"] != "retried"]
    found = {row["caption"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def asked(server: Server) -> Counter[tuple[str, str]]:
    images = [one for one in server.asked if one.path.endswith(".jpg")]
    return Counter((one.host, one.path) for one in images)


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below a folder but those of the lock and the ledger."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and "ledger" not in path.parts
    }


def ledger(out: Path) -> Any:
    return json.loads((out / "shards" / "manifest.json").read_text())["ledger"]
