"""Two overlapping groups of losses, the clean and the noisy, told apart by a Gaussian mixture.

By expectation and maximisation from a fixed start: the same losses in any order, the same answer.
The probability of noise never falls as the loss rises.
"""

from typing import NamedTuple

import numpy as np

from filters.vectors import Doubles

_ROUNDS = 500
_CLOSE = 1e-9  # of the share of noise, between two rounds
_NARROWEST = 1e-3  # deviation of a component, in parts of that of all losses
_FLAT = 1e-9  # losses that vary by less are all the same
_LEVELS = (0.3, 0.5, 0.7)  # of the noise: above, few clean losses, below, too little to count
_FEWEST = 1e-6  # share of a component


class Mixture(NamedTuple):
    """Means and deviations of the clean and the noisy losses, and the share of the noisy."""

    clean: float
    clean_deviation: float
    noise: float
    noise_deviation: float
    share: float

    def probability(self, losses: Doubles) -> Doubles:
        """The probability in [0, 1] that each loss is noisy."""
        if self.share <= 0:
            return np.zeros(len(losses))
        gain = np.minimum(_log_ratio(self, self._monotone(losses)), 700)
        odds = np.exp(gain)
        found: Doubles = odds / (1 + odds)
        return found

    def _monotone(self, losses: Doubles) -> Doubles:
        """The losses, but none beyond where the ratio of two unequal bells turns back."""
        bend = 1 / self.clean_deviation**2 - 1 / self.noise_deviation**2
        if bend == 0:
            return losses
        turn = self.clean / self.clean_deviation**2 - self.noise / self.noise_deviation**2
        turn /= bend
        return np.maximum(losses, turn) if bend > 0 else np.minimum(losses, turn)


def fitted(losses: Doubles, noise: Doubles | None = None) -> Mixture:
    """The mixture that fits losses [n] best.

    With `noise`, losses of pairs that are known not to belong together, the noisy component is
    theirs and only the clean one and the share are sought, and the share is bounded: of the losses
    above a middling one of theirs, noise alone must not make more than there are. Without, both
    are sought, and the noisy one is that of the larger mean, as in NLIP (arXiv:2212.07086). Losses
    that are all the same have no noise among them. Raises ValueError for none.
    """
    if not len(losses):
        raise ValueError("no losses to tell apart")
    ordered = np.sort(losses)
    spread = float(ordered.std())
    low = float(ordered[: -(-len(ordered) // 2)].mean())
    if spread < _FLAT:
        return Mixture(low, 1.0, low, 1.0, 0.0)
    narrowest = _NARROWEST * spread
    high = float(ordered[len(ordered) // 2 :].mean()) if noise is None else float(noise.mean())
    wide = spread if noise is None else max(float(noise.std()), narrowest)
    most = 1.0 if noise is None else _most(ordered, noise)
    now = Mixture(low, spread, high, wide, most / 2)
    for _ in range(_ROUNDS):
        before = now.share
        now = _improved(now, ordered, narrowest, noise is not None)
        now = now._replace(share=min(now.share, most))
        if abs(now.share - before) < _CLOSE:
            break
    if now.clean > now.noise and noise is None:
        return Mixture(*now[2:4], *now[:2], 1 - now.share)
    return now._replace(clean=min(now.clean, now.noise))


def _most(losses: Doubles, noise: Doubles) -> float:
    """The largest share that noise can have: what lies above a loss is at least its part of it.

    Two standard deviations of the count are granted, so that few losses are no tight bound.
    """
    found = [1 - _FEWEST]
    for level in np.quantile(noise, _LEVELS):
        above = float((losses >= level).sum())
        granted = above + 2 * np.sqrt(above + 1)
        found.append(float(granted / len(losses) / (noise >= level).mean()))
    return max(min(found), _FEWEST)


def _improved(now: Mixture, losses: Doubles, narrowest: float, is_noise_known: bool) -> Mixture:
    """One round of expectation and maximisation."""
    odds = np.exp(np.minimum(_log_ratio(now, losses), 700))
    noisy = odds / (1 + odds)
    share = float(np.clip(noisy.mean(), _FEWEST, 1 - _FEWEST))
    clean = _component(losses, 1 - noisy, narrowest) or now[:2]
    noise = None if is_noise_known else _component(losses, noisy, narrowest)
    return Mixture(*clean, *(noise or now[2:4]), share)


def _component(losses: Doubles, weights: Doubles, narrowest: float) -> tuple[float, float] | None:
    """Mean and deviation of weighted losses; None when they have no weight."""
    total = weights.sum()
    if total < _FEWEST * len(losses):
        return None
    mean = (weights * losses).sum() / total
    deviation = np.sqrt((weights * (losses - mean) ** 2).sum() / total)
    return float(mean), max(float(deviation), narrowest)


def _log_ratio(mixture: Mixture, losses: Doubles) -> Doubles:
    """Log odds of the noisy component."""
    parts = ((mixture.noise, mixture.noise_deviation), (mixture.clean, mixture.clean_deviation))
    noisy, clean = (
        -(((losses - mean) / deviation) ** 2) / 2 - np.log(deviation) for mean, deviation in parts
    )
    prior = np.log(mixture.share) - np.log1p(-mixture.share)
    ratio: Doubles = noisy - clean + prior
    return ratio
