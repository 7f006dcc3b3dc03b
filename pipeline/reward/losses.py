"""Losses as tensors of torch: Bradley-Terry with ties, and the order of hard negatives."""

import torch


def davidson(
    difference: torch.Tensor, is_tie: torch.Tensor, log_ties: torch.Tensor
) -> torch.Tensor:
    """The negative log likelihood [n] of comparisons whose first item won, or which are ties.

    With d the difference of the log strengths and nu = exp(log_ties), the odds of first : second
    : tie are exp(d/2) : exp(-d/2) : nu (Davidson 1970, JASA 65(329), with strengths exp(s)). With
    nu = 0 it is the loss of Bradley and Terry, softplus(-d).
    """
    half = difference / 2
    logits = torch.stack([half, -half, log_ties.expand_as(half)], dim=1)
    won = torch.where(is_tie, logits[:, 2], logits[:, 0])
    return torch.logsumexp(logits, dim=1) - won


def win_probability(difference: torch.Tensor) -> torch.Tensor:
    """How likely the first item wins, given that one of them does: the same for any nu."""
    return torch.sigmoid(difference)


def hard_ranking(
    hard: torch.Tensor,
    ranks: torch.Tensor,
    valid: torch.Tensor,
    easy: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """For each anchor [n] how unlikely the judge's order of its hard negatives is (CPRD).

    `hard` [n, k] are scores, `ranks` [n, k] whole numbers that rise with the judge's answer, and
    `valid` [n, k] says which are there; `easy` [n, e] are scores of other negatives, minus
    infinity where there is none. It is the negative log likelihood of Plackett and Luce, in which
    hard ones are chosen from the best to the last but one, each from those below it and all easy
    ones, divided by the number of choices; easy ones are never chosen. Of equal ranks each is
    chosen from all of them (Breslow 1974), so that nothing is learnt of their order; the lowest
    are not chosen. With two hard ones, none easy and the temperature 1 it is Bradley and Terry's.
    """
    scores = (hard / temperature).masked_fill(~valid, float("-inf"))
    not_above = ranks[:, None, :] <= ranks[:, :, None]
    below = scores[:, None, :].masked_fill(~not_above, float("-inf"))
    others = (easy / temperature)[:, None, :].expand(-1, hard.shape[1], -1)
    lowest = ranks.masked_fill(~valid, ranks.max() + 1).min(1, keepdim=True).values
    is_chosen = valid & (ranks > lowest)
    # What is not chosen gets a denominator that is finite: infinite ones spoil the gradient.
    total = torch.cat([below, others], dim=2).masked_fill(~is_chosen[:, :, None], 0.0)
    loss = torch.logsumexp(total, dim=2) - scores.masked_fill(~is_chosen, 0.0)
    counts = is_chosen.sum(1)
    return loss.masked_fill(~is_chosen, 0.0).sum(1) / counts.clamp(min=1)
