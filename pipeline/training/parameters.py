"""What the parameters of the reader must be: whatever is wrong is told before a batch is read."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

_MOST = (1 << 63) - 1  # as of a recipe's seed: PyTorch takes no larger one


def check_whole(least: int, **given: object) -> None:
    """Raises ValueError for what is no whole number, or below `least`; `given` by their names."""
    for name, value in given.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if not value <= _MOST:
            raise ValueError(f"{name} must be at most {_MOST}, got {value}")


def check_names(what: str, given: object) -> None:
    """Raises ValueError for what is no list of names, as a text alone, or has none."""
    listed = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if not listed or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"{what} {given!r} must be some names")


def check_weights(given: object) -> None:
    """Raises ValueError for what is no mapping of names to weights, of which one may be 0."""
    if not isinstance(given, Mapping):
        raise ValueError(
            f"weights must be a mapping such as {{'txt': 1, 'long': 3}}, got {given!r}"
        )
    is_right = all(
        isinstance(one, Real) and one < math.inf and not one < 0 for one in given.values()
    )
    if not given or not is_right:
        raise ValueError(f"weights {dict(given)} must be some numbers, none below 0")
    check_names("weights of", [*given])
