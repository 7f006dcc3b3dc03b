"""What is left of scoring a shard: values that columns can hold, and a line for the ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.columns import problem_of
from pipeline.score_memory import Room

DETAIL = 200  # characters of a reason


def described(error: Exception) -> str:
    """`Type: message`; of what is partly there, the message, which begins with the type itself."""
    text = str(error) if hasattr(error, "kept") else f"{type(error).__name__}: {error}"
    return text[:DETAIL]


def drop_misfits(
    schema: pa.Schema, values: Mapping[str, list[Any]], errors: list[str | None]
) -> None:
    """A sample with a value that its column can't hold loses its values, and gets a reason."""
    for column in schema:
        if problem_of(values[column.name], column.type) is None:
            continue
        for row, value in enumerate(values[column.name]):
            problem = problem_of([value], column.type)
            if problem is not None:
                errors[row] = f"bad value: {column.name}: {problem}"[:DETAIL]
                for each in values.values():
                    each[row] = None


def summary(
    scored: int, errors: Sequence[str | None], score_s: float, room: Room
) -> dict[str, Any]:
    """For the ledger: rows scored, failures by the first word of their reason, and time.

    `smallest_batch` is there when memory ran out: values of a model that pads its batches to
    another shape may differ from others in the last digits.
    """
    reasons = Counter(e.partition(":")[0] for e in errors if e is not None)
    fell = {} if room.least == room.most else {"smallest_batch": room.least}
    return {
        "scored": scored,
        "failed": dict(sorted(reasons.items())),
        "score_s": round(score_s, 3),
        **fell,
    }
