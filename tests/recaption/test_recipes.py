"""The recipes for captions, each from end to end on small data: offline, or with tiny models."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.recipe import parse_recipe
from pipeline.recipe_sections import Survivors
from pipeline.training.plans import Slots, SubCaptions
from recaption.entities import says
from tests import pictures
from tests.conftest import MakeBuild, built
from tests.filters.model_server import Action, prompt_of, serve
from tests.recaption.recipes import (
    CONFIGS,
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

NAMES = (
    *("remoteclip", "dreamlip", "fusecap", "capsfusion", "recap", "alip"),
    *("multilingual", "bilingual-zh", "translate-refilter", "native-balance"),
)
HUB = r"model: [\w./-]+\n    revision: [0-9a-f]{40}"
SENTENCES = ("A bird stands on a branch.", "It is 3.5 cm tall.", "The sky behind it is blue.")
PLACES = ["left", "right", "above", "below", "behind", "front", "beside"]
LONG = " ".join([*SENTENCES, *(f"On the {place} there is a tree." for place in PLACES)])


def on(model: Any, name: str = "tiny") -> str:
    return f'server: {{endpoints: ["{model.url}"], model: {name}}}'


@pytest.mark.slow
def test_remoteclip_makes_captions_of_boxes(make_build: MakeBuild) -> None:
    build = make_build(recipe("remoteclip"))
    folder = Path(build.recipe.resolve(""))
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(6):
        (folder / "images" / f"P{number}.png").write_bytes(pictures.png(number))
        lines = ["imagesource:GoogleEarth", "gsd:0.5"]
        lines += ["1 1 9 1 9 9 1 9 small-vehicle 0"] * (3 * number)
        (folder / "labels" / f"P{number}.txt").write_text("\n".join(lines))
    built(build)
    found = list(samples(build))
    assert len(found) == 5  # one without boxes
    for sample in found:
        said = [c["text"] for c in told(sample, "box_captions")]
        boxes = [c["box"] for c in told(sample, "regions")]
        assert sample["texts"]["txt"] in said
        assert len(boxes) % 3 == 0
        words = " ".join(said).lower()
        assert "small vehicles" in words
        assert (len(boxes) > 10) == any(w in words for w in ("many", "a lot of", "great number"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_read_and_what_its_comment_offers(name: str, make_build: MakeBuild) -> None:
    text = recipe(name)
    if name == "remoteclip":  # its annotations are the user's
        assert make_build(text).recipe.scorers
        return
    for number, line in enumerate(["", *suggested(text)]):
        changed = taking(text, line.replace("NAME", "m")) if line else text
        build = make_build(changed, f"out{number}")
        names = [instance.name for instance in build.resolve()[0].instances]
        assert {entry.name for entry in build.recipe.scorers} <= set(names)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "remoteclip"])
def test_every_captioner_is_asked_for_survivors_alone(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    limited = {"captioner", "concepts", "fusion", "ocr", "translate"}
    for entry in parse_recipe(path.read_text(), str(path)).scorers:
        assert entry.scorer not in limited or isinstance(entry.only, Survivors)


@pytest.mark.slow
def test_dreamlip_has_a_raw_caption_and_sentences_to_draw_from(
    make_build: MakeBuild, tiny_captioner: Callable[[str], str]
) -> None:
    def answer(asked: dict[str, Any]) -> str:
        return LONG if "10 sentences" in prompt_of(asked) else "A bird."

    tiny = f"model: '{tiny_captioner('llava')}'\n    max_tokens: 6\n    max_side: 56"
    with serve(Action(answer)) as model:
        text = exchanged(recipe("dreamlip"), HUB.replace(r"[\w./-]+", r"llava-hf/\S+"), tiny)
        build = over_pack(make_build, exchanged(text, HUB, on(model)), en=6)
        asked = survivors(build, "qwen")
        assert len(model.asked) == 2 * asked  # short and long, of survivors alone
    assert survivors(build, "llava") == asked
    found = list(samples(build))
    assert len(found) == asked
    for sample in found:
        assert {c["kind"] for c in told(sample, "qwen")} == {"short", "long"}
        assert [c["kind"] for c in told(sample, "llava")] == ["short", "long"]
        sentences = [c["text"] for c in told(sample, "qwen_sub")]
        assert len(sentences) == 11
        assert set(SENTENCES) < set(sentences)  # a decimal ends none
        chosen = SubCaptions(k=6, unflagged=True).choose(training_texts(sample), lambda _: 0.5)
        drawn = [one.text for one in chosen if one]
        assert drawn[0] == sample["texts"]["txt"] == raw(sample)
        assert len(set(drawn)) == 7


@pytest.mark.slow
def test_fusecap_adds_what_experts_found(make_build: MakeBuild) -> None:
    pytest.importorskip("rapidocr")
    build = over_pack(make_build, recipe("fusecap"), en=40)
    assert survivors(build, "tags") == survivors(build, "ocr_text") == survivors(build, "fused")
    enriched = best = 0
    for sample in samples(build):
        (caption,) = told(sample, "checked")
        tags = ", ".join(
            t["text"] for t in told(sample, "tags") if "unsure" not in t.get("flags", [])
        )
        original, _, found = caption["text"].partition(" Found in it ")
        assert original.rstrip(".") == raw(sample).rstrip(".")
        enriched += bool(found)
        seen = f"{tags} {sample['columns'].get('ocr_text')}"
        for listed in found.split(": ")[1:]:
            for one in listed.partition(". Found")[0].rstrip(".").split(", "):
                assert says(seen, one)  # nothing that no expert said
                assert not says(raw(sample), one)
        scores = caption["scores"]["checked_score"], sample["columns"]["clip_score"]
        assert sample["texts"]["txt"] == (
            caption["text"] if scores[0] >= scores[1] else raw(sample)
        )
        best += bool(found) and scores[0] >= scores[1]
    assert enriched > 5
    assert best


@pytest.mark.slow
def test_fusecap_asks_an_llm_where_something_was_found(make_build: MakeBuild) -> None:
    pytest.importorskip("rapidocr")

    def fused(asked: dict[str, Any]) -> str:
        texts = prompt_of(asked).rpartition('\nA: "')[2].split('"\n')
        return f"{texts[0]}, {texts[1].partition(': ')[2]}."

    with serve(Action(fused)) as model:
        text = exchanged(recipe("fusecap"), "by: rules\n", f"by: llm\n    {on(model)}\n")
        build = over_pack(make_build, text, en=20)
        rows = verdicts_with(build, "tags", "ocr_text", "fused")
        with_words = [
            row
            for row in rows
            if row[3] and (row[2] or any("unsure" not in one["flags"] for one in row[1] or ()))
        ]
        assert 0 < len(model.asked) == len(with_words) < len([row for row in rows if row[3]])
    prompts = {row[3][0]["prompt"] for row in with_words if row[3][0]["origin"] == "fused"}
    assert prompts == {"fuse-experts/1"}


@pytest.mark.slow
def test_capsfusion_keeps_the_facts_of_the_raw_text(make_build: MakeBuild) -> None:
    build = over_pack(make_build, recipe("capsfusion"), en=40)
    assert survivors(build, "short") == survivors(build, "fused")
    named = 0
    for sample in samples(build):
        (caption,) = told(sample, "checked")
        short = told(sample, "short")
        assert sample["texts"]["txt"] == caption["text"]
        assert caption["text"].startswith(short[0]["text"] if short else raw(sample))
        if not short:
            assert caption["flags"] == ["single"]
        elif "names:" in caption["text"]:
            named += 1
            entities = caption["text"].partition("names: ")[2].rstrip(".").split(", ")
            assert all(says(raw(sample), one) for one in entities)
    assert named > 2


@pytest.mark.slow
def test_capsfusion_falls_back_to_a_parent(make_build: MakeBuild) -> None:
    def fused(asked: dict[str, Any]) -> str:
        first, last = prompt_of(asked).rpartition('\nA: "')[2].split('"\nB: "')
        return "I'm sorry." if last[0].lower() == "a" else f"{first[:-1]}, {last}"

    with serve(Action(fused)) as model:
        line = suggested(recipe("capsfusion"))[1].replace("NAME", "tiny")
        line = line.replace("http://127.0.0.1:8000/v1", model.url)
        build = over_pack(make_build, taking(recipe("capsfusion"), line), en=30)
        rows = verdicts_with(build, "short", "fused")
        both = [row for row in rows if row[1] and row[2]]
        assert 0 < len(model.asked) == len(both)
        assert {body["max_tokens"] for body in model.asked} == {80}
    for sample in samples(build):
        (caption,) = told(sample, "checked")
        short = told(sample, "short")
        if short and "fallback" in caption.get("flags", []):
            assert caption["text"] == short[0]["text"]
        elif short:
            assert caption["origin"] == "fused"
            assert raw(sample).rstrip('."') in caption["text"]


@pytest.mark.slow
def test_recap_keeps_the_raw_caption_at_its_rate(make_build: MakeBuild) -> None:
    build = over_pack(make_build, recipe("recap"), en=150)
    survivors(build, "recaption")
    both = kept = 0
    for sample in samples(build):
        new = told(sample, "checked")
        text = sample["texts"]["txt"]
        if not new or new[0].get("flags"):
            assert text == raw(sample)
            continue
        assert text in (raw(sample), new[0]["text"])
        assert new[0]["kind"] == "long"
        both, kept = both + 1, kept + (text == raw(sample))
    assert both > 50
    assert abs(kept - 0.8 * both) < 4 * math.sqrt(both * 0.8 * 0.2)
    assert kept < both


@pytest.mark.slow
def test_recap_asks_a_model_for_at_most_128_tokens(make_build: MakeBuild) -> None:
    (line,) = suggested(recipe("recap"))
    with serve(Action(LONG[:-20], finish="length")) as model:
        hub = r"model: \S+, kinds: \[long\], revision: \w+"
        line = exchanged(line, hub, f"{on(model)}, kinds: [long]")
        build = over_pack(make_build, taking(recipe("recap"), line), en=6)
        assert len(model.asked) == survivors(build, "recaption")
        assert {body["max_tokens"] for body in model.asked} == {128}
        assert {body["temperature"] for body in model.asked} == {0}
    assert all(told(sample, "checked")[0]["flags"] == ["shortened"] for sample in samples(build))


@pytest.mark.slow
def test_alip_weighs_by_both_captions(make_build: MakeBuild) -> None:
    build = over_pack(make_build, recipe("alip"), en=40)
    asked = survivors(build, "short")
    found = list(samples(build))
    assert 10 < len(found) < asked  # some have no synthetic caption
    trusted = 0
    for sample in found:
        own, told_weight, synthetic = (
            sample["columns"][f"alip_{n}_weight"] for n in ("sample", "raw", "synthetic")
        )
        assert 0 < own <= 1
        assert (own == 1) == (told_weight == synthetic == 1)
        trusted += own == 1
        (short,) = told(sample, "short")
        slots = Slots(("txt", "synthetic.txt")).choose(training_texts(sample), lambda _: 0.0)
        assert [one.text for one in slots if one] == [raw(sample), short["text"]]
    assert 0 < trusted < len(found)
    rows = verdicts_with(build, "clip_score", "alip_raw_weight", "alip_sample_weight")
    means = [s - math.log(w) / 2 for _, s, w, own in rows if own is not None and own < 1]
    assert max(means) - min(means) < 2e-3  # exp(2 (s - H)) with one H for all
