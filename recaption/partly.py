"""A row of which some captions were made and others failed: it has both, and the reason.

A caption that fails takes no other with it, and no caption stands for it: readers of captions
need to know nothing. What failed and why is in the instance's column of errors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from recaption import captions
from recaption.captions import Row


class Partly(Exception):
    """A reason beside values that the row has all the same: `kept`, by the names of columns."""

    def __init__(self, reason: str, kept: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.kept = kept


def settled(found: list[Row], failed: Sequence[tuple[str, Exception]]) -> list[Row] | Exception:
    """What a captioner returns for a row: its captions, a reason, or both.

    `failed` holds what was asked for, as a kind or a language, with its error. An error that may
    pass is the whole row's, for the row is asked about again; so is the first if nothing was found.
    """
    passing = [error for _, error in failed if getattr(error, "retriable", False)]
    if passing:
        return passing[0]
    if not failed:
        return found
    if not found:
        return failed[0][1]
    what, error = failed[0]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    reason = f"{type(error).__name__}: {what}{more}: {error}"
    return Partly(reason, {captions.COLUMN: found})
