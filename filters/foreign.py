"""Parameters that mean nothing to what a scorer was told to use: refused, not ignored."""

from collections.abc import Iterable
from typing import Any


def refuse(scorer: Any, names: Iterable[str], user: str) -> None:
    """Raises ValueError when one of these parameters is not as it is by default.

    `user` is what has no use for them. The precision fp32 is what `auto` is settled as.
    """
    for name in names:
        usual = [getattr(type(scorer), name), *(["fp32"] if name == "precision" else [])]
        if getattr(scorer, name) not in usual:
            raise ValueError(f"{user} takes no `{name}`; remove it")
