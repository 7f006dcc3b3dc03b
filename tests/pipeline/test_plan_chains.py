"""What a plan says of scorers that read what others have yet to ask for: captions, then more."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.plan import estimate
from pipeline.plan_cost import Cost, in_all
from recaption import captions
from recaption.captioner import Captioner
from recaption.captions import Caption
from recaption.fusion import Fusion
from recaption.translate import Translate
from tests.conftest import SCORED
from tests.filters.model_server import Action, prompt_of, serve

NOBODY = "http://127.0.0.1:9"  # where nothing listens: whoever asks it fails
COST = re.compile(r"at most ([\d,]+) requests, about ([\d,]+) tokens, answered by at most ([\d,]+)")
PLAIN = {"endpoints": [NOBODY], "model": "tiny"}


def server(url=NOBODY):
    return f"server: {{endpoints: ['{url}'], model: tiny}}"


def recipe(*lines, url=NOBODY):
    scorers = "".join(f"  {line}\n" for line in lines).replace("SERVER", server(url))
    return f"{SCORED}{scorers}ingest: {{rows_per_shard: 5}}\n"


SHORT = "short: {scorer: captioner, max_tokens: 20, max_side: 56, SERVER}"
LONG = "long: {scorer: captioner, kinds: [short, long], max_tokens: 32, max_side: 56, SERVER}"
FUSED = "fused: {scorer: fusion, synthetic: short, by: llm, max_tokens: 24, SERVER}"
TO_TWO = "two: {scorer: translate, of: OF, to: [es, zh], engine: served, SERVER}"


def planned(build, folder, text):
    path = folder / "planned.yaml"
    path.write_text(text)
    return estimate(str(path), build.out)


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"score    {name}"))


def costs(text, name):
    return tuple(int(n.replace(",", "")) for n in COST.search(line_of(text, name)).groups())


def total(text):
    return costs(text, "in all")


def summed(text, *names):
    return tuple(map(sum, zip(*(costs(text, name) for name in names), strict=True)))


def test_what_a_translator_costs_is_bounded_by_what_a_captioner_may_write(make_build, tmp_path):
    build = make_build(after="ingest")
    text = planned(build, tmp_path, recipe(SHORT, TO_TWO.replace("OF", "short")))
    rows = build.open_pool().rows
    written = Captioner(server=PLAIN, max_tokens=20, max_side=56).writes_at_most(rows, {}, 2)
    assert written == (rows, 20 * rows)
    parts = (20 * rows + rows) // 2  # sentences of two tokens, a last one of one
    requests, prompts, answers = costs(text, "two")
    assert requests == 2 * parts
    assert answers == 2 * (64 * parts + 4 * 20 * rows)
    assert prompts > 2 * 20 * rows
    said = line_of(text, "two")
    assert "with short as long as may be" in said
    assert f"(in sentences of 16 tokens {2 * ((20 * rows + 15 * rows) // 16)} requests)" in said
    assert total(text) == summed(text, "short", "two")
    assert "not counted" not in text


def test_texts_that_are_not_split_count_once_each(make_build, tmp_path):
    build = make_build(after="ingest")
    whole = TO_TWO.replace("OF", "long").replace("to: ", "sentences: false, to: ")
    text = planned(build, tmp_path, recipe(LONG, whole))
    assert costs(text, "two")[0] == 2 * 2 * build.open_pool().rows
    assert "in sentences of" not in text


def test_a_chain_of_three_is_bounded_with_what_is_there(make_build, tmp_path):
    build = make_build(after="ingest")
    chain = recipe(SHORT, FUSED, TO_TWO.replace("OF", "fused"))
    text = planned(build, tmp_path, chain)
    rows = build.open_pool().rows
    fusion = Fusion("short", by="llm", server=PLAIN, max_tokens=24)
    assert fusion.writes_at_most(rows, {"short": (rows, 20 * rows)}, 2) is None
    given = {"short": (rows, 20 * rows), "caption": (rows, 100)}
    texts, tokens = fusion.writes_at_most(rows, given, 2)
    assert texts == rows
    assert tokens >= 24 * rows + 20 * rows + 100
    assert costs(text, "two")[0] > (44 * rows // 2) * 2
    assert total(text) == summed(text, "short", "fused", "two")


def test_a_column_of_languages_that_is_not_there_is_no_text(make_build, tmp_path):
    build = make_build(after="ingest")
    two = TO_TWO.replace("OF", "short").replace("to: ", "source: language, to: ")
    text = planned(build, tmp_path, recipe("language: {}", SHORT, two))
    assert "with short as long as may be" in line_of(text, "two")


def test_without_a_pool_the_same_is_said_of_all_rows(photos, tmp_path):
    path = photos.parent / "planned.yaml"
    path.write_text(recipe(SHORT, FUSED, TO_TWO.replace("OF", "fused")))
    text = estimate(str(path), str(tmp_path / "none"))
    assert total(text) == summed(text, "short", "fused", "two")
    assert not (tmp_path / "none").exists()


def test_only_limits_what_is_written_and_what_is_asked(make_build, tmp_path):
    build = make_build(after="ingest")
    some = "only: \"caption like '%number 1%'\", SERVER"
    two = TO_TWO.replace("OF", "short")
    asked = planned(build, tmp_path, recipe(SHORT.replace("SERVER", some), two))
    few = 4  # 1, 10, 11, and the first one again
    assert costs(asked, "short")[0] == few
    assert costs(asked, "two")[0] == 2 * ((20 * few + few) // 2)
    assert "if all are asked" not in asked
    both = planned(build, tmp_path, recipe(SHORT, two.replace("SERVER", some)))
    assert costs(both, "two") == costs(asked, "two")
    unknown = recipe(SHORT.replace("SERVER", 'only: "width > 1", SERVER'), two)
    for name in ("short", "two", "in all"):
        assert "if all are asked" in line_of(planned(build, tmp_path, unknown), name)


def test_judges_of_captions_that_are_not_there_count_each(make_build, tmp_path):
    build = make_build(after="ingest")
    each = "each: {scorer: vqa_score, text: long, reasks: 0, max_side: 56, SERVER}"
    text = planned(build, tmp_path, recipe(LONG, each))
    assert costs(text, "each")[0] == 2 * build.open_pool().rows
    assert "with long as long as may be" in text


def test_what_others_pass_on_is_no_more_than_they_were_given():
    from recaption.choice import BestCaption, FirstText, Mixed
    from recaption.flags import CaptionFlags
    from recaption.split import SplitCaptions
    from recaption.support import Supported
    from recaption.translation_ranks import TranslationRanks

    given = {"a": (3, 30), "b": (2, 50)}
    for scorer in (CaptionFlags("a"), TranslationRanks("a"), FirstText("a"), Supported("a")):
        assert scorer.writes_at_most(5, given, 2) == (3, 30)
        assert scorer.writes_at_most(5, {}, 2) is None
    both = (FirstText(("a", "b")), Mixed("a", "b"), BestCaption(("a", "b"), ("c", "d")))
    assert [scorer.writes_at_most(5, given, 2) for scorer in both] == [(5, 80)] * 3
    assert Supported("a", mend="delete").writes_at_most(5, given, 2) == (6, 60)
    assert SplitCaptions("b").writes_at_most(5, given, 2) == (26, 50)
    assert SplitCaptions("b", most=3).writes_at_most(5, given, 2) == (15, 50)
    served = Translate(("es", "pt"), "a", engine="served", server=PLAIN)
    assert served.writes_at_most(5, given, 2) == (6, 60)


@dataclass(frozen=True)
class Secret:
    """Writes captions and does not say how many."""

    server: str = "there"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def keep_in(self, folder: str) -> None:
        raise AssertionError

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        raise AssertionError


def test_what_says_nothing_of_its_captions_leaves_a_gap_that_is_named(make_build, tmp_path):
    build = make_build(after="ingest")
    secret = f"secret: {{scorer: '{__name__}:Secret'}}"
    text = planned(build, tmp_path, recipe(SHORT, secret, TO_TWO.replace("OF", "secret")))
    assert "what it costs is counted when secret is there" in line_of(text, "two")
    assert line_of(text, "in all").endswith(", without secret, two")
    assert total(text) == costs(text, "short")


@dataclass(frozen=True)
class Said:
    """Writes captions without asking anybody."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"captions": [captions.rows([Caption(f"So: {t}")]) for t in batch["caption"]]}


