"""A small pool with URLs, and what tests of takedowns ask of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.keys import pair_key
from pipeline.shards import Sample
from tests import pictures
from tests.commands import done
from tests.tars import write_shard

ROWS = 12
RECIPE = """\
sources:
  web: {webdataset: web.tar}
score:
  image: {}
  caption: {}
  hashes: {}
  duplicates: {}
  frequency: {}
select:
  - readable: {where: width is not null}
  - once: {one_per: dup_group, best: width}
export: {samples_per_shard: 3, seed: 0}
ingest: {rows_per_shard: 4}
"""


def url(number: int) -> str:
    return f"https://img{number}.site{number % 3}.example.org/{number}.jpg"


def caption(number: int) -> str:
    return f"picture number {number}" if number % 4 else "the same caption"


def key(number: int) -> str:
    return pair_key(url=url(number), image_sha256=None, caption=caption(number)).hex()


def write_web(folder: Path, rows: int = ROWS) -> Path:
    """The tar that RECIPE reads, and the recipe; returns the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        Sample(
            f"{n:05d}",
            {
                "jpg": pictures.jpeg(n % 200),
                "txt": caption(n).encode(),
                "json": json.dumps({"url": url(n)}).encode(),
            },
        )
        for n in range(rows)
    ]
    write_shard(folder / "web.tar", samples)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE)
    return recipe


def take_down(out: Path, text: str, *options: str, name: str = "list.txt") -> str:
    """The text of the verb, given a list of this text."""
    path = out.parent / name
    path.write_text(text)
    words = ("--date", "2026-01-31", "--engine", "local", *options)
    return done("takedown", path, "--out", out, *words)


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.tar"))}


def everything(folder: Path) -> bytes:
    """The bytes of all files below a folder but those of the lists themselves."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name != "takedown")
    return b"".join(path.read_bytes() for path in found)


def ledger(out: Path) -> Any:
    return json.loads((out / "shards" / "manifest.json").read_text())["ledger"]


def phash(number: int) -> int:
    from filters.hashes import Hashes
    from pipeline.decoding import decode

    image = decode(pictures.jpeg(number))
    assert isinstance(image, np.ndarray)
    return int(Hashes()({"image": [image]})["phash"][0])
