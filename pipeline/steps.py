"""The steps of a selection as values: what each keeps, what it reads, and which are refused.

A step knows nothing of the rows; `select` runs it. Whatever is random about one is a function of
a row's key, the seed and the step's name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.conditions import check_condition, columns_of, unknown_column
from pipeline.errors import RecipeError

KEPT, FAILED, TAKEDOWN = "kept", "failed", "takedown"
RESERVED = (KEPT, FAILED, TAKEDOWN)
MAX_DROP = 0.95  # a step that drops more than this share is worth a warning
_MAX_COUNT, _MIN_FRACTION = 10**12, 1e-9
Words = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]


@dataclass(frozen=True)
class Where:
    """Keep rows for which a SQL condition is true; NULL is not true, also under NOT."""

    condition: str
    max_drop: float | None = None
    keyword: ClassVar[str] = "where"

    def __post_init__(self) -> None:
        _need(isinstance(self.condition, str), "where: expected a condition")
        _check_share(self.max_drop, "max_drop")

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(sorted(columns_of(self.condition)))


@dataclass(frozen=True)
class Top:
    """Keep the highest rows by one column (`lowest`: the lowest); rows without a value go.

    `exact` keeps, of the n survivors of each group that have a value, `count` rows or
    ceil(fraction * n), so that a group with a value keeps one; ties go to the smaller key.
    `datacomp` keeps what the baselines of DataComp keep: of all n rows of the pool that have a
    value, the one at place int(n * fraction) of the descending list is the threshold, and every
    survivor that reaches it is kept: one row more than the share, and all ties.
    """

    column: str
    fraction: float | None = None
    count: int | None = None
    per: tuple[str, ...] = ()
    lowest: bool = False
    mode: Literal["exact", "datacomp"] = "exact"
    max_drop: float | None = None
    keyword: ClassVar[str] = "top"

    def __post_init__(self) -> None:
        _check_names("top", self.column, *self.per)
        _need((self.fraction is None) != (self.count is None), "top: give 'fraction' or 'count'")
        _check_share(self.fraction, "fraction")
        _check_count(self.count)
        _check_share(self.max_drop, "max_drop")
        _need(self.mode in ("exact", "datacomp"), f"mode: {self.mode!r} is not exact or datacomp")
        if self.mode == "datacomp":
            plain = self.fraction is not None and not self.per and not self.lowest
            _need(plain, "mode datacomp goes with 'fraction' and without 'per' and 'lowest'")

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.column, *self.per)))


@dataclass(frozen=True)
class OnePer:
    """Keep, of the survivors that share a group, the one with the highest value.

    `lowest` keeps the one with the lowest. A row without a value comes after those with one; ties
    go to the smaller key, as everything does when there is no `best`. A row without a group is
    its own and is kept. With `per`, rows share a group only within it.
    """

    group: str
    best: str | None = None
    per: tuple[str, ...] = ()
    lowest: bool = False
    max_drop: float | None = None
    keyword: ClassVar[str] = "one_per"

    def __post_init__(self) -> None:
        _check_names("one_per", self.group, *self.per, *([] if self.best is None else [self.best]))
        _need(self.best is not None or not self.lowest, "one_per: 'lowest' needs 'best'")
        _check_share(self.max_drop, "max_drop")

    @property
    def reads(self) -> tuple[str, ...]:
        best = () if self.best is None else (self.best,)
        return tuple(dict.fromkeys((self.group, *best, *self.per)))


@dataclass(frozen=True)
class Draw:
    """Keep rows at random; `by` is a number or a column, NULL is never drawn.

    Alone, `by` is the probability of a row, which no other row has a part in; a number with `per`
    keeps exactly ceil(by * n) of each group. With `repeat`, it is the number of copies: the whole
    part, and one more with the probability of the rest. With `count`, that many rows of each
    group are drawn with weights `by` (a number: all alike); with `repeat` too, that many copies,
    each row the whole number below or above its share (systematic resampling).
    Of the same rows a smaller draw is part of a larger one, but for copies that are counted.
    """

    by: float | str
    count: int | None = None
    repeat: bool = False
    seed: int = 0
    per: tuple[str, ...] = ()
    max_drop: float | None = None
    keyword: ClassVar[str] = "draw"

    def __post_init__(self) -> None:
        by = self.by
        _check_names("draw", *([by] if isinstance(by, str) else []), *self.per)
        _check_count(self.count)
        _check_share(self.max_drop, "max_drop")
        in_range = isinstance(self.seed, int) and 0 <= self.seed < 2**63
        _need(in_range, f"seed: {self.seed!r} is not a whole number from 0")
        if not isinstance(by, str):
            _need(_is_number(by) and by > 0, f"draw: {by!r} is not above 0")
            alike = "draw: with 'count' all rows weigh the same, write `draw: 1`, or a column"
            _need(self.count is None or by == 1, alike)
            many = f"draw: {by!r} is above 1; for copies add `repeat: true`, for rows `count`"
            _need(self.repeat or by <= 1, many)
        alone = self.count is None and (self.repeat or isinstance(by, str))
        _need(not (self.per and alone), "draw: 'per' has no meaning here without 'count'")

    @property
    def reads(self) -> tuple[str, ...]:
        by = (self.by,) if isinstance(self.by, str) else ()
        return tuple(dict.fromkeys((*by, *self.per)))


@dataclass(frozen=True)
class Subset:
    """Keep the rows whose `source_key` is in a DataComp subset file, as often as it is there."""

    path: str
    max_drop: float | None = None
    keyword: ClassVar[str] = "subset"

    def __post_init__(self) -> None:
        _need(isinstance(self.path, str) and self.path != "", "subset: expected a path")
        _check_share(self.max_drop, "max_drop")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("source_key",)


Step = Where | Top | OnePer | Draw | Subset
_FIRST_FIELDS: dict[type[Step], str] = {
    Where: "condition",
    Top: "column",
    OnePer: "group",
    Draw: "by",
    Subset: "path",
}


def parse_step(written: Mapping[str, Any]) -> Step:
    """The step that a recipe's mapping means, such as `{top: clip_score, fraction: 0.3}`.

    A value of None is as if it were not there; `per` is a name or several. Raises RecipeError.
    """
    given = {key: value for key, value in written.items() if value is not None}
    kinds = [kind for kind in _FIRST_FIELDS if kind.keyword in given]
    words = ", ".join(kind.keyword for kind in _FIRST_FIELDS)
    _need(len(kinds) == 1, f"a step has one of {words}; found {', '.join(given) or 'nothing'}")
    kind = kinds[0]
    values = {_FIRST_FIELDS[kind] if key == kind.keyword else key: given[key] for key in given}
    known = [kind.keyword, *[field.name for field in fields(kind)][1:]]
    for key in given:
        _need(key in known, f"{kind.keyword} takes no {key!r}; known: {', '.join(known)}")
    if "per" in values:
        per = values["per"]
        values["per"] = (per,) if isinstance(per, str) else tuple(per)
    return kind(**values)


def columns_read(steps: Mapping[str, Step]) -> tuple[str, ...]:
    """The columns that a selection needs, each once, in the order in which steps read them."""
    return tuple(dict.fromkeys(column for step in steps.values() for column in step.reads))


def steps_until(steps: Mapping[str, Step], last: str) -> dict[str, Step]:
    """The steps up to and including one; what they keep are the survivors of that step."""
    names = list(steps)
    _need(last in steps, f"unknown step {last!r}; known: {', '.join(names) or 'none'}")
    return {name: steps[name] for name in names[: names.index(last) + 1]}


def check_steps(steps: Mapping[str, Step], columns: Mapping[str, pa.DataType]) -> None:
    """Raise RecipeError unless every step can run over columns of these types."""
    for name, step in steps.items():
        _need(name not in RESERVED, f"step {name!r}: the name is a verdict's")
        try:
            if isinstance(step, Where):
                check_condition(step.condition, columns)
            else:
                _check_columns(step, columns)
        except RecipeError as error:
            raise RecipeError(f"step {name!r}: {error.message}", error.where) from error


def words_of(keys: "pa.Array[Any]") -> Words:
    """The upper and the lower 64 bits of keys of 16 bytes, as numbers that sort as the keys do."""
    if keys.null_count:
        raise ValueError(f"{keys.null_count} of {len(keys)} keys are NULL")
    fixed = keys if pa.types.is_fixed_size_binary(keys.type) else keys.cast(pa.binary(16))
    data = fixed.buffers()[1]
    words = np.frombuffer(b"" if data is None else memoryview(data), ">u8")
    words = words[2 * fixed.offset : 2 * (fixed.offset + len(fixed))].reshape(-1, 2)
    return words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64)


def uniform(keys: "pa.Array[Any]", seed: int, salt: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each key, a function of key, seed and salt alone.

    The same in every version and on every machine: integers only, mixed as SplitMix64 does
    (Steele, Lea and Flood 2014, with Stafford's constants), the seed and the salt by BLAKE2b.
    """
    first, second = np.frombuffer(_seeded(seed, salt), "<u8").astype(np.uint64)
    upper, lower = words_of(keys)
    bits = _mixed(_mixed(upper ^ first) ^ lower ^ second)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def offset(seed: int, salt: str) -> int:
    """20 bits of seed and salt: where systematic resampling begins."""
    return int.from_bytes(_seeded(seed, salt)[:4], "little") >> 12


