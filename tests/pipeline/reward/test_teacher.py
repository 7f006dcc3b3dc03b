"""A judge's answers: how they are read, and which hard negatives are made of them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.reward.comparisons import Comparison
from pipeline.reward.config import SplitOptions, TeacherOptions
from pipeline.reward.table import make_table, names_of
from pipeline.reward.teacher import (
    IMAGE,
    TEXT,
    Answers,
    hard_sets,
    parts_of_images,
    read_answers,
    true_pairs,
)

ROWS = [
    {"image": "a", "text": "größe", "score": 0.25, "judge": "j", "prompt": "1"},
    {"image": "a", "text": "dog", "score": 3, "judge": "j", "prompt": "1"},
]


def write(tmp_path, *rows):
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_both_kinds_of_files_and_back(tmp_path):
    found = read_answers(write(tmp_path, *ROWS))
    assert found == Answers("j", "1", {("a", "größe"): 0.25, ("a", "dog"): 3.0})
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read_answers(str(tmp_path / "a.parquet")) == found
    (tmp_path / "again.jsonl").write_bytes(found.lines())
    again = read_answers(str(tmp_path / "again.jsonl"))
    assert again == found
    assert again.digest == found.digest != found.without(["a"]).digest


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"score": None}, "3: score: expected a number, found nothing"),
        ({"score": True}, "3: score: expected a number, found true"),
        ({"text": ""}, "3: text: expected a text that is not empty"),
        ({"judge": 7}, "3: judge and prompt: expected texts"),
        ({"prompt": "2"}, "holds answers of 2 judges, wanted one: j 1; j 2"),
        ({"score": 4}, "two scores of 'a' and 'dog'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, row, message):
    with pytest.raises(RecipeError, match=message):
        read_answers(write(tmp_path, *ROWS, {**ROWS[1], **row}))


def test_wrong_rows_of_parquet_and_what_is_none(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{**ROWS[0], "score": None}]), path)
    with pytest.raises(RecipeError, match="row 1: score: expected a number"):
        read_answers(str(path))
    path.write_bytes(b"x" * 40)
    with pytest.raises(RecipeError, match="is no Parquet file"):
        read_answers(str(path))


TEXTS = [f"t{n}" for n in range(6)]


def material(scores):
    """Two images whose cosines to the texts fall from t0 to t5; t0 is true of both."""
    comparisons = [Comparison(i, "t0", i, t) for i in ("a", "b") for t in TEXTS[1:]]
    answers = Answers("j", "", scores)
    names = names_of(comparisons, scores)
    angles = np.linspace(0, 1, len(names.texts))
    texts = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    images = np.tile(np.array([1, 0], np.float32), (len(names.images), 1))
    table = make_table(comparisons, names, (images, texts), {"preference": 1.0})
    return answers, table, names


def sets_of(scores, parts=None, **options):
    answers, table, names = material(scores)
    given = TeacherOptions.model_validate({"scores": "x", "hard": 3, **options})
    placed = dict.fromkeys(names.images, 0) | (parts or {})
    return hard_sets(answers, table, names, placed, given)[0]


def test_hard_ones_are_the_nearest_and_others_do_not_matter():
    scores = {("a", t): s for t, s in zip(TEXTS[1:], (5, 1, 3, 9, 7), strict=True)}
    found = sets_of(scores, texts=False)
    assert found.pairs[0, :, 1].tolist() == [1, 2, 3]
    assert found.ranks[0].tolist() == [2, 0, 1]
    assert found.kind.tolist() == [IMAGE]
    other = sets_of(scores | {("a", "t4"): -100, ("a", "t5"): 1e9}, texts=False)
    assert np.array_equal(other.pairs, found.pairs)
    assert np.array_equal(other.ranks, found.ranks)


def test_anchors_are_images_and_texts_that_have_an_order():
    scores = {("a", "t1"): 1, ("b", "t1"): 2, ("a", "t2"): 1, ("c", "t2"): 1, ("b", "t3"): 5}
    found = sets_of(scores)
    # a has equal answers, as t2 has; b and t1 have an order; c and t3 have one answer
    assert found.kind.tolist() == [IMAGE, TEXT]
    assert found.pairs[1].tolist() == [[0, 1], [1, 1]]
    assert found.ranks[1].tolist() == [0, 1]
    # images of two parts are not compared by a text
    assert sets_of(scores, {"b": 2}).kind.tolist() == []


def test_easy_ones_are_neither_hard_nor_true():
    scores = {("a", t): n for n, t in enumerate(TEXTS[1:])} | {("b", "t1"): 1}
    found = sets_of(scores)
    drawn, counts = found.draw_easy(np.random.default_rng(0), 200)
    assert drawn.shape == (2, 200, 2)
    for row in range(2):
        easy = {tuple(pair) for pair in drawn[row][counts[row]].tolist()}
        out = {tuple(pair) for pair in drawn[row][~counts[row]].tolist()}
        hard = {tuple(pair) for pair in found.pairs[row][found.valid[row]].tolist()}
        assert out == (hard | {(0, 0)} if found.kind[row] == IMAGE else hard)
        assert not easy & out
    assert {text for _, text in drawn[0][counts[0]].tolist()} == {4, 5}


def test_an_image_is_in_the_part_of_its_comparisons():
    comparisons = [Comparison("a", "t", "z", "t")]
    split = SplitOptions(validation=0.3, test=0.3)
    parts = [parts_of_images([n, "z"], comparisons, split) for n in ("a", "other")]
    assert parts[0]["z"] == parts[0]["a"] == parts[1]["z"]
    drawn = parts_of_images([f"{n}" for n in range(400)], comparisons, split)
    assert [*drawn.values()].count(2) == pytest.approx(120, abs=30)


def test_true_is_what_is_never_worse():
    comparisons = [
        Comparison("a", "t0", "a", "t1"),
        Comparison("a", "t1", "a", "t2"),
        Comparison("b", "t0", "b", "t1", is_tie=True),
    ]
    names = names_of(comparisons)
    vectors = np.ones((2, 2), np.float32), np.ones((3, 2), np.float32)
    table = make_table(comparisons, names, vectors, {"preference": 1.0})
    assert true_pairs(table).tolist() == [0]
