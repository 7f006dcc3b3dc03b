"""What the judges have in common where no model is given: the embedded encoder stands in for one.

It refuses parameters that mean nothing to it, and gives no row a value in which nothing is read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from filters import embedded, foreign, judging, reference, unread
from filters.reference import Said, Seen
from filters.shared_images import numbered, once

EMBEDDED = "embedded"
RULES = 1
"""The version of what the judges make of the encoder: raise it when a value changes."""
_FOREIGN = ("revision", "precision", "text_tokens", "max_side", "reasks")


def settle(scorer: Any, more: Sequence[str] = ()) -> None:
    """Bring a judge's parameters into their final form: `embedded` where nobody else is named.

    `more` are parameters that mean something to other models alone. Raises for wrong ones.
    """
    if scorer.model is None and scorer.server is None:
        object.__setattr__(scorer, "model", EMBEDDED)
    if scorer.model != EMBEDDED or scorer.server is not None:
        judging.settle(scorer)
        return
    known = [name for name in (*_FOREIGN, *more) if hasattr(type(scorer), name)]
    foreign.refuse(scorer, known, f"model {EMBEDDED!r}")
    if scorer.batch_size is None:
        object.__setattr__(scorer, "batch_size", judging.ROWS_SERVED)
    if scorer.batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {scorer.batch_size}")


def identity() -> dict[str, Any]:
    """What of the variant decides about values, beside the weights."""
    return {"model": EMBEDDED, "rules": RULES}


def weights_digest() -> str:
    """The digest of the encoder and of what pairs are compared with."""
    return f"{embedded.weights_digest()} {reference.digest()}"


def prepare(scorer: Any) -> None:
    """Load all that it needs, and try it. Raises when something is missing or not what is meant."""
    scorer({"image": [np.full((64, 64, 3), 127, np.uint8)], scorer.text: ["a red dog"]})


def pairs(images: Sequence[Any], texts: Sequence[str]) -> Iterator[tuple[Seen, Said | None]]:
    """What is seen and said in each pair; None for a text in which nothing is read.

    An image that is there several times is looked at once, and so is an equal text. What was found
    of a text is forgotten after its last row.
    """
    known = reference.shipped()
    distinct, which = once(images)
    seen = [known.seen(vector) for vector in embedded.encode_images(distinct)]
    _, spoken = numbered(texts)
    last = {number: place for place, number in enumerate(spoken)}
    open_: dict[int, Said] = {}
    for place, (picture, number) in enumerate(zip(which, spoken, strict=True)):
        if number not in open_:
            open_[number] = known.said(texts[place][: embedded.TEXT_LENGTH].strip())
        said = open_.pop(number) if last[number] == place else open_[number]
        yield seen[picture], None if unread.is_blank(said.text) else said


def are_cut(texts: Sequence[str]) -> list[bool]:
    """Whether there is more of a text than is read."""
    return [embedded.is_cut(text) for text in texts]
