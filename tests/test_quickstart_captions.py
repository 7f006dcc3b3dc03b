"""The quickstart recaptions what it keeps, and says of each caption what it is worth."""

import numpy as np
import pytest

from pipeline.encoding import encode
from pipeline.recipe import parse_recipe
from tests.conftest import RECIPE, MakeBuild, built, write_pair
from tests.recaption.recipes import (
    over_pack,
    raw,
    recipe,
    samples,
    suggested,
    survivors,
    taking,
    told,
)

QUICKSTART = recipe("quickstart")


@pytest.mark.slow
def test_what_is_kept_has_its_raw_caption_and_a_plain_one_beside_it(make_build: MakeBuild) -> None:
    build = over_pack(make_build, QUICKSTART, en=40)
    assert survivors(build, "recaption", "aligned") >= 20
    found = list(samples(build))
    captioned = [sample for sample in found if told(sample, "checked")]
    assert len(captioned) > len(found) / 2
    for sample in found:
        assert sample["texts"]["txt"] == raw(sample)  # good ones: no flag speaks against them
        assert "clip_score" in sample["columns"]
    for sample in captioned:
        (one,) = told(sample, "checked")
        assert one["text"].startswith("A ")
        assert (one["origin"], one["language"]) == ("synthetic", "en")
        assert -1 <= one["scores"]["checked_score"] <= 1


def test_every_scorer_of_captions_is_asked_for_survivors_and_the_model_of_the_comment_is_known(
    make_build: MakeBuild,
) -> None:
    (line,) = suggested(QUICKSTART)
    for number, text in enumerate((QUICKSTART, taking(QUICKSTART, line))):
        entries = {e.name: e for e in parse_recipe(text).scorers}
        assert entries["recaption"].only == entries["raw_checked"].only is not None
        make_build(text, f"out{number}").check()


@pytest.mark.slow
def test_a_generic_raw_caption_gives_way_to_one_without_flags(make_build, tmp_path) -> None:
    """By the lines of the quickstart, over captions that its steps would have dropped."""
    lines = [line for line in QUICKSTART.splitlines() if line.startswith(("  checked:", "  first"))]
    lines += ["  raw_checked: {scorer: caption_flags, of: caption}"]
    assert len(lines) == 3
    plain = np.full((64, 64, 3), (200, 20, 20), np.uint8)
    write_pair(tmp_path / "photos", "30", encode(plain, "jpg", 95), "click to enlarge")
    score = "  recaption: {scorer: concepts}\n" + "\n".join([lines[0], lines[2], lines[1]])
    text = RECIPE.replace("select:\n", f"{score}\nselect:\n")
    build = built(make_build(f"{text}captions: {{txt: first_text, json: [checked]}}\n"))
    by_raw = {raw(sample): sample for sample in samples(build)}
    generic = by_raw["click to enlarge"]
    assert generic["texts"]["txt"] == "A plain red picture."
    assert by_raw["picture number 1 größe"]["texts"]["txt"] == "picture number 1 größe"
