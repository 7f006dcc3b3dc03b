"""What the proof on a real site counts with: kinds of images, requests, and its recipes."""

from pathlib import Path

import pytest

from benchmarks.manual import builds, site, tables, truth
from benchmarks.manual.builds import Row
from benchmarks.manual.site import Asked
from pipeline.recipe import parse_recipe

PAGE = """<html><body><div class="navheader"><img src="images/prev.png" alt="Prev"/></div>
<p>Press <span class="guiicon"><img src="images/key.png"></span><br>or
<span><img src="images/two.png"/></span></p>
<div class="mediaobject"><hr><img src="images/{name}.png" alt="a"></div>
<td><img src="images/note.png"></td></body></html>"""


def test_kinds_are_told_by_name_and_place(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE.format(name="one"))
    (tmp_path / "b.html").write_text(PAGE.format(name="two"))
    assert truth.kinds(tmp_path) == {
        "/images/prev.png": "chrome",
        "/images/note.png": "chrome",
        "/images/key.png": "in the text",
        "/images/one.png": "figure",
        "/images/two.png": "figure",  # on one page in the text, on the other a figure
    }


def row(path: str, fate: str, caption: str = "x") -> Row:
    failed = fate if fate in ("no_text", "duplicate_key") else None
    verdict = "failed" if failed else fate
    url = f"http://127.0.0.1{path}"
    return Row(caption.encode(), "s", url, path, caption, None, failed, verdict, 1, 1)


def test_an_image_is_kept_if_one_of_its_rows_is() -> None:
    rows = [
        *(row("/a", "duplicate_key"), row("/a", "large")),
        *(row("/b", "worded"), row("/b", "kept"), row("/b", "large")),
        *(row("/c", "no_text"), row("/c", "large")),
        *(row("/d", "no_text"), row("/d", "no_text")),
    ]
    fates = tables.fate_of_images(rows)
    assert fates == {"/a": "large", "/b": "kept", "/c": "large", "/d": "no_text"}
    text = tables.fates(rows, {"/a": "chrome", "/b": "figure", "/c": "figure", "/d": "figure"})
    assert "| rows in | 2 | 0 | 7 | 0 | 9 |" in text
    assert text.index("no_text") < text.index("large") < text.index("kept")


def test_odd_rows_are_listed(tmp_path: Path) -> None:
    kinds = {"/a": "chrome", "/b": "figure"}
    rows = [row("/a", "kept"), row("/b", "large"), row("/b", "duplicate_key"), row("/b", "kept")]
    assert tables.odd_rows(rows, kinds, tmp_path / "odd.csv") == (1, 1)
    assert (tmp_path / "odd.csv").read_text().splitlines()[1:] == [
        "chrome kept,kept,1,1,/a,x",
        "figure dropped,large,1,1,/b,x",
    ]


@pytest.mark.parametrize(
    ("times", "most"), [([], None), ([0, 0.5, 1], 2), ([0, 0.5, 0.99, 1.4], 3), ([2, 0, 1.5], 2)]
)
def test_the_busiest_second_may_begin_anywhere(times: list[float], most: int | None) -> None:
    asked = [Asked(at, "a", "/", 200) for at in times] + [Asked(0, "b", "/", 200)]
    found = tables.busiest_second(asked)
    assert found.pop("b") == 1
    assert found == ({} if most is None else {"a": most})


def test_requests_are_counted_by_address(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    lines = ["/robots.txt", "/a.html", "/images/a.png", "/a.html"]
    log.write_text("".join(f'9.5 0.25 127.0.0.1 "GET {path} HTTP/1.1" 200\n' for path in lines))
    served = site.Site({"en": tmp_path}, tmp_path, 80)
    asked = served.asked()
    assert [one.path for one in served.asked(1)] == lines[1:]
    assert asked[0] == Asked(9.25, "127.0.0.1", "/robots.txt", 200)
    assert tables.asked_twice(asked) == 1
    assert "| pages | 1 | 2 | 2 |" in tables.requests(asked, 1)
    assert served.file(served.url() + "images/a.png") == tmp_path / "images" / "a.png"


def test_recipes_are_those_of_align_with_other_sources(tmp_path: Path) -> None:
    fetch = builds.fetch_section()
    crawls = [builds.crawl_source(name, ["http://127.0.0.1:1/"], fetch) for name in ("en", "es")]
    align = parse_recipe(builds.align(crawls[0]), str(tmp_path / "a.yaml"))
    assert list(align.sources) == ["en"]
    shipped = Path(builds.HOME, "configs", "align.yaml")
    assert align.select == parse_recipe(shipped.read_text(), str(shipped)).select
    two = parse_recipe(builds.two_languages("".join(crawls)), str(tmp_path / "b.yaml"))
    assert list(two.sources) == ["en", "es"]
    assert len(two.select) == len(align.select) + 1
    assert "gathered" in two.score
    archive = builds.align(builds.warc_source("a", "x/*.warc.gz", fetch))
    assert list(parse_recipe(archive, str(tmp_path / "c.yaml")).sources) == ["a"]
