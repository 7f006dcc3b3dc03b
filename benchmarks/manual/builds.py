"""Builds of the manual by the rules of configs/align.yaml, and what became of their rows."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.manual.site import HOSTS
from benchmarks.measure import python
from pipeline.shards import read_shard

HOME = Path(__file__).parents[2]
_ALIGN = HOME / "configs" / "align.yaml"
_ENGLISH = re.compile(r"(?m)^ *- english:.*\n")
_CRAWL = """\
  {name}:
    crawl: [{start}]
    texts: [alt]
    depth: 12
    {limits}
    fetch: {fetch}
"""
_WARC = """\
  {name}:
    warc: "{warc}"
    texts: [alt]
    fetch: {fetch}
"""
_BEHIND = """\
  # The English row of an image goes on, with all captions of the image beside its own.
  - first: {where: source = 'en'}
  - once:  {one_per: image_sha256}
captions: {txt: caption, json: [gathered], files: {es: {from: gathered, language: es}}}
"""
_GATHERED = "  gathered: {language: source}\n"


@dataclass(frozen=True)
class Row:
    """A row of a build and what became of it: `kept`, the step that dropped it, or `failed`."""

    key: bytes
    source: str
    url: str | None
    path: str
    caption: str | None
    image: bytes | None
    failed: str | None
    verdict: str
    width: int | None
    height: int | None

    @property
    def fate(self) -> str:
        """The verdict, or why it failed."""
        return self.failed or self.verdict

    @property
    def said(self) -> tuple[object, ...]:
        """What two builds of the same site must agree on."""
        return self.key, self.url, self.caption, self.image, self.failed, self.verdict


def fetch_section(pace: float = 400, at_once: int = 8) -> str:
    hosts = ", ".join(HOSTS)
    return f"{{allow_hosts: [{hosts}], per_host_per_second: {pace:g}, per_host_at_once: {at_once}}}"


def crawl_source(name: str, starts: Sequence[str], fetch: str, limits: str = "") -> str:
    limits = limits or "max_pages: 2000"
    return _CRAWL.format(name=name, start=", ".join(starts), limits=limits, fetch=fetch)


def warc_source(name: str, files: str, fetch: str) -> str:
    return _WARC.format(name=name, warc=files, fetch=fetch)


def align(sources: str) -> str:
    """configs/align.yaml with other sources."""
    text = re.sub(r"(?ms)^sources:\n.*?(?=^score:)", "", _ALIGN.read_text())
    head, mark, rest = text.partition("score:\n")
    return f"{head}sources:\n{sources}{mark}{rest}"


def two_languages(sources: str) -> str:
    """Those rules without the one for English; captions of an image come together by its hash."""
    text = _ENGLISH.sub("", align(sources))
    text = text.replace("score:\n", "score:\n" + _GATHERED, 1)
    return text.replace("captions: {txt: caption}\n", _BEHIND, 1)


def command(verb: str, recipe: Path, out: Path, workers: int = 1) -> list[str]:
    engine = ["--engine", "procs", "--workers", str(workers)] if workers > 1 else []
    engine = engine or ["--engine", "local"]
    return [python(), "-m", "pipeline", verb, str(recipe), "--out", str(out), *engine]


def run(verb: str, recipe: str, out: Path, workers: int = 1) -> str:
    """Run the program over a recipe, which lies beside the output; what it printed.

    Raises RuntimeError when it fails.
    """
    file = write(recipe, out)
    done = subprocess.run(
        command(verb, file, out, workers), cwd=HOME, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{verb} of {file}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def write(recipe: str, out: Path) -> Path:
    file = out.with_name(f"{out.name}.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(recipe)
    return file


def rows(out: Path) -> list[Row]:
    """Every row of a build, in the order of the pool."""
    base = _table(out / "pool", ["key", "source", "url", "caption", "image_sha256", "failed"])
    judged = _table(out / "verdicts", ["shard", "row", "verdict"]).sort_by(
        [("shard", "ascending"), ("row", "ascending")]
    )
    (image,) = (out / "columns" / "image").iterdir()
    sizes = _table(image, ["width", "height"])
    found = zip(base.to_pylist(), judged["verdict"].to_pylist(), sizes.to_pylist(), strict=True)
    return [
        Row(
            key=row["key"],
            source=row["source"],
            url=row["url"],
            path=urlsplit(row["url"] or "").path,
            caption=row["caption"],
            image=row["image_sha256"],
            failed=row["failed"],
            verdict=verdict,
            width=size["width"],
            height=size["height"],
        )
        for row, verdict, size in found
    ]


def _table(folder: Path, columns: list[str]) -> pa.Table:
    """These columns of the files in a folder that are named by numbers, in their order."""
    files = sorted(folder.glob("[0-9]*.parquet"))
    return pa.concat_tables([pq.read_table(file, columns=columns) for file in files])


def samples(out: Path) -> Iterator[dict[str, bytes]]:
    """The members of every sample that a build has written, by extension."""
    for file in sorted((out / "shards").glob("*.tar")):
        for sample in read_shard(str(file)):
            yield sample.parts