def _seeded(seed: int, salt: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{salt}".encode(), digest_size=16).digest()


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _check_columns(step: Top | OnePer | Draw | Subset, columns: Mapping[str, pa.DataType]) -> None:
    for column in step.reads:
        _need(column in columns, unknown_column(column, columns))
    numbers: Sequence[str] = ()
    if isinstance(step, Top):
        numbers = (step.column,)
    elif isinstance(step, OnePer) and step.best is not None:
        numbers = (step.best,)
    elif isinstance(step, Draw) and isinstance(step.by, str):
        numbers = (step.by,)
    for column in numbers:
        kind = columns[column]
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        number = number or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)
        _need(number, f"column {column!r} is {kind}, expected numbers")
    for column in [name for name in step.reads if name not in numbers]:
        _need(
            not pa.types.is_nested(columns[column]),
            f"column {column!r} is {columns[column]}, expected one value in each row",
        )


def _check_names(keyword: str, *columns: object) -> None:
    for column in columns:
        named = isinstance(column, str) and column != "" and not column.startswith("__")
        _need(named, f"{keyword}: {column!r} is not the name of a column")


def _check_share(value: object, what: str) -> None:
    in_range = value is None or (_is_number(value) and _MIN_FRACTION <= value <= 1)  # type: ignore[operator]
    _need(in_range, f"{what}: {value!r} is not a share, above 0 and at most 1")


def _check_count(value: object) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    in_range = value is None or (whole and 1 <= value <= _MAX_COUNT)  # type: ignore[operator]
    _need(in_range, f"count: {value!r} is not a whole number from 1 to {_MAX_COUNT}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise RecipeError(message)
