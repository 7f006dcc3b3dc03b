"""The page: it shows every figure, escapes what it is told, and asks for nothing from anywhere."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.probes import run
from pipeline.probes.subject import Named
from tests.pipeline.probing import toys
from tests.pipeline.probing.test_published import image, json_lines
from tests.pipeline.probing.toys import HERE, write

HOSTILE = "<script>alert(1)</script> \u202e‮"


class Tags(HTMLParser):
    """Notes what stays open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder: Path = tmp_path_factory.mktemp("page")
    image(folder / "images" / "a.png", 9)
    row = {"image": "a.png", "true": HOSTILE, "false": "</q><img src=x>", "category": HOSTILE}
    json_lines(folder / "p.jsonl", row, {**row, "image": "<b>none</b>"})
    pairs = "pairs: {hostile: {file: p.jsonl, images: images}}\n"
    write(folder / "probes.yaml", f"drawn: [things, numbers, colours]\nlimit: 4\n{pairs}")
    for name in ("things", "numbers", "colours"):
        toys.drawn(name, 4)
    run.probe_score(Named(f"{HERE}:Words", "value: 0.25"), str(folder / "probes.yaml"), str(folder))
    (folder / "probe.json").rename(folder / "kept.json")
    return (folder / "probe.html").read_text()


def test_it_is_whole_and_loads_nothing(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert re.findall(r'(?:src|href)="(?!data:image/jpeg|#)', page) == []
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src &#x27;none&#x27;" in page


def test_what_strangers_wrote_is_escaped(page):
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;none" in page


def test_it_has_pictures_figures_and_what_they_mean(page):
    for text in ("Single things", "Numbers", "Colours of two things", "For a selection: "):
        assert text in page
    assert page.count("data:image/jpeg;base64,") >= 12
    assert "What constant sees" in page
    assert "as high" in page
    assert "Each row is a true number" in page
    assert "value: 0.25" in page


def test_ground_that_is_not_seen_is_told_first(tmp_path):
    toys.drawn("things")
    path = write(tmp_path / "p.yaml", f"drawn: [things]\nlimit: {toys.SMALL}\n")
    run.probe_score(Named(f"{HERE}:Constant"), str(path), str(tmp_path / "out"))
    text = (tmp_path / "out" / "probe.html").read_text()
    assert "does not tell the colour and shape" in text
    record = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert {"pillow", "numpy"} & {name.lower() for name in record["versions"]}
