"""The benchmark of the offline judges: what they compare with and learn, and figures by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.judges import bank, figures, fitting
from benchmarks.judges.questions import NEIGHBOUR, OTHER, Questions
from benchmarks.proof.judges import NAMES, Judges
from benchmarks.reward.captions import LEARNT_FRAMES
from benchmarks.reward.figures import Scores
from filters import embedded, reference
from filters.mlm_filter import MlmFilter
from filters.unime import UniMe
from filters.vqa_score import VqaScore
from tests.benchmarks.small_drawings import drawings
from tests.pictures import photo


def pair(n, source="clipart", group="x", caption=None):
    return SimpleNamespace(source=source, group=group, path=f"{n}", caption=caption or f"thing {n}")


def lessons(pairs):
    return [SimpleNamespace(row=row) for row in range(len(pairs))]


def test_one_drawing_of_each_caption_is_drawn_whatever_the_order():
    pairs = [pair(n, caption=f"thing {n % 5}") for n in range(30)]
    rows = bank.rows_of(pairs, lessons(pairs))
    assert sorted(pairs[row].caption for row in rows) == [f"thing {n}" for n in range(5)]
    assert bank.rows_of(pairs, lessons(pairs)[::-1]) == rows
    assert bank.rows_of(pairs, lessons(pairs), 3) == rows[:3]


def test_stamps_photographs_and_icons_of_themes_are_left_out():
    pairs = [pair(0, "stamps"), pair(1, "photos"), pair(2, group="Themes"), pair(3, "emoji")]
    assert bank.rows_of(pairs, lessons(pairs)) == [3]


@pytest.fixture
def bench(tmp_path):
    maker, learnt = drawings(tmp_path)
    maker.bench.sentences = {}
    bank.reader(maker.bench, embedded.read_heads())([one.caption for one in learnt])
    for one, own in zip(learnt, maker.bench.pairs, strict=True):
        own.caption = one.caption
    return maker, learnt


@pytest.mark.slow
def test_what_is_written_is_what_is_compared_with(bench, tmp_path, monkeypatch):
    maker, _ = bench
    rows = [5, 3, 8]
    bank.write(tmp_path / "r.safetensors", maker.bench, rows)
    monkeypatch.setattr(reference, "_FILE", tmp_path / "r.safetensors")
    found = reference.shipped.__wrapped__()
    own = bank.reference(maker.bench, rows, embedded.read_heads())
    assert found.pictures == pytest.approx(own.pictures)
    assert found.captions == pytest.approx(own.captions)
    assert found.encode(["a dog"]) == pytest.approx(own.encode(["a dog"]), abs=1e-6)
    assert own.encode([]).shape == (0, embedded.dimension())


@pytest.mark.slow
def test_questions_have_a_right_and_a_wrong_answer_and_can_be_learnt_from(bench):
    maker, learnt = bench
    known = bank.reference(maker.bench, [*range(30)], embedded.read_heads())
    rows = maker.rows(learnt[30:], LEARNT_FRAMES)
    asked = Questions.of(maker.bench, rows, embedded.read_heads(), known)
    assert {OTHER, NEIGHBOUR, "attribute"} <= {*asked.kinds}
    some = asked.only(np.array(asked.kinds) == OTHER)
    texts = {row.key.hex(): {*row.texts.values()} for row in rows}
    sides = [some.pairs(0), some.pairs(1)]
    for one, (seen, right), (again, wrong) in zip(some.comparisons, *sides, strict=True):
        assert seen is again is some.seen[some.place[one.image]]
        assert right.text in texts[one.image]
        assert wrong.text not in texts[one.image]
    order = [*range(1, len(rows)), 0]
    blind = [seen for seen, _ in some.pairs(0, order)]
    assert all(
        b is some.seen[order[some.place[c.image]]]
        for b, c in zip(blind, some.comparisons, strict=True)
    )
    numbers = fitting.learn(asked)
    assert np.isfinite([*numbers.yes, *numbers.marks.pair, *numbers.marks.word]).all()


def test_rows_are_taken_equally_often():
    rows = np.arange(5.0)[:, None]
    assert fitting._taken(rows, 12)[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert fitting._taken(rows, 2)[:, 0].tolist() == [0, 2]


def test_a_lead_that_tells_has_weight_and_one_that_does_not_has_none():
    dice = np.random.default_rng(0)
    yes, no = (
        np.stack([dice.normal(mean, 1, 4000), dice.normal(0, 1, 4000)], 1) for mean in (1, 0)
    )
    start, first, second = fitting._fitted((yes, no))
    assert first == pytest.approx(1, abs=0.1)  # of two normal distributions, by Bayes' rule
    assert second == pytest.approx(0, abs=0.1)
    assert start == pytest.approx(-0.5, abs=0.1)


def test_calibration_counts_right_and_wrong_captions_alike():
    right, wrong = np.full(50, 0.8), np.full(50, 0.2)
    sides = {f"{v} {k}": (right, wrong) for v in ("short", "long") for k in (OTHER, NEIGHBOUR)}
    told = figures._calibrated("x", Scores(sides, {}), ((0.5, (OTHER,)), (0.5, (NEIGHBOUR,))))
    assert "calibration error 0.200" in told
    assert "0.20→0.00" in told
    assert "0.80→1.00" in told


@pytest.mark.slow
def test_scores_of_the_proof_are_those_of_the_scorers():
    images = [photo(n, (96, 64)) for n in range(3)]
    texts = ["a red car", "the old house near a lake", "IMG_0421.jpg"]
    batch = {"image": images, "caption": texts}
    judges = Judges(reference.shipped(), figures.scores_of(fitting.SHIPPED))
    said = {**VqaScore()(batch), **MlmFilter()(batch), **UniMe()(batch)}
    for name in NAMES:
        found = judges.of(name, embedded.encode_images(images), texts)
        factor = 100 if name.startswith("mlm_") else 1
        assert factor * found == pytest.approx(said[name], abs=0.51 if factor > 1 else 1e-5)
