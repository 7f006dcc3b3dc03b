"""A small site from crawl to export: its chrome goes, its figures stay, in two languages, and what
is killed and run again asks for nothing twice.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline import pool
from pipeline.build import Build
from pipeline.recipe import parse_recipe
from pipeline.shards import read_shard
from pipeline.verdicts import open_verdicts
from tests import pictures
from tests.commands import done
from tests.conftest import built
from tests.fetch.server import Server, http, serving

HOSTS = {"en": "127.0.0.1", "es": "127.0.0.2"}
TEXTS = {
    "en": "the figure on page {n} of the manual",
    "es": "la figura de la página {n} del manual",
}
CHROME = {"prev": "Prev", "next": "Next", "note": "[Note]"}
OWN = "own"  # an image that each language has for itself
PAGES = 3
CRAWL = """\
  {name}:
    crawl: ["{start}"]
    texts: [alt]
    depth: 99
    fetch: {{allow_hosts: [127.0.0.1, 127.0.0.2], per_host_per_second: {pace}, per_host_at_once: 2}}
"""
RULES = """\
score:
  image: {}
  caption: {}
  gathered: {language: source}
select:
  - large:     {where: short_side > 40}
  - described: {where: caption_tokens between 3 and 20}
"""
ONE_LANGUAGE = """\
  - first: {where: source = 'en'}
  - once:  {one_per: image_sha256}
