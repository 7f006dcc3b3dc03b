"""Scores that are not of the captions they stand for are refused with the line of the recipe."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.errors import RecipeError
from tests.conftest import SCORED

PARTS = "tests.pipeline.test_each:Parts"
RECIPE = f"{SCORED}  words: {{scorer: '{PARTS}'}}\n"
RECIPE += f"  others: {{scorer: '{PARTS}'}}\n"
RECIPE += "  each: {scorer: tests.pipeline.test_each:Length, text: words}\n"
RECIPE += "  clip: {model: embedded, embeddings: true}\n"
RECIPE += "  ranked: {scorer: best_caption, of: [words], scores: [letters], keep: all}\n"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("of: [caption], scores: [letters]", "'caption' holds one text, and 'letters' lists"),
        ("of: [words], scores: [width]", "'words' holds lists of captions, and 'width' no"),
        ("of: [words], scores: [clip_image]", "'clip_image' holds no value for each caption of"),
        ("of: [others], scores: [letters]", "'letters' holds scores of 'words'; those of"),
        (
            "of: [caption, ranked], scores: [width, letters]",
            "'letters' holds scores of 'words'; those of 'ranked' are written with `text: ranked`",
        ),
    ],
)
def test_scores_of_other_captions_are_refused_at_their_line(make_build, entry, problem):
    line = f"  best: {{scorer: best_caption, {entry}}}\n"
    place = f"{RECIPE.count(chr(10)) + 1}:{line.index('scores:') + 1}"
    build = make_build(RECIPE + line)
    with pytest.raises(RecipeError) as error:
        build.check()
    assert f"recipe.yaml:{place}: scorer 'best': `scores`: {problem}" in str(error.value)


def test_vectors_are_no_numbers_of_translations_and_no_scores_of_texts(make_build):
    named = f"  named: {{scorer: '{__name__}:Named'}}\n"
    ranks = "  ranks: {scorer: translation_ranks, of: words, direction: names, both_ends: [],"
    seen = f"{RECIPE}{named}{ranks} numbers: [NAME]}}\n"
    make_build(seen.replace("NAME", "letters")).check()
    with pytest.raises(RecipeError, match="`numbers`: 'clip_image' holds no value for each") as e:
        make_build(seen.replace("NAME", "clip_image")).check()
    assert "numbers:" in seen.splitlines()[int(str(e.value).split(":")[1]) - 1]
    best = f"{RECIPE}captions: {{txt: {{best: {{words: clip_image}}}}}}\n"
    with pytest.raises(RecipeError, match="'clip_image' holds no value for each caption"):
        make_build(best).check()
    make_build(best.replace("clip_image", "letters")).check()


@dataclass(frozen=True)
class Named:
    """A text for each caption."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("words",)
    writes: ClassVar[pa.Schema] = pa.schema([("names", pa.list_(pa.string()))])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        raise AssertionError


@pytest.mark.parametrize(
    "entry",
    [
        "of: [caption, words], scores: [width, letters]",
        "of: [ranked], scores: [caption_scores]",
        "of: [captions], scores: [raw]",
    ],
)
def test_scores_that_fit_are_taken(make_build, entry):
    raw = "  raw_length: {scorer: tests.pipeline.test_each:Length, text: captions,"
    raw += " columns: {letters: raw, wide: raw_wide}}\n"
    make_build(f"{RECIPE}{raw}  best: {{scorer: best_caption, {entry}}}\n").check()
