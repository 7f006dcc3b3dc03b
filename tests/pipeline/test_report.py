import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline import report
from pipeline.build import Build
from pipeline.errors import CurationError
from pipeline.recipe import parse_recipe
from pipeline.report_conditions import columns_read, parts_of, rule
from pipeline.report_gallery import _spread_out
from pipeline.report_html import apart, el, escaped, number, share, short, size
from pipeline.report_sample import spread
from tests import pictures
from tests.conftest import RECIPE, SCORED, MakeBuild, built, write_pair, write_photos

STEPS = (
    SCORED
    + """\
select:
  - readable: {where: width is not null}
  - wordy:    {where: caption_words >= 3 and not (caption_chars > 60)}
  - unique:   {one_per: image_sha256, best: caption_words}
  - large:    {top: image_bytes, fraction: 0.5, per: source}
  - some:     {draw: 0.9, seed: 1}
export: {samples_per_shard: 4, seed: 0}
ingest: {rows_per_shard: 5}
"""
)
HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'&</figure>"


class Page(HTMLParser):
    """The elements of a page, its attributes, its text, and its tables as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("img", "meta"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def row(self, start: str) -> list[str]:
        """The first row whose first cell begins so."""
        return next(row for row in self.rows if row and row[0].startswith(start))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build of STEPS over good pairs and one of each kind that fails; tests only read it."""
    root = tmp_path_factory.mktemp("shared")
    write_photos(root / "photos")
    build = built(Build(parse_recipe(STEPS, str(root / "recipe.yaml")), str(root / "out")))
    report.write_report(build)
    return build


def page_of(build: Build, sample_rows: int = 50_000) -> Page:
    return Page(report.make_page(build.out, sample_rows))


def whole(text: str) -> int:
    return 0 if text == "–" else int(text.replace(",", ""))


def check_harmless(text: str) -> None:
    """Nothing is loaded from anywhere, and nothing runs."""
    found = Page(text)
    assert not found.open
    assert found.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    for tag, name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "data", "poster", "action", "background"):
            assert tag == "img"
            assert value.startswith("data:image/jpeg;base64,")
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
        if name == "style":
            assert "url" not in value
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(styles) == 1
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]
    assert ("meta", "http-equiv", "Content-Security-Policy") in found.attributes


def test_write_report_makes_one_file_that_asks_for_nothing(shared: Build) -> None:
    path = report.write_report(shared)
    assert path == f"{shared.out}/report.html"
    text = Path(path).read_text("utf-8")
    check_harmless(text)
    for head in ("Where the rows went", "What was kept", "What was measured", "Recipe"):
        assert head in text
    assert "Planted faults" not in text


def test_rewrite_prints_the_path(shared: Build, capsys: pytest.CaptureFixture[str]) -> None:
    report.rewrite(shared.out)
    assert capsys.readouterr().out == f"{shared.out}/report.html\n"


def test_numbers_add_up_with_the_ledger(shared: Build) -> None:
    summary = shared.select().summary
    found = page_of(shared)
    left = summary["rows"]
    lines = [("came in", 0), ("failed", sum(summary["failed"].values()))]
    lines += [(step["name"], summary["dropped"][step["name"]]) for step in summary["steps"]]
    for name, dropped in lines:
        cells = found.row(name)
        left -= dropped
        assert (whole(cells[2]), whole(cells[4])) == (dropped, left)
    assert left == summary["kept"] > 0
    manifest = shared.export()
    assert f"{summary['rows']} rows in = {left} kept" in found.text
    assert f"{left} chosen = {manifest['ledger']['written']} written" in found.text
    reasons = {row[0]: whole(row[2]) for row in found.rows if row[0] in summary["failed"]}
    assert reasons == summary["failed"]


def test_hostile_texts_stay_texts(make_build: MakeBuild, photos: Path) -> None:
    write_pair(photos, "30", pictures.jpeg(30), HOSTILE + " \x00\x1b[31m\u202eabc")
    write_pair(photos, "<img src=x>", b"no image", HOSTILE)
    recipe = RECIPE + f"# </pre>{HOSTILE}\n"
    build = built(make_build(recipe))
    text = report.make_page(build.out)
    check_harmless(text)
    found = Page(text)
    assert found.text.count("<script>alert(1)</script>") >= 2  # a caption, and the recipe
    assert "<img src=x>.jpg" in found.text
    assert not set("\x00\x1b") & set(text)


