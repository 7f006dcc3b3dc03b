import numpy as np
import pytest

from benchmarks.translation_quality import Direction, Measured, Ranked, auc, measured, rho
from recaption.engines import Translation
from recaption.languages import language
from recaption.translation_flags import Pair


def test_a_tie_is_half_a_win_and_a_lack_is_told():
    assert auc(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 3.5 / 4
    assert auc(np.array([1.0, np.nan]), np.array([0.0])) is None


def test_rho_is_of_ranks():
    one = np.array([1.0, 2.0, 3.0, 4.0])
    assert rho(one, one**3) == pytest.approx(1)
    assert rho(one, -one) == pytest.approx(-1)
    assert rho(np.array([np.nan]), np.array([1.0])) is None


def test_equal_texts_go_back_once():
    asked = []

    class Engine:
        def translate(self, texts, source, target):
            asked.extend(texts)
            return [Translation(text) for text in texts]

    en, ca = language("en"), language("ca")
    pairs = [Pair("A dog", text, en, ca) for text in ("A dog", "A dog", "Un gos")]
    direction = Direction("en", "ca", tuple(pairs), (), np.zeros(3, bool), Engine(), {})
    found = measured(direction, pairs, direction.is_test)
    assert asked == ["A dog", "Un gos"]
    assert found.numbers[:2, 0].tolist() == [100, 100]
    assert np.isnan(found.numbers[:, 1]).all()  # the encoder has not learnt Catalan
    assert found.numbers[0, 2] == 1


def test_ranks_are_those_of_what_was_learnt():
    numbers = np.stack([np.linspace(0, 100, 40), np.linspace(0, 1, 40), np.ones(40)], axis=1)
    known = Measured(numbers, np.zeros(40), np.zeros(40, bool))
    ranked = Ranked("en>es", known)
    assert ranked.means(known)[-1] == 1
    assert (np.diff(ranked.means(known)) > 0).all()
    features = ranked.features(known.half(False))
    assert features[:, 0].tolist() == features[:, 1].tolist()
