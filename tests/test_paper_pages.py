"""Recipes of published data sets over saved pages, with their own models; and what they offer."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.build import Build
from pipeline.crawl.page import Candidate
from pipeline.recipe import load_recipe
from pipeline.recipe_pages import PageSource
from tests.conftest import built
from tests.paper_rows import PAPERS, lines_of, verdicts, with_offered
from tests.pictures import jpeg
from tests.recaption.recipes import CONFIGS, exchanged, recipe, verdicts_with

OF_PAGES = ("align", "cc12m", "wit", "laion", "coyo")
CAPTIONS = ("A brown dog on the grass", "The old wooden boat at the lake", "A house in the hills")


@pytest.mark.parametrize("name", PAPERS)
def test_it_is_read(name: str) -> None:
    recipe = load_recipe(str(CONFIGS / f"{name}.yaml"))
    assert recipe.steps
    assert recipe.sources


@pytest.mark.parametrize("name", PAPERS)
def test_what_its_comments_offer_is_read(name: str, tmp_path: Path) -> None:
    text = recipe(name)
    (tmp_path / "recipe.yaml").write_text(with_offered(text))
    offered = load_recipe(str(tmp_path / "recipe.yaml"))
    names = [line.partition(":")[0] for line in lines_of(text)]
    assert set(names) <= {*offered.score, *(entry.name for entry in offered.steps)}


def over_pages(name: str, folder: Path) -> Build:
    """The recipe over three saved pages of a picture each, with the icons that lead to the next."""
    saved = folder / "saved"
    saved.mkdir()
    (saved / "next.png").write_bytes(jpeg(9, (24, 24)))
    for number, caption in enumerate(CAPTIONS):
        (saved / f"{number}.jpg").write_bytes(jpeg(number, (500, 450), quality=95))
        figure = f"<figure><img src={number}.jpg alt='{caption}'>"
        figure += f"<figcaption>{caption}, below</figcaption></figure>"
        page = f"<html lang=en><title>A page</title>{figure}<img src=next.png alt=Next></html>"
        (saved / f"{number}.html").write_text(page)
    text = exchanged(recipe(name), r"(?m)^    (?:warc|wat): .*$", "    pages: saved")
    text = exchanged(text, r"(?m)^    fetch: .*\n", '    site: "https://example.org/"\n')
    if name == "wit":
        text = exchanged(text, ">= 12000", ">= 3")
    if name == "laion":  # as it says of a machine without a hub
        text = exchanged(text, r"(?m)^    (?:model|pretrained): .*\n", "")
        text = exchanged(text, r"- aligned:\n.*", "- aligned: {top: clip_score, fraction: 1.0}")
    (folder / "recipe.yaml").write_text(text)
    return Build(load_recipe(str(folder / "recipe.yaml")), str(folder / "out"))


def samples(build: Build) -> list[dict[str, Any]]:
    """The json of every sample."""
    found = []
    for path in sorted((Path(build.out) / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = [m for m in tar if m.name.endswith(".json")]
            found += [json.loads(tar.extractfile(m).read()) for m in members]  # type: ignore[union-attr]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_PAGES)
def test_it_runs_over_pages_with_the_models_that_ship(name: str, tmp_path: Path) -> None:
    build = built(over_pages(name, tmp_path))
    ending = ", below" if name == "wit" else ""
    found = samples(build)
    assert sorted(sample["caption"] for sample in found) == sorted(c + ending for c in CAPTIONS)
    errors = [
        f"{entry.name}_error" for entry in build.recipe.scorers if entry.name != "multilingual"
    ]
    writers = [error for error in errors if error in build.resolve(build.open_pool())[0].writers]
    kept = [row for row in verdicts_with(build, *writers) if row[0] == "kept"]
    assert kept == [("kept", *[None] * len(writers))] * len(CAPTIONS)


def test_laion_refuses_links_as_its_workers_did() -> None:
    section = load_recipe(str(CONFIGS / "laion.yaml")).sources["links"]
    assert isinstance(section, PageSource)
    rules = section.rules.made()

    def refused(url: str) -> bool:
        return rules.refusal(Candidate(url, (), "img")) is not None

    start, host = "https://example.org/", "a" * 57
    assert not refused(start + "a.jpg")
    assert not refused(start + "icons/favicon.png")
    assert refused(start + "a.svg")
    assert refused(start + "a.gif?x=1")
    assert refused(start + "a.jpg?from=javascript:x")
    assert not refused(f"https://{host}.de/a.jpg")  # 60 characters
    assert not refused(f"https://{host}.de:8080/{'b' * 99}.jpg")
    assert refused(f"https://{host}.com/a.jpg")  # 61
    assert not refused(start + "b" * (2000 - len(start)))
    assert refused(start + "b" * (2001 - len(start)))


@pytest.mark.slow
def test_laion_takes_an_address_once(tmp_path: Path) -> None:
    build = over_pages("laion", tmp_path)
    again = "<html lang=en><img src=0.jpg alt='The same dog on the same grass'></html>"
    (tmp_path / "saved" / "again.html").write_text(again)
    found = verdicts(built(build))
    assert {found.pop("0.html#0"), found.pop("again.html#0")} == {"once", "kept"}
    assert found["1.html#0"] == found["2.html#0"] == "kept"
