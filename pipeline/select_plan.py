"""How a selection is run: its steps in stages, and the columns that each stage still needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.database import OutOfMemory, SqlError, short
from pipeline.errors import CurationError, RecipeError
from pipeline.step_sql import Numbered, copies, passes
from pipeline.steps import FAILED, KEPT, TAKEDOWN, Step, Subset, columns_read
from pipeline.subsets import read_subset

KEPT_CODE, FAILED_CODE, TAKEDOWN_CODE, FIRST_CODE = 0, 1, 2, 3


@dataclass(frozen=True)
class Stage:
    """A step that looks at all survivors (none in the first stage), then some that do not."""

    whole: Numbered | None
    local: tuple[Numbered, ...]

    @property
    def steps(self) -> tuple[Numbered, ...]:
        return self.local if self.whole is None else (self.whole, *self.local)

    def code_sql(self, decided: Sequence[str]) -> str:
        """The code of the step that drops a row, NULL if it goes on; `decided` are cases before."""
        cases = [f"when not {passes(step)} then {step.code}" for step in self.local]
        return f"case {' '.join([*decided, *cases])} end::smallint"

    def times_sql(self, before: str) -> str:
        """The copies of a row that goes on (__new_code is NULL): those before, times its own."""
        factors = [before, *(factor for step in self.local if (factor := copies(step)))]
        return f"case when __new_code is null then {' * '.join(factors)} else 0 end::bigint"


@dataclass(frozen=True)
class Plan:
    """The steps of a selection in stages, and what they need beside the rows."""

    steps: tuple[Numbered, ...]
    stages: tuple[Stage, ...]
    report_by: tuple[str, ...]
    takedown: "pa.Array[Any] | None"
    subsets: Mapping[str, npt.NDArray[np.void]]

    @property
    def names(self) -> list[str]:
        """The verdicts by their codes."""
        return [KEPT, FAILED, TAKEDOWN, *(numbered.name for numbered in self.steps)]

    @property
    def reads(self) -> tuple[str, ...]:
        steps = {numbered.name: numbered.step for numbered in self.steps}
        return tuple(dict.fromkeys((*columns_read(steps), *self.report_by)))

    def extras_after(self, stage: int) -> list[Numbered]:
        """The steps of later stages that need a column of their own."""
        return [s for later in self.stages[stage + 1 :] for s in later.steps if s.needs_extra]

    def columns_after(self, stage: int) -> list[str]:
        """The columns of the pool that are read after a stage."""
        later = {step.name: step.step for after in self.stages[stage + 1 :] for step in after.steps}
        read = columns_read({n: s for n, s in later.items() if not isinstance(s, Subset)})
        return list(dict.fromkeys([*read, *self.report_by]))


def make_plan(
    steps: Mapping[str, Step], takedown: Iterable[bytes] | None, report_by: Sequence[str]
) -> Plan:
    """Cut the steps into stages, so that neighbours that look at single rows run as one."""
    for column in report_by:
        if column.startswith("__"):
            raise RecipeError(f"report by {column!r}: names with __ are taken")
    stages: list[list[Numbered]] = [[]]
    numbered = [Numbered(code, name, steps[name]) for code, name in enumerate(steps, FIRST_CODE)]
    for step in numbered:
        if not step.is_local:
            stages.append([])
        stages[-1].append(step)
    paths = {step.path for step in steps.values() if isinstance(step, Subset)}
    return Plan(
        steps=tuple(numbered),
        stages=(
            Stage(None, tuple(stages[0])),
            *(Stage(stage[0], tuple(stage[1:])) for stage in stages[1:]),
        ),
        report_by=tuple(report_by),
        takedown=None if takedown is None else pa.array(sorted(set(takedown)), pa.binary(16)),
        subsets={path: read_subset(path) for path in sorted(paths)},
    )


@contextmanager
def named_errors(steps: Iterable[Numbered]) -> Iterator[None]:
    """Turn what DuckDB raises into a CurationError that names the steps that were running."""
    names = "".join(f" {step.name!r}," for step in steps).rstrip(",")
    try:
        yield
    except OutOfMemory as error:
        raise CurationError(
            f"select{names}: out of memory; raise the memory limit, or use fewer threads:"
            f" {short(error)}"
        ) from error
    except SqlError as error:
        raise CurationError(f"select{names}: {short(error)}") from error
