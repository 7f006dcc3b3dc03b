"""From the `score:` section of a recipe to scorers with an identity, in an order that works.

Everything about scorers that can be wrong is found here, before any data is read: unknown names,
wrong parameters, columns that nobody writes or that two write.
"""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.columns import ColumnSet
from pipeline.contract import FIELDS
from pipeline.pool import BASE

__all__ = [
    "FIELDS",
    "Instance",
    "Only",
    "base_types",
    "fingerprint",
    "known_parameters",
    "needed_parameters",
]


@dataclass(frozen=True)
class Instance:
    """One scorer of a recipe under its own name.

    `renames` maps the scorer's names of columns to the recipe's. `inputs` holds the column set of
    every column it reads that is not a base column. `only` limits the rows it is asked for.
    """

    name: str
    scorer: Any
    columns: ColumnSet
    renames: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, ColumnSet] = field(default_factory=dict)
    only: "Only | None" = None
    level: int = 0

    @property
    def is_global(self) -> bool:
        return hasattr(self.scorer, "reduce")

    @property
    def is_fitted(self) -> bool:
        """Whether it learns from a sample of the pool before it scores."""
        return hasattr(self.scorer, "fit")

    @property
    def looks_at_pool(self) -> bool:
        """Whether a value depends on other rows than its own."""
        return self.is_global or self.is_fitted

    @property
    def fit_reads(self) -> tuple[str, ...]:
        """The columns that a fitted scorer learns from; it says so itself, or reads all of them."""
        return fit_reads(self.scorer)

    @property
    def reads_pixels(self) -> bool:
        return any(name in FIELDS for name in self.scorer.reads)

    @property
    def is_about_pixels_alone(self) -> bool:
        """Whether equal image bytes are sure to give equal values."""
        return all(name in FIELDS for name in self.scorer.reads)

    @property
    def at_once(self) -> int:
        """How many of its calls may be under way at a time, as it says: one unless it waits."""
        return int(getattr(self.scorer, "at_once", 1))

    @property
    def lane(self) -> str:
        """What works on it: a kind of device, and others if it waits for some."""
        return f"{self.device}, others" if self.at_once > 1 else self.device

    @property
    def device(self) -> str:
        return str(getattr(self.scorer, "device", "cpu"))


@dataclass(frozen=True)
class Only:
    """The rows a scorer is asked for: where `condition` holds, those that survive a step, or both.

    `steps` describes the selection up to that step, `step` is its name, and `survivors` the
    folder its verdicts are in. `reads` are the column sets that the condition reads, `step_reads`
    those of the steps.
    """

    condition: str | None = None
    step: str | None = None
    steps: str | None = None
    survivors_root: str = ""
    reads: Mapping[str, ColumnSet] = field(default_factory=dict)
    step_reads: Mapping[str, ColumnSet] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, ColumnSet]:
        """All column sets that must be complete before it is known who is asked."""
        return {**self.step_reads, **self.reads}

    @property
    def digest(self) -> str:
        """Names the set of rows: the condition, the steps, and the columns behind them."""
        sets = {name: columns.folder_name for name, columns in self.inputs.items()}
        return _digest({"where": self.condition, "steps": self.steps, "columns": sets})

    @property
    def survivors(self) -> str | None:
        """Where the verdicts are, the same whatever condition goes with the step."""
        if self.step is None:
            return None
        of_step = dataclasses.replace(self, condition=None, reads={})
        return storage.join(self.survivors_root, of_step.digest)


def fit_reads(scorer: Any) -> tuple[str, ...]:
    """The columns that a scorer learns from; none when it doesn't."""
    if not hasattr(scorer, "fit"):
        return ()
    return tuple(getattr(scorer, "fit_reads", scorer.reads))


def fingerprint(scorer: Any, inputs: Mapping[str, str], decoder: str) -> str:
    """Identity of a scorer's output: class, version, parameters, weights and what it reads.

    `inputs` maps each column read to the fingerprint of its writer. `decoder` names the decoding
    and its limits; it enters when the scorer looks at pixels.
    """
    kind = type(scorer)
    looks = any(name in FIELDS for name in scorer.reads)
    return _digest(
        {
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "version": scorer.version,
            "parameters": parameters(scorer),
            "weights": getattr(scorer, "weights_digest", None),
            "decoder": decoder if looks else None,
            "columns": dict(inputs),
        }
    )


def parameters(scorer: Any) -> dict[str, Any]:
    """The parameters of a scorer that decide its values, with every automatic choice resolved.

    A scorer with an `identity` says them itself; of others it is every field of the dataclass.
    """
    identity = getattr(scorer, "identity", None)
    if identity is not None:
        return dict(identity)
    if not dataclasses.is_dataclass(scorer) or isinstance(scorer, type):
        return {}
    return dataclasses.asdict(scorer)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=_listed)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _listed(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"its parameters must be plain data, found {type(value).__name__}")


def known_parameters(kind: type[Any]) -> list[str]:
    """The names a scorer class can be given in a recipe."""
    return [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


def needed_parameters(kind: type[Any]) -> list[str]:
    """Those of them that have no value of their own."""
    parameters = inspect.signature(kind).parameters
    return [
        name
        for name in known_parameters(kind)
        if parameters[name].default is inspect.Parameter.empty
    ]


def base_types() -> dict[str, pa.DataType]:
    """The columns that every row has before anything is scored."""
    return {column.name: column.type for column in BASE}
