"""What a plan says that a model's server would be asked, and `--dry-run`."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from pipeline import plan_cost
from pipeline.plan import estimate
from pipeline.storage import exists
from tests import commands
from tests.conftest import SCORED
from tests.pipeline.test_reasons import Keeping

NOBODY = "http://127.0.0.1:9"  # where nothing listens: whoever asks it fails
SERVED = f"engine: served, server: {{endpoints: ['{NOBODY}'], model: tiny}}"
TRANSLATED = f"{SCORED}  es: {{scorer: translate, to: [es, zh], {SERVED}}}\n"
UNASKED = re.compile(r"at most ([\d,]+) requests, about ([\d,]+) tokens, answered by at most")


def planned(build, folder, recipe):
    path = folder / "planned.yaml"
    path.write_text(f"{recipe}ingest: {{rows_per_shard: 5}}\n")
    return estimate(str(path), build.out)


def requests(text):
    return int(UNASKED.search(text)[1].replace(",", ""))


@pytest.fixture
def texts(make_build):
    """The captions of the pool that was made."""
    from pipeline.pool import read_base

    build = make_build(after="ingest")
    made = build.open_pool()
    tables = [read_base(build.root, shard, ["caption", "failed"]) for shard in made.shards]
    rows = [row for table in tables for row in table.to_pylist() if row["failed"] is None]
    return build, [row["caption"] for row in rows if row["caption"] is not None]


def test_each_text_counts_once_for_each_language(texts, tmp_path):
    from recaption.sentences import split

    build, said = texts
    parts = {part for text in said for part in split(text, "en") if any(map(str.isalpha, part))}
    text = planned(build, tmp_path, TRANSLATED)
    assert requests(text) == 2 * len(parts)
    twice = TRANSLATED.replace("es: {", "es: {of: captions, ")
    assert requests(planned(build, tmp_path, twice)) == 2 * len(parts)
    assert "counted on" not in text
    back = TRANSLATED.replace("zh],", "zh], round_trip: true,")
    assert requests(planned(build, tmp_path, back)) == 4 * len(parts)


def test_without_a_pool_a_sample_is_counted(photos, tmp_path):
    path = photos.parent / "planned.yaml"
    path.write_text(TRANSLATED)
    text = estimate(str(path), str(tmp_path / "none"))
    assert requests(text) > 0
    assert not (tmp_path / "none").exists()


def test_of_many_rows_some_are_counted(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(plan_cost, "MOST_ROWS", 1)
    text = planned(texts[0], tmp_path, TRANSLATED)
    assert "counted on 5 rows" in text


def test_what_is_limited_to_a_condition_counts_those_it_is_asked_for(texts, tmp_path):
    build, said = texts
    some = TRANSLATED.replace("to: [es, zh]", "to: es, only: \"caption like '%größe%'\"")
    text = planned(build, tmp_path, some)
    assert requests(text) == len({t for t in said if "größe" in t})
    assert "if all are asked" not in text
    unknown = TRANSLATED.replace("to: [es, zh]", 'to: es, only: "width > 1"')
    assert "if all are asked" in planned(build, tmp_path, unknown)


def test_what_reads_a_column_that_is_not_there_is_bounded(texts, tmp_path):
    chain = TRANSLATED + f"  back: {{scorer: translate, of: es, to: en, {SERVED}}}\n"
    text = planned(texts[0], tmp_path, chain)
    assert "back: 17 rows, not tried, as it asks a server; at most" in text
    assert ", with es as long as may be" in text


@dataclass(frozen=True)
class Ruled(Keeping):
    """Goes by a rule."""

    server: str = "there"
    asked: ClassVar[list[int]] = []
    more: tuple[int, ...] = field(default=(1, 2, 3))

    def estimate(self, rows: int) -> tuple[int, ...]:
        return tuple(rows * n for n in self.more)


def test_a_rule_takes_rows_alone(texts, tmp_path):
    rule = f"{SCORED}  mine: {{scorer: '{__name__}:Ruled'}}\n"
    assert "at most 17 requests, about 34 tokens, answered by at most 51" in planned(
        texts[0], tmp_path, rule
    )


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_does_nothing(photos: Any, tmp_path: Any) -> None:
    path = photos.parent / "dry.yaml"
    path.write_text(TRANSLATED)
    out = tmp_path / "dry"
    told = commands.done("build", path, "--out", out, "--dry-run")
    assert UNASKED.search(told)
    assert told == commands.done("plan", path, "--out", out) or "ms a row" in told
    assert not exists(str(out))
