"""Asking a judge: about which pairs, once each, and what becomes of what it can't answer."""

import numpy as np
import pytest

from pipeline.errors import CurationError, RecipeError
from pipeline.reward.comparisons import Comparison
from pipeline.reward.config import TeacherOptions, load_config
from pipeline.reward.images import ImagePlaces
from pipeline.reward.judging import Judge, ask, candidates, judge_of
from pipeline.reward.table import make_table, names_of
from tests import pictures
from tests.pipeline.reward import judges

LENGTHS = "tests.pipeline.reward.judges:Lengths"


@pytest.fixture(autouse=True)
def nothing_asked():
    for one in (judges.ASKED, judges.PREPARED, judges.STOP):
        one.clear()


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(pictures.jpeg(number))
    (tmp_path / "photos" / "3.jpg").write_bytes(b"<html>")
    return ImagePlaces(None, str(tmp_path / "photos"))


PAIRS = [(f"{n}.jpg", text) for n in range(3) for text in ("größe", "a", "a dog", "xx", "yyy")]


def judge(**params):
    return Judge("lengths", judges.Lengths(**params), "length_score")


def test_nothing_is_asked_twice(tmp_path, photos):
    first, lost = ask(judge(), PAIRS, photos, str(tmp_path / "work"))
    assert len(first.scores) == len(judges.ASKED) == 15
    assert not lost
    assert first.scores["0.jpg", "größe"] == pytest.approx(5.1, abs=0.2)
    assert [str(tmp_path / "work")] == judges.PREPARED
    again, _ = ask(judge(), PAIRS[:7], photos, str(tmp_path / "work"))
    assert again.scores == {pair: first.scores[pair] for pair in PAIRS[:7]}
    assert again.prompt == first.prompt
    assert len(judges.ASKED) == 15
    assert len(judges.PREPARED) == 1
    other, _ = ask(judge(factor=2.0), PAIRS[:7], photos, str(tmp_path / "work"))
    assert len(judges.ASKED) == 22
    assert other.prompt != first.prompt


def test_the_same_bytes_under_another_name_are_known(tmp_path, photos):
    ask(judge(), PAIRS[:5], photos, str(tmp_path / "work"))
    (tmp_path / "photos" / "same.jpg").write_bytes(pictures.jpeg(0))
    found, _ = ask(judge(), [("same.jpg", "a")], photos, str(tmp_path / "work"))
    assert len(found.scores) == 1
    assert len(judges.ASKED) == 5


def test_one_that_goes_away_is_asked_only_for_the_rest(tmp_path, photos):
    judges.STOP.append(8)
    with pytest.raises(CurationError, match="the judge lengths: Away: nobody answers"):
        ask(judge(), PAIRS, photos, str(tmp_path / "work"))
    assert len(judges.ASKED) == 8
    judges.STOP.clear()
    found, _ = ask(judge(), PAIRS, photos, str(tmp_path / "work"))
    assert len(found.scores) == len(judges.ASKED) == 15
    whole, _ = ask(judge(), PAIRS, photos, str(tmp_path / "elsewhere"))
    assert whole == found


def test_pairs_without_an_answer_cost_themselves(tmp_path, photos):
    pairs = [*PAIRS, ("1.jpg", "zz"), ("1.jpg", "poison"), ("3.jpg", "a")]
    found, lost = ask(judge(), pairs, photos, str(tmp_path / "work"))
    assert [*found.scores] == PAIRS
    assert dict(lost) == {"Refused: no z": 1, "ValueError: can't read this": 1}
    asked = len(judges.ASKED)
    again, lost_again = ask(judge(), pairs, photos, str(tmp_path / "work"))
    assert (again, lost_again) == (found, lost)
    assert len(judges.ASKED) == asked


def test_answers_that_are_no_numbers_are_none(tmp_path, photos):
    found, lost = ask(judge(factor=float("inf")), PAIRS[:2], photos, str(tmp_path / "work"))
    assert found.scores == {}
    assert dict(lost) == {"inf is no answer": 2}


def test_a_damaged_file_of_answers_is_named(tmp_path, photos):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "answers.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(CurationError, match=r"answers\.sqlite: .*remove it and run again"):
        ask(judge(), PAIRS, photos, str(tmp_path / "work"))


def test_candidates_are_the_nearest_of_the_part_without_what_is_true():
    dice = np.random.default_rng(0)
    vectors = [dice.standard_normal((n, 4)).astype(np.float32) for n in (12, 24)]
    comparisons = [
        Comparison(f"i{n:02d}", f"t{n:02d}", f"i{n:02d}", f"u{n:02d}") for n in range(12)
    ]
    names = names_of(comparisons)
    table = make_table(comparisons, names, (vectors[0], vectors[1]), {"preference": 1.0})
    parts = {name: int(name[1:]) % 3 for name in names.images}
    options = TeacherOptions(scores="x", hard=3)
    found = candidates(table, names, parts, options)
    for number, image in enumerate(names.images):
        cosines = vectors[0][number] @ vectors[1].T
        allowed = [
            place
            for place, text in enumerate(names.texts)
            if int(text[1:]) % 3 == number % 3 and text != f"t{number:02d}"
        ]
        best = sorted(allowed, key=lambda place: -cosines[place])[:3]
        assert [t for i, t in found if i == image] == [names.texts[place] for place in best]
    fewer = candidates(table, names, parts, options.model_copy(update={"anchors": 5}))
    assert len(fewer) == 15
    assert set(fewer) <= set(found)


CONFIG = """\
preferences:
  - {format: rankings, path: hard.jsonl}
teacher: TEACHER
"""


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{weight: 2}", r"3:1.*give either 'scores' or 'judge'"),
        ("{judge: {scorer: itmm}}", "no scorer 'itmm'"),
        ("{judge: {scorer: itm, modell: x}}", "unknown parameter 'modell'; did you mean 'model'"),
        ("{judge: {scorer: itm, copies: x}}", "copies: expected a valid integer, found the text"),
        ("{judge: {scorer: itm, copies: 0}}", "copies must be at least 1, got 0"),
        ("{judge: {scorer: caption}}", "a judge reads an image and a text"),
        ("{judge: {scorer: itm, column: itm_scor}}", "unknown number 'itm_scor'; did you mean"),
    ],
)
def test_what_is_wrong_with_a_judge_is_said_with_its_place(tmp_path, teacher, message):
    (tmp_path / "train.yaml").write_text(CONFIG.replace("TEACHER", teacher))
    with pytest.raises(RecipeError, match=f"train.yaml:3:.*{message}|train.yaml:{message}"):
        judge_of(load_config(str(tmp_path / "train.yaml")))


def test_a_judge_of_the_catalog_and_one_of_ones_own(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(CONFIG.replace("TEACHER", "{judge: {scorer: itm, cosine: true}}"))
    found = judge_of(load_config(str(path)))
    assert (found.column, found.text, found.scorer.cosine) == ("itm_score", "caption", True)
    path.write_text(CONFIG.replace("TEACHER", f"{{judge: {{scorer: '{LENGTHS}', factor: 2.0}}}}"))
    assert judge_of(load_config(str(path))).scorer == judges.Lengths(2.0)