captions: {txt: caption, files: {es: {from: gathered, language: es}}}
"""
Said = Counter[tuple[object, ...]]
pytestmark = pytest.mark.slow


def fill(server: Server, pages: int = PAGES) -> None:
    """Pages that name the one before and the one behind; the figures are those of all languages."""
    for seed, name in enumerate((*CHROME, *range(pages), *HOSTS)):
        size = (24, 24) if name in CHROME else (96, 64)
        for language, host in HOSTS.items():
            path = OWN if name == language else f"{name}"
            server.answers[f"{host}/{path}.jpg"] = http(200, pictures.jpeg(seed, size))
    for language, host in HOSTS.items():
        for n in range(pages):
            chrome = "".join(f'<img src="{name}.jpg" alt="{alt}">' for name, alt in CHROME.items())
            body = f"""<a href="{max(n - 1, 0)}.html">x</a><a href="{n + 1}.html">x</a>{chrome}
                <img src="{n}.jpg" alt="{TEXTS[language].format(n=n)}"><img src="{n}.jpg">
                <img src="{OWN}.jpg" alt="a figure of its own">"""
            page = http(200, body.encode(), "Content-Type: text/html; charset=utf-8")
            server.answers[f"{host}/{n}.html"] = page


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(addresses=tuple(HOSTS.values())) as running:
        fill(running)
        yield running


def crawling(server: Server, *languages: str, pace: int = 1000) -> str:
    return "".join(
        CRAWL.format(name=name, start=server.url("/0.html", HOSTS[name]), pace=pace)
        for name in languages
    )


def written(folder: Path, sources: str, rules: str = RULES) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(f"sources:\n{sources}{rules}")
    return path


def build_of(recipe: Path) -> Build:
    return Build(parse_recipe(recipe.read_text(), str(recipe)), str(recipe.parent / "out"))


def said(build: Build) -> Said:
    """What became of every row: key, URL, caption, image, reason and verdict."""
    made, verdicts = pool.open_pool(build.root), open_verdicts(f"{build.out}/verdicts")
    assert made is not None
    assert verdicts is not None
    return Counter(
        (*(row[name] for name in ("key", "url", "caption", "image_sha256", "failed")), verdict)
        for shard in made.shards
        for row, verdict in zip(
            pool.read_base(made.root, shard).to_pylist(),
            verdicts.of_shard(shard.name)["verdict"].to_pylist(),
            strict=True,
        )
    )


def fates(build: Build) -> Counter[tuple[str | None, str]]:
    """Rows by caption and what became of them."""
    found: Counter[tuple[str | None, str]] = Counter()
    for (_, _, caption, _, failed, verdict), count in said(build).items():
        found[caption, failed or verdict] += count  # type: ignore[index]
    return found


def asked(server: Server) -> Counter[tuple[str, str]]:
    """Pages and images by how often they were asked for."""
    wanted = (one for one in server.asked if one.path.endswith((".html", ".jpg")))
    return Counter((one.host, one.path) for one in wanted)


def test_chrome_goes_and_figures_stay(tmp_path: Path, server: Server) -> None:
    build = built(build_of(written(tmp_path, crawling(server, "en"))), "select")
    expected: dict[tuple[str | None, str], int] = {
        **{(TEXTS["en"].format(n=n), "kept"): 1 for n in range(PAGES)},
        ("a figure of its own", "kept"): 1,
        ("a figure of its own", "duplicate_key"): PAGES - 1,
        **{(alt, "large"): 1 for alt in CHROME.values()},
        **{(alt, "duplicate_key"): PAGES - 1 for alt in CHROME.values()},
        (None, "no_text"): PAGES,
        (None, "http_status"): 1,  # the page behind the last
    }
    assert fates(build) == expected
    paths = [f"/{n}.html" for n in range(PAGES + 1)]
    paths += [f"/{name}.jpg" for name in (*CHROME, *range(PAGES), OWN)]
    assert asked(server) == {(HOSTS["en"], path): 1 for path in paths}


def test_the_archive_of_a_crawl_gives_the_same_pairs(tmp_path: Path, server: Server) -> None:
    first = built(build_of(written(tmp_path / "a", crawling(server, "en"))), "select")
    before = asked(server)
    fetch = CRAWL.rpartition("    fetch")[2].format(pace=1000)
    source = f"  archive:\n    warc: ../a/out/pool/crawl/en\n    texts: [alt]\n    fetch{fetch}"
    second = built(build_of(written(tmp_path / "b", source)), "select")
    of_pages = Counter({row: n for row, n in said(first).items() if row[1] is not None})
    assert said(second) == of_pages
    again = asked(server) - before
    assert again == {name: 1 for name in before if name[1].endswith(".jpg")}


def test_an_image_of_two_languages_has_the_captions_of_both(tmp_path: Path, server: Server) -> None:
    recipe = written(tmp_path, crawling(server, "en", "es"), RULES + ONE_LANGUAGE)
    done("build", recipe, "--out", tmp_path / "out")
    texts = {
        parts["txt"].decode(): parts["es.txt"].decode()
        for path in (tmp_path / "out" / "shards").glob("*.tar")
        for parts in (sample.parts for sample in read_shard(str(path)))
    }
    both = {
        text.format(n=n): TEXTS["es"].format(n=n) for n in range(PAGES) for text in [TEXTS["en"]]
    }
    assert texts == {**both, "a figure of its own": ""}


def test_engines_make_the_same_of_a_site(tmp_path: Path, server: Server) -> None:
    sources = crawling(server, "en", "es")
    one = built(build_of(written(tmp_path / "a", sources)))
    recipe = written(tmp_path / "b", sources)
    done("build", recipe, "--out", tmp_path / "b" / "out", "--engine", "procs", "--workers", "2")
    assert said(build_of(recipe)) == said(one)
    assert set(asked(server).values()) == {2}


def started(recipe: Path, options: list[str]) -> "subprocess.Popen[bytes]":
    words = ["build", str(recipe), "--out", str(recipe.parent / "out"), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


@pytest.mark.parametrize("steps", [(7, 9), (25, 9)])
@pytest.mark.parametrize("engine", ["local", "procs", "beam", "dask"])
def test_a_build_that_was_killed_asks_for_nothing_twice(
    tmp_path: Path,
    server: Server,
    engine: str,
    steps: tuple[int, int],
    options_of: Callable[[str], list[str]],
) -> None:
    """Kills while it crawls, and while it fetches; workers of dask go on for a while."""
    options = options_of(engine)
    fill(server, 16)
    recipe = written(tmp_path / "a", crawling(server, "en", pace=8))
    for step in steps:
        process, enough = started(recipe, options), len(server.asked) + step
        deadline = time.monotonic() + 60
        while len(server.asked) < enough and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() in (-signal.SIGKILL, 0)
    done("build", recipe, "--out", tmp_path / "a" / "out", *options)
    again = sum(asked(server).values()) - len(asked(server))
    assert again <= 4 * len(steps)  # those under way at each kill, or on their way to the disk
    whole = built(build_of(written(tmp_path / "b", crawling(server, "en"))))
    assert said(build_of(recipe)) == said(whole)
