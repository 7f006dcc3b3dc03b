"""How words are drawn: by their odds, cut at `top_p`, each row from its own stream."""

import numpy as np
import pytest
import torch

from filters.sampling import Draws, Writing, drawn, seed_of, written

ODDS = torch.tensor([0.1, 0.5, 0.25, 0.15])


def draw_all(how, count=4000, odds=ODDS):
    uniforms = (torch.arange(count) + 0.5) / count
    logits = odds.log().expand(count, -1)
    return torch.bincount(drawn(logits, uniforms, how), minlength=len(odds)) / count


def test_words_are_drawn_by_their_odds():
    shares = draw_all(Writing(1, 1.0, 1.0))
    np.testing.assert_allclose(shares.numpy(), ODDS.numpy(), atol=1e-3)


def test_a_temperature_sharpens_or_flattens():
    expected = ODDS**2 / (ODDS**2).sum()
    np.testing.assert_allclose(draw_all(Writing(1, 0.5)).numpy(), expected.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.4, [1]), (0.5, [1]), (0.51, [1, 2]), (0.76, [1, 2, 3]), (1.0, [0, 1, 2, 3])],
)
def test_only_the_likeliest_words_of_together_top_p_are_drawn(top_p, kept):
    expected = torch.zeros(4)
    expected[kept] = ODDS[kept] / ODDS[kept].sum()
    shares = draw_all(Writing(1, 1.0, top_p))
    np.testing.assert_allclose(shares.numpy(), expected.numpy(), atol=1e-3)


def test_the_highest_number_draws_a_word_that_counts():
    how, high = Writing(1, 1.0, 0.6), torch.tensor([1 - 2**-24])
    assert drawn(ODDS.log()[None], high, how).tolist() == [2]
    forbidden = torch.tensor([[0.0, float("-inf")]])
    assert drawn(forbidden, high, Writing(1, 1.0, 1.0)).tolist() == [0]


def test_a_row_draws_the_same_whoever_is_beside_it():
    how = Writing(8, 1.0, 0.9)
    logits = torch.randn(6, 3, 50, generator=torch.Generator().manual_seed(0))
    together, alone, backwards = Draws([5, 6, 7], how), Draws([6], how), Draws([7, 6, 5], how)
    for step in logits:
        found = together(None, step).argmax(dim=-1)
        assert found[1] == alone(None, step[1:2]).argmax()
        assert (backwards(None, step.flip(0)).argmax(dim=-1) == found.flip(0)).all()
    other = [int(Draws([8], how)(None, step[1:2]).argmax()) for step in logits]
    assert other != [int(Draws([6], how)(None, step[1:2]).argmax()) for step in logits]


def test_without_temperature_scores_stay_as_they_are_and_nan_is_told():
    greedy = Draws([0], Writing(1))
    greedy.check()
    scores = torch.tensor([[1.0, 2.0]])
    assert greedy(None, scores) is scores
    greedy.check()
    greedy(None, torch.tensor([[float("nan"), 2.0]]))
    greedy(None, scores)
    with pytest.raises(ValueError, match="NaN"):
        greedy.check()


def test_seeds_depend_on_each_part_and_where_it_ends():
    assert seed_of(b"a", b"b") == seed_of(b"a", b"b")
    assert len({seed_of(b"a", b"b"), seed_of(b"ab"), seed_of(b"", b"ab"), seed_of(b"b", b"a")}) == 4


def test_tokens_are_counted_with_the_end():
    class Tokenizer:
        """Says numbers."""

        def decode(self, ids, skip_special_tokens):
            assert skip_special_tokens
            return f" {ids} "

    found = written(Tokenizer(), [[5, 6, 2, 0, 0], [5, 6, 7, 8, 9], [2, 0, 0, 0, 0]], {2, 0})
    assert [(one.text, one.tokens, one.is_cut) for one in found] == [
        ("[5, 6]", 3, False),
        ("[5, 6, 7, 8, 9]", 5, True),
        ("[]", 1, False),
    ]
