"""The errors a user can meet. Anything else that escapes is a fault of this program.

CurationError            something could not be done; exit code 1
├── RecipeError          the recipe or the command is wrong and nothing was run; exit code 2
├── DamagedFile          a file of a build does not hold what its metadata promises
├── BusyBuild            another program is building in the same directory
└── ShardsFailed         some shards failed; the others are done and stay done
"""

from collections.abc import Mapping


class CurationError(Exception):
    """Something could not be done; the message says what, where, the value and the limit."""


class RecipeError(CurationError):
    """The recipe or the command is wrong. Nothing was run.

    `where` is `file:line:column` when the place is known.
    """

    def __init__(self, message: str, where: str | None = None) -> None:
        self.message, self.where = message, where
        super().__init__(message, where)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class DamagedFile(CurationError):
    """A file does not hold what its metadata promises: truncated, or changed by other hands."""


class BusyBuild(CurationError):
    """Another program holds the lock of this output directory."""


class ShardsFailed(CurationError):
    """Some shards failed after the others were done; `reasons` maps shard to message."""

    def __init__(self, stage: str, reasons: Mapping[str, str]) -> None:
        self.stage, self.reasons = stage, dict(reasons)
        super().__init__(stage, self.reasons)

    def __str__(self) -> str:
        shown = [f"  {shard}: {reason}" for shard, reason in sorted(self.reasons.items())[:10]]
        more = len(self.reasons) - len(shown)
        rest = [f"  and {more} more"] if more else []
        head = f"{self.stage}: {len(self.reasons)} shards failed; the others are done"
        return "\n".join([head, *shown, *rest])
