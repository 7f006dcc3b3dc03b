"""Losses over comparisons: Bradley-Terry with ties, as tensors of torch."""

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
