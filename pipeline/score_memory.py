"""Batches when memory runs out: smaller ones for a while, then larger ones again.

What a scorer says of a sample is the same in any batch, but for a model that pads its batches to
one shape: another shape may take other kernels, which round in another way.
"""

import dataclasses
from typing import Any

GROW_AFTER = 16  # batches that fitted before larger ones are tried again
_SIGNS = ("out of memory", "alloc_failed", "can't allocate memory")  # CUDA, cuDNN and cuBLAS, torch


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory of the machine or of a GPU ran out, by what Python and torch say then."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


@dataclasses.dataclass
class Room:
    """The batch size that memory has room for: at most `most`, now `now`, and once `least`.

    Mutable: it follows what happens within one shard.
    """

    most: int
    now: int
    least: int
    fitted: int = 0

    @classmethod
    def of(cls, most: int) -> "Room":
        return cls(most, most, most)

    def fall(self, size: int) -> None:
        """A batch did not fit that was begun when there was room for so many."""
        self.now, self.fitted = min(self.now, max(1, size // 2)), 0
        self.least = min(self.least, self.now)

    def fits(self) -> None:
        """A batch did; after some of them, larger ones are tried."""
        self.fitted += 1
        if self.now < self.most and self.fitted >= GROW_AFTER:
            self.now, self.fitted = min(self.most, 2 * self.now), 0


def with_batch_size(scorer: Any, size: int) -> Any:
    """The scorer with another batch size if that is a parameter of it, to which it may pad."""
    if hasattr(scorer, "with_batch_size"):
        return scorer.with_batch_size(size)
    has_size = dataclasses.is_dataclass(scorer) and any(
        part.name == "batch_size" and part.init for part in dataclasses.fields(scorer)
    )
    return dataclasses.replace(scorer, batch_size=size) if has_size else scorer
