"""Does the picture show what the text says: a probability of yes, without a model that answers.

The text is held against what might have been said instead. It knows no negation: to the embedded
encoder "no dog" is about a dog.
"""

import math
from typing import NamedTuple

import numpy as np

from filters.reference import Floats, Said, Seen

_TEMPERATURE = 0.05


class Scale(NamedTuple):
    """What a lead over others' captions, and over copies of its own, adds to the log odds."""

    others: float
    copies: float
    start: float


SHIPPED = Scale(6.91, 7.62, -0.14)
"""As `benchmarks.judges ship` prints it."""


def probability(seen: Seen, said: Said, scale: Scale = SHIPPED) -> float:
    """The probability, 0 to 1, that the answer is yes, where half of all answers are."""
    others, copies = leads(seen, said)
    odds = scale.others * others + scale.copies * copies + scale.start
    return 1 / (1 + math.exp(-odds))


def leads(seen: Seen, said: Said) -> tuple[float, float]:
    """By how much the text's cosine is above others' captions, and above copies of its own.

    Of each it is the average as a softmax at temperature .05 weighs them. Without a known word
    there are no copies, and the lead is 0.
    """
    own = float(seen.vector @ said.vector)
    return (
        own - _soft(seen.captions[said.is_other]),
        own - _soft(said.copies @ seen.vector) if len(said.copies) else 0.0,
    )


def _soft(cosines: Floats) -> float:
    wide = cosines.astype(np.float64) / _TEMPERATURE
    top = float(wide.max())
    return _TEMPERATURE * (top + math.log(float(np.exp(wide - top).mean())))
