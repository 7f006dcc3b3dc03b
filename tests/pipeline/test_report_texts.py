"""The texts of a report: the written one first, the others with origin and flags, all escaped."""

import json
import re
import tarfile
from pathlib import Path

import pytest

from pipeline import report
from pipeline.explain import tell
from pipeline.record import open_record
from pipeline.report_sample import take_sample
from pipeline.report_texts import MOST, Text, texts
from tests.conftest import SCORED, built
from tests.pipeline.hostile_captions import BIDI, HEBREW, SCRIPT

HOSTILE = "tests.pipeline.hostile_captions:Hostile"
SELECT = "select:\n  - readable: {where: width is not null and caption is not null}\n"


def recipe(score, section):
    return f"{SCORED}{score}{SELECT}captions: {section}\ningest: {{rows_per_shard: 5}}\n"


def shown(build, wanted="kept"):
    """The texts of every row that was kept, or dropped, by its raw caption."""
    record = open_record(build.out)
    sample = take_sample(record, record.verdicts())
    rows = [n for n in range(sample.rows) if bool(sample.kept[n]) == (wanted == "kept")]
    found = texts(record, sample, rows)
    raw = sample.columns["caption"].to_pylist()
    return {raw[row]: found[row] for row in rows}


def test_a_raw_caption_that_is_written_needs_no_words(make_build):
    build = built(make_build(recipe("", "{txt: caption}"), after="ingest"), "select")
    kept = shown(build)
    assert len(kept) > 10
    for caption, told in kept.items():
        assert told == ((Text(caption, is_written=True, origin="raw"),), 0)
    for caption, told in shown(build, "dropped").items():
        assert told.shown == (() if caption is None else (Text(caption, origin="raw"),))


def test_the_written_text_is_first_and_that_of_the_export(make_build):
    score = f"  made: {{scorer: '{HOSTILE}', kind: hebrew, count: 3}}\n"
    section = "{txt: {draw: {made: 1, caption: 1}}, json: [made]}"
    build = built(make_build(recipe(score, section), after="ingest"))
    report.write_report(build)
    written = set()
    for caption, told in shown(build).items():
        first, others = told.shown[0], told.shown[1:]
        assert first.is_written
        assert not any(one.is_written for one in others)
        listed = {one.text for one in told.shown}
        assert listed == {caption, HEBREW, f"1 {HEBREW}", f"2 {HEBREW}"}
        assert all(one.origin == ("raw" if one.text == caption else MADE) for one in told.shown)
        written.add((caption, first.text))
    assert written == set(exported(build))
    assert {text == caption for caption, text in written} == {True, False}


MADE = f"made: synthetic {SCRIPT[:39]}… <en>"


def exported(build):
    """The raw caption and the text of every sample."""
    for path in sorted((Path(build.out) / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            found = [tar.extractfile(m).read() for m in tar if m.name.endswith(".json")]
        for data in found:
            fields = json.loads(data)
            raw = next(c for c in json.loads(fields["captions"]) if "column" not in c)
            yield raw["text"], fields["caption"]


def test_equal_texts_are_shown_once_with_all_flags_and_columns_that_are_not_written_too(make_build):
    score = f"  made: {{scorer: '{HOSTILE}', kind: hebrew}}\n"
    score += "  again: {scorer: caption_flags, of: made}\n"
    build = built(make_build(recipe(score, "{txt: caption}"), after="ingest"), "select")
    for told in shown(build).values():
        assert [one.text for one in told.shown] == [told.shown[0].text, HEBREW]
        assert told.shown[1].origin.startswith("made: synthetic")
        assert told.shown[1].flags[-1] == "…"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["script", "bidi", "controls", "long", "nothing", "no text"])
def test_hostile_captions_stay_texts(make_build, kind):
    count = 20 if kind == "long" else 500
    score = f"  made: {{scorer: '{HOSTILE}', kind: {kind}, count: {count}}}\n"
    section = "{txt: {draw: {made: 1, caption: 0.01}}, json: [made], files: {more: made}}"
    build = built(make_build(recipe(score, section), after="ingest"))
    page = Path(report.write_report(build)).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "<b>unsure" not in page
    assert len(page) < 300_000
    if kind in ("nothing", "no text"):
        return
    for told in shown(build).values():
        assert len(told.shown) == MOST
        assert told.more == count + 1 - MOST
    assert f"and {count + 1 - MOST} more" in page
    assert "&lt;script&gt;alert(1)" in page
    if kind == "bidi":
        quotes = re.findall(r'<q dir="auto">([^<]*)</q>', page)
        assert any(BIDI[:4] in quote for quote in quotes)  # isolated by its element


def test_explain_tells_the_first_captions_of_many(make_build):
    score = f"  made: {{scorer: '{HOSTILE}', kind: controls, count: 500}}\n"
    build = built(make_build(recipe(score, "{txt: caption}"), after="ingest"), "select")
    key = open_record(build.out).verdicts().of_shard("00000")["key"][0].as_py().hex()
    told = tell(key, build.out)
    assert "and 480 more" in told
    assert len(told) < 10_000
    assert all(sign.isprintable() or sign == "\n" for sign in told)


def test_a_recipe_that_is_not_understood_any_more_shows_raw_captions(make_build):
    build = built(make_build(recipe("", "{txt: caption}"), after="ingest"), "select")
    path = Path(build.out) / "build.json"
    path.write_text(path.read_text().replace("captions: {txt", "captions: {tyt"))
    assert all(
        not one.shown[0].is_written or one.shown[0].origin == "raw" for one in shown(build).values()
    )