def test_what_asks_nobody_is_written_for_the_sample_and_counted_there(make_build, tmp_path):
    build = make_build(after="ingest")
    said = f"said: {{scorer: '{__name__}:Said'}}"
    text = planned(build, tmp_path, recipe(said, TO_TWO.replace("OF", "said")))
    assert 0 < costs(text, "two")[0] <= 2 * build.open_pool().rows
    assert "as long as may be" not in text


def test_the_total_names_what_is_not_in_it():
    known = Cost((1, 1000, 30), "")
    assert in_all({}) is None
    assert in_all({"a": Cost(None, "")}) is None
    said = "in all at most 2 requests, about 2,000 tokens, answered by at most 60"
    assert in_all({"a": known, "b": known}) == said
    more = {"a": known, "b": known._replace(is_of_all=True), "c": Cost(None, "")}
    assert in_all(more) == f"{said}, if all are asked, without c"


@pytest.mark.slow
def test_no_more_is_asked_than_a_plan_says(make_build, tmp_path):
    def answer(asked: dict[str, Any]) -> str:
        is_translation = "translator" in str(asked["messages"])
        return prompt_of(asked) if is_translation else "A b. " * 10  # twenty tokens

    with serve(Action(answer, usage=(7, 20))) as model:
        two = TO_TWO.replace("OF", "fused")
        text = recipe(SHORT, FUSED, two, url=model.url)
        build = make_build(text, "asked", after="ingest")
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        said = estimate(str(path), build.out)
        assert not model.asked
        build.score()
        assert 0 < len(model.asked) <= total(said)[0]
        answered = sum(body["max_tokens"] for body in model.asked)
        assert answered <= total(said)[2]
        assert "not tried" not in estimate(str(path), build.out)