def test_pictures_of_rows_that_were_dropped_say_why(shared: Build) -> None:
    text = report.make_page(shared.out)
    found = Page(text)
    assert "cannot be decoded: truncated" in found.text
    assert "width is NULL" in found.text
    assert "caption_words >= 3" in found.text  # the part of the condition that failed
    assert "dropped" in found.text
    assert "stayed" in found.text
    assert re.search(r"image_bytes [\d,]+ \(cut [\d,]+\)", found.text)


def test_thresholds_are_drawn(shared: Build) -> None:
    found = page_of(shared)
    assert "wordy ≥ 3" in found.text
    assert "wordy 60" in found.text  # under NOT a sign would lie
    assert re.search(r"large photos ≥ [\d,]+", found.text)


def test_nothing_kept(make_build: MakeBuild) -> None:
    recipe = RECIPE.replace("width is not null", "width > 100000")
    build = built(make_build(recipe, after="score"))
    found = page_of(build)
    assert "No row was kept." in found.text
    assert "= 0 kept" in found.text
    warning = "step 'readable' drops"
    assert warning in found.text
    assert f"warning: {warning}" in report.attrition_text(build.select())


def test_no_columns_at_all(make_build: MakeBuild) -> None:
    recipe = """\
sources:
  photos: {folder: photos/}
select:
  - captioned: {where: caption is not null}
"""
    found = page_of(built(make_build(recipe)))
    assert found.row("captioned")[2] == "1"
    assert "No scorer failed" in found.text


def test_no_steps_at_all(make_build: MakeBuild) -> None:
    recipe = "sources:\n  photos: {folder: photos/}\nscore:\n  caption: {}\n"
    found = page_of(built(make_build(recipe, after="score")))
    assert "15 kept + 0 dropped + 2 failed" in found.text


