"""Small pictures and captions for tests of models that see both at once."""

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
CAPTIONS = (
    "a red car",
    "the old dog near the house",
    "blue house on the road and two dog",
    "two",
    "road",
)


def pictures(count: int = 5, seed: int = 0) -> list[Pixels]:
    """Coarse noise, each of another size, so that no two look alike."""
    dice = np.random.default_rng(seed)
    small = [dice.integers(0, 256, (4, 5, 3), np.uint8) for _ in range(count)]
    return [np.kron(s, np.ones((8 + i, 9, 1), np.uint8)) for i, s in enumerate(small)]


def pairs(captions: tuple[str, ...] = CAPTIONS) -> dict[str, list[Any]]:
    """A batch as a scorer gets it."""
    return {"image": pictures(len(captions)), "caption": list(captions)}


def one_by_one(scorer: Any, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What a scorer says about each pair when it is alone."""
    found = [
        scorer({name: column[i : i + 1] for name, column in batch.items()})
        for i in range(len(batch["image"]))
    ]
    return {name: [one[name][0] for one in found] for name in scorer.writes.names}
