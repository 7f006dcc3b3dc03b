"""Files of preferences: what each row means, and what is said of a row that means nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RecipeError
from pipeline.reward import formats
from pipeline.reward.comparisons import Comparison
from pipeline.reward.formats import Layout

PLAIN = Layout()


def write(tmp_path: Path, *rows: Any) -> str:
    path = tmp_path / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_rankings_from_best_to_worst(tmp_path):
    row = {"image": "i", "captions": ["a", "b", "c"], "kinds": [None, "number", "generic"]}
    found = formats.read_rankings(write(tmp_path, row, "", {**row, "criterion": "accuracy"}), PLAIN)
    assert [(c.text, c.other_text, c.kind) for c in found[:3]] == [
        ("a", "b", "number"),
        ("a", "c", "generic"),
        ("b", "c", "generic"),
    ]
    assert [c.criterion for c in found] == ["preference"] * 3 + ["accuracy"] * 3


def test_ties_of_rankings_are_equal_unless_they_are_unordered(tmp_path):
    row = {"image": "i", "captions": ["größe", "b", "c"], "ranks": [1, 2, 2]}
    equal = formats.read_rankings(write(tmp_path, row), PLAIN)
    assert [c.is_tie for c in equal] == [False, False, True]
    unordered = formats.read_rankings(write(tmp_path, {**row, "ties": "unordered"}), PLAIN)
    assert [c.is_tie for c in unordered] == [False, False]


def test_pairs(tmp_path):
    row = {"image": "i", "chosen": "a", "rejected": "b", "kind": "object"}
    tie = {"image": "i", "chosen": "a", "rejected": "b", "tie": True}
    found = formats.read_pairs(write(tmp_path, row, tie), Layout(criterion="accuracy"))
    assert found == [
        Comparison("i", "a", "i", "b", False, "accuracy", "object"),
        Comparison("i", "a", "i", "b", True, "accuracy"),
    ]


def test_ratings_are_compared_within_an_image_and_a_criterion(tmp_path):
    rows = [
        {"image": "i", "caption": "fair", "rating": 3},
        {"image": "j", "caption": "other", "rating": 9},
        {"image": "i", "caption": "good", "rating": 4.5},
        {"image": "i", "caption": "also fair", "rating": 2.8, "kind": "generic"},
        {"image": "i", "caption": "good", "rating": 1, "criterion": "wording"},
    ]
    found = formats.read_ratings(write(tmp_path, *rows), Layout(margin=0.5))
    assert [(c.text, c.other_text, c.is_tie) for c in found] == [
        ("good", "fair", False),
        ("good", "also fair", False),
        ("fair", "also fair", True),
    ]


@pytest.mark.parametrize("as_list", [False, True])
def test_imagereward_compares_images_and_makes_no_pair_of_equal_ranks(tmp_path, as_list):
    row = {
        "id": "1",
        "prompt": "a cat",
        "generations": ["x.png", "y.png", "z.png"],
        "ranking": [2, 1, 2],
    }
    path = write(tmp_path, json.dumps([row], indent=1) if as_list else row)
    found = formats.read_imagereward(path, PLAIN)
    assert found == [
        Comparison("y.png", "a cat", "x.png", "a cat"),
        Comparison("y.png", "a cat", "z.png", "a cat"),
    ]


GOOD = {"image": "i", "captions": ["a", "b"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "no JSON"),
        ("[1, 2]x", "no JSON"),
        ("7", "expected a mapping, found the number 7"),
        ({"captions": ["a", "b"]}, "image: expected a text that is not empty, found nothing"),
        ({**GOOD, "captions": "a"}, "captions: expected a list of texts, found the text 'a'"),
        ({**GOOD, "captions": ["a"]}, "captions: a comparison takes two, found 1"),
        ({**GOOD, "captions": ["a", ""]}, "captions: in place 2 expected a text that is not empty"),
        ({**GOOD, "ranks": [1]}, "2 captions, but 1 ranks"),
        ({**GOOD, "kinds": ["x"]}, "2 captions, but 1 kinds"),
        ({**GOOD, "ranks": [2, 1]}, "from best to worst, but ranks go down"),
        ({**GOOD, "ranks": [1, True]}, "ranks: expected a list of numbers"),
        (
            '{"image": "i", "captions": ["a", "b"], "ranks": [1, NaN]}',
            "ranks: expected a list of num",
        ),
        (
            {**GOOD, "ties": "perhaps"},
            "ties: expected equal or unordered, found the text 'perhaps'",
        ),
        ({**GOOD, "criterion": 3}, "criterion: expected a text"),
        ({**GOOD, "criterion": "A b"}, "expected lower-case letters, digits and `_`, found the te"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path, row, message):
    path = write(tmp_path, GOOD, row)
    with pytest.raises(RecipeError) as error:
        formats.read_rankings(path, PLAIN)
    assert f"{path}:2: " in str(error.value)
    assert message in str(error.value)


def test_all_bad_lines_are_one_error_of_bounded_length(tmp_path):
    path = write(tmp_path, *[{"image": 1}] * 14)
    with pytest.raises(RecipeError) as error:
        formats.read_pairs(path, PLAIN)
    lines = str(error.value).splitlines()
    assert len(lines) == 11
    assert lines[0].startswith(f"{path}:1: image")
    assert lines[-1] == "and 4 more lines"


@pytest.mark.parametrize(
    ("read", "row", "message"),
    [
        (formats.read_pairs, {"image": "i", "chosen": "a", "rejected": "a"}, "are the same text"),
        (formats.read_pairs, {"image": "i", "chosen": "a", "rejected": "b", "tie": 1}, "tie: expe"),
        (formats.read_ratings, {"image": "i", "caption": "a", "rating": "5"}, "rating: expected a"),
        (formats.read_ratings, {"image": "i", "caption": "a", "rating": True}, "rating: expected"),
        (
            formats.read_imagereward,
            {"prompt": "p", "generations": ["a", "b"], "ranking": [1, 2, 3]},
            "2 generations, but 3 ranks",
        ),
    ],
)
def test_bad_rows_of_other_layouts(tmp_path, read, row, message):
    path = write(tmp_path, row)
    with pytest.raises(RecipeError) as error:
        read(path, PLAIN)
    assert f"{path}:1: " in str(error.value)
    assert message in str(error.value)


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(RecipeError, match=r"rows\.jsonl:1: no JSON"):
        formats.read_rankings(str(path), PLAIN)


def test_an_empty_file_has_no_comparisons(tmp_path):
    assert formats.read_rankings(write(tmp_path), PLAIN) == []