def test_all_rows_failed(make_build: MakeBuild, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_pair(tmp_path / "pages", name, pictures.HTML, f"the page {name}")
    build = make_build(RECIPE.replace("photos/", "pages/"))
    found = page_of(built(build, "select"))
    assert "3 rows in = 0 kept + 0 dropped + 3 failed" in found.text
    assert found.row("not_an_image")[2] == "3"
    assert "a.jpg, b.jpg, c.jpg" in found.row("not_an_image")[1]
    assert "no row has a value" in found.text


@pytest.mark.slow
def test_the_same_build_gives_the_same_page(shared: Build) -> None:
    again = built(Build(shared.recipe, f"{shared.out}-2"))
    pages = [report.make_page(build.out) for build in (shared, again)]
    assert report.make_page(shared.out) == pages[0]
    timeless = [re.sub(r'<section id="time-and-memory">.*?</section>', "", p) for p in pages]
    assert timeless[0] == timeless[1] != pages[0]


def test_a_large_pool_is_sampled_and_says_so(shared: Build) -> None:
    full, part = page_of(shared), page_of(shared, sample_rows=8)
    assert "from a sample" not in full.text
    assert "from a sample of 5 rows (1 whole shards" in part.text
    assert part.row("wordy") == full.row("wordy")


@pytest.mark.slow
def test_a_report_of_a_selection_without_export(make_build: MakeBuild) -> None:
    with pytest.raises(CurationError, match="no build here"):
        report.write_report(make_build(out="ingested", after="ingest"))
    build = make_build(after="select")
    assert "Nothing is exported yet" in page_of(build).text
    build.export()
    other = make_build(RECIPE.replace("between 2 and 64", "between 3 and 64"))
    other.select()
    assert "of an earlier selection" in page_of(other).text


def test_a_pool_without_its_tars_has_no_pictures(make_build: MakeBuild) -> None:
    build = make_build(after="export")
    for tar in Path(build.root).glob("pool/*.tar"):
        tar.unlink()
    assert "the pool no longer holds this image" in page_of(build).text


def test_stages_of_the_ledger_are_summed(shared: Build) -> None:
    found = page_of(shared)
    assert found.row("ingest")[1:3] == ["1", "17"]
    assert found.row("score image caption")[1:3] == ["4", "17"]
    assert found.row("together")[0] == "together"


def test_attrition_text(shared: Build) -> None:
    verdicts = shared.select()
    lines = report.attrition_text(verdicts).splitlines()
    names = [line.split("  ")[0].strip() for line in lines[1:]]
    assert names == [
        "rows in",
        "failed: duplicate_key",
        "failed: not_an_image",
        *("readable", "wordy", "unique", "large", "some"),
    ]
    assert lines[1].split()[-3:] == ["17", "100", "%"]
    assert lines[-1].split()[2] == str(verdicts.summary["kept"])


@pytest.mark.parametrize(
    ("condition", "texts", "thresholds"),
    [
        ("a >= 200 and b <= 3", ["a >= 200", "b <= 3"], [("a", "≥", 200), ("b", "≤", 3)]),
        ("0.5 < a", ["0.5 < a"], [("a", ">", 0.5)]),
        ("a between -2 and 6e1", ["a BETWEEN -2 AND 6e1"], [("a", "≥", -2), ("a", "≤", 60)]),
        ("a = 1 or b <> 2", ["(a = 1) OR (b != 2)"], [("a", "=", 1), ("b", "≠", 2)]),
        ("not (a > 5) -- why", ["NOT (a > 5)"], [("a", "", 5)]),
        ("c = 'x)' and a is null", ["c = 'x)'", "a IS NULL"], []),
    ],
)
def test_parts_of(condition: str, texts: list[str], thresholds: list[object]) -> None:
    parts = parts_of(condition)
    assert [part.text.replace("<>", "!=") for part in parts] == texts
    assert [(t.column, t.sign, t.value) for p in parts for t in p.thresholds] == thresholds


@pytest.mark.parametrize(
    ("step", "words", "columns"),
    [
        ({"kind": "where", "condition": "a >\n 1"}, "a > 1", ("a",)),
        (
            {"kind": "top", "column": "s", "count": None, "fraction": 0.3, "per": ["l"],
             "lowest": False, "mode": "exact"},
            "highest 30 % by s, per l",
            ("s", "l"),
        ),
        (
            {"kind": "one_per", "group": "g", "best": None, "per": [], "lowest": False},
            "one per g, smallest key",
            ("g",),
        ),
        (
            {"kind": "draw", "by": "p", "count": 5000, "repeat": True, "seed": 7, "per": []},
            "draw 5,000 rows by p, with copies, seed 7",
            ("p",),
        ),
        ({"kind": "subset", "path": "ab" * 32}, "on the list with sha256 " + "ab" * 8 + "…",
         ("source_key",)),
    ],
)  # fmt: skip
def test_rule(step: dict[str, object], words: str, columns: tuple[str, ...]) -> None:
    assert rule(step) == words
    assert columns_read(step) == columns


def test_el_escapes_what_is_not_markup() -> None:
    assert el("p", "<b>", el("i", "x"), title='"&') == (
        '<p title="&quot;&amp;">&lt;b&gt;<i>x</i></p>'
    )
    assert escaped("a\ud800\x07b") == "a? b"


@pytest.mark.parametrize(
    ("value", "limit", "told"),
    [(6.4998, 6.5, "6.4998"), (6.2, 6.5, "6.2"), (65_496, 65_527, "65,496"), (6.5, 6.5, "6.5")],
)
def test_apart_has_the_digits_that_tell(value: float, limit: float, told: str) -> None:
    assert apart(value, limit) == told


def test_numbers_for_a_person() -> None:
    assert [share(*x) for x in [(0, 0), (0, 9), (9, 9), (1, 10**6), (10**6 - 1, 10**6)]] == [
        "–", "0 %", "100 %", "< 0.1 %", "> 99.9 %",
    ]  # fmt: skip
    assert [size(x) for x in (0, 999, 1500, 2.5e9)] == ["0 B", "999 B", "1.5 kB", "2.5 GB"]
    assert [number(x) for x in (3.0, 1234567.0, 1234.5, 0.12345)] == [
        "3", "1,234,567", "1,234", "0.123",
    ]  # fmt: skip
    assert short("a\n b" + "c" * 10, 6) == "a bcc…"


def test_the_choice_is_near_the_threshold_and_spread_over_the_rest() -> None:
    assert _spread_out(list(range(5)), 6) == [0, 1, 2, 3, 4]
    assert _spread_out(list(range(100)), 6) == [0, 1, 2, 34, 66, 99]


def test_spread_takes_whole_items_at_equal_distances() -> None:
    assert spread("abcdef", 600, 600) == tuple("abcdef")
    assert spread("abcdef", 600, 250) == ("a", "d")
    assert spread("abcdef", 600, 10) == ("a",)
