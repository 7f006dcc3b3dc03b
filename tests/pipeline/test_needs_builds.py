"""A column of the wrong type is refused with its line of the recipe, before any row is scored."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from tests.conftest import RECIPE
from tests.filters import reward_files

HEAD = RECIPE.partition("score:")[0]


def refused(make_build, score, columns=""):
    with pytest.raises(RecipeError) as error:
        make_build(f"{HEAD}{columns}score:\n{score}").resolve()
    return str(error.value)


@pytest.mark.parametrize(
    ("score", "place", "message"),
    [
        (
            "  image: {}\n  clip:\n    text: width\n",
            "recipe.yaml:6:11",
            "scorer 'clip': `text`: a column of text is needed, and 'width' holds int32",
        ),
        (
            "  image: {}\n  language: {text: aspect_ratio}\n",
            "recipe.yaml:5:20",
            "'aspect_ratio' holds float",
        ),
        (
            "  image: {}\n  agree: {scorer: agreement, of: [width, caption]}\n",
            "recipe.yaml:5:30",
            "scorer 'agree': `of`: a column of numbers is needed, and 'caption' holds string",
        ),
        (
            "  clip: {embeddings: true}\n  loud: {scorer: neg_clip, image: caption}\n",
            "recipe.yaml:5:35",
            "`image`: a column of vectors is needed, and 'caption' holds string",
        ),
        (
            "  clip: {embeddings: true}\n  caption: {text: clip_image}\n",
            "recipe.yaml:5:19",
            "'clip_image' holds list<",
        ),
        (
            "  image: {}\n  comclip: {boxes: width}\n",
            "recipe.yaml:5:20",
            "`boxes`: a column of vectors is needed, and 'width' holds int32",
        ),
        (
            "  image: {}\n  reward: {text: width}\n",
            "recipe.yaml:5:18",
            "`text`: a column of text is needed, and 'width' holds int32",
        ),
        (
            "  clip: {embeddings: true}\n  reward: {text: clip_text}\n",
            "recipe.yaml:5:18",
            "`text`: a column of text is needed, and 'clip_text' holds list<",
        ),
        (
            "  caption: {text: image}\n",
            "recipe.yaml:4:19",
            "`text`: a column of text is needed, and 'image' holds the picture itself",
        ),
    ],
)
def test_a_column_of_another_type_is_refused_at_its_line(make_build, score, place, message):
    found = refused(make_build, score)
    assert place in found
    assert message in found


@pytest.mark.parametrize(
    "score",
    [
        "  clip: {text: new}\n  new: {scorer: concepts}\n",
        "  all: {scorer: agreement, of: [width, height]}\n  image: {}\n",
    ],
)
def test_what_is_written_further_down_is_told(make_build, score):
    found = refused(make_build, score)
    assert "writes further down; a scorer reads columns of those above it" in found


def test_imported_columns_are_looked_at_too(make_build, tmp_path):
    table = {"key": ["00"], "count": [3], "words": [["a"]], "text_boxes": ["none"], "said": ["a"]}
    pq.write_table(pa.table(table), tmp_path / "more.parquet")
    columns = "columns:\n  more: {import: more.parquet, on: key}\n"
    found = refused(make_build, "  clip: {text: count}\n", columns)
    assert "recipe.yaml:6:16" in found
    assert "'count' holds int64" in found
    assert "'words' holds list<" in refused(make_build, "  clip: {text: words}\n", columns)
    found = refused(make_build, "  tmars: {}\n", columns)  # no parameter: the scorer's line
    assert "recipe.yaml:6:" in found
    assert "a column of vectors is needed, and 'text_boxes' holds string" in found
    make_build(f"{HEAD}{columns}score:\n  clip: {{text: said}}\n").resolve()


def test_a_reward_over_stored_vectors_needs_vectors(make_build, tmp_path):
    weights = reward_files.write_embedded(tmp_path / "h.safetensors")
    clip = "  clip: {embeddings: true}\n"
    make_build(f"{HEAD}score:\n{clip}  reward: {{weights: {weights}}}\n").resolve()
    found = refused(make_build, f"{clip}  reward:\n    weights: {weights}\n    text: caption\n")
    assert "recipe.yaml:7:11" in found
    assert "`text`: a column of vectors is needed, and 'caption' holds string" in found
    found = refused(make_build, f"{clip}  reward: {{image: width, weights: {weights}}}\n")
    assert "recipe.yaml:5:19" in found
    table = pa.table({"key": ["00"], "clip_image": [3], "clip_text": [4]})
    pq.write_table(table, tmp_path / "more.parquet")
    columns = "columns:\n  more: {import: more.parquet, on: key}\n"
    found = refused(make_build, f"  reward: {{weights: {weights}}}\n", columns)
    assert "a column of vectors is needed, and 'clip_image' holds int64" in found


def test_every_caption_of_a_row_is_text(make_build):
    make_build(f"{HEAD}score:\n  all: {{scorer: caption, text: captions}}\n").resolve()
