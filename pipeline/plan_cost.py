"""What a build would ask of model servers, before it asks: requests and tokens, by each scorer.

A scorer's `estimate(rows)` goes by a rule; `estimate_of(batch)` counts what rows hold, of which as
many are read as are there and a plan has time for. Where a column is not written yet, its scorer
may say how many texts of how many tokens it `writes_at_most`, and the one that reads it what these
cost: `estimate_within`. What is kept from before is not known here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pipeline.asked import asked_rows
from pipeline.columns import ColumnSet
from pipeline.contract import FIELDS, must_hold
from pipeline.instances import Instance
from pipeline.pool import Shard, read_base
from pipeline.score_input import Rows
from pipeline.verdicts import open_verdicts

MOST_ROWS = 100_000
"""Rows that are read to count what they would cost; more are taken to be like them."""
SHORTEST, USUAL = 2, 16
"""Tokens of a sentence: no fewer, so that a bound holds; and as many as it may well have."""
_BYTES = 4  # of a text that are a token
Held = tuple[int, int]  # texts, and tokens of them all
Three = tuple[int, int, int]  # requests, tokens, tokens of answers


class Seen(NamedTuple):
    """What rows hold that a scorer reads, those that it would see; `rows` with the others."""

    columns: dict[str, list[Any]]
    rows: int


class Cost(NamedTuple):
    """What a scorer would ask for at most, None where that is not known yet; and in words.

    `is_of_all` if it is not known which rows it is asked for, and all are counted.
    """

    most: Three | None
    words: str
    is_of_all: bool = False


def pays(instance: Instance) -> bool:
    """Whether a scorer asks somebody; one that may have a `server` does so if it has one."""
    scorer = instance.scorer
    return hasattr(scorer, "keep_in") and getattr(scorer, "server", scorer) is not None


def in_all(costs: Mapping[str, Cost]) -> str | None:
    """The sum of all costs by their scorers' names, in words; None where nothing is known."""
    known = [cost.most for cost in costs.values() if cost.most is not None]
    if not known:
        return None
    requests, prompts, answers = (sum(numbers) for numbers in zip(*known, strict=True))
    is_of_all = any(cost.is_of_all for cost in costs.values())
    lacking = [name for name, cost in costs.items() if cost.most is None]
    more = f", without {', '.join(lacking)}" if lacking else ""
    return f"in all {_words((requests, prompts, answers), is_of_all)}{more}"


@dataclass(frozen=True)
class Counting:
    """Where a plan counts: `shards` to read, which may be few, and all scorers by their names.

    The columns of the scorers are of the pool that the shards are of. What was read is remembered:
    each scorer of a chain asks for it again.
    """

    shards: Sequence[Shard]
    scorers: Mapping[str, Instance]

    def cost(self, name: str, due: int | None) -> Cost | None:
        """What so many rows cost a scorer at a model's server; None where nobody is paid."""
        instance = self.scorers[name]
        scorer = instance.scorer
        if not pays(instance):
            return None
        if due is None:
            return Cost(None, "")
        if hasattr(scorer, "estimate_of"):
            is_there = bool(self.shards) and not self._lacking(instance)
            return self._counted(instance, due) if is_there else self._bound(instance, due)
        if not hasattr(scorer, "estimate"):
            return Cost(None, "")
        rows, is_of_all = self._asking(instance, due)
        most = _three(scorer.estimate(rows))
        return Cost(most, f"; {_words(most, is_of_all)}", is_of_all)

    def is_there(self, name: str) -> bool:
        """Whether all that a scorer reads can be counted."""
        return not self._lacking(self.scorers[name])

    def _counted(self, instance: Instance, due: int) -> Cost:
        """The cost by what rows hold."""
        seen = self._seen(instance)
        share = due / seen.rows if seen.rows else 0.0
        most = _three(math.ceil(n * share) for n in instance.scorer.estimate_of(seen.columns))
        _, is_of_all = self._asking(instance, due)
        counted = "" if seen.rows == due else f", counted on {seen.rows:,} rows"
        return Cost(most, f"; {_words(most, is_of_all)}{counted}", is_of_all)

    def _bound(self, instance: Instance, due: int) -> Cost:
        """The cost by what the scorers above write at most, where they say so."""
        most, usual = (self._within(instance, due, tokens) for tokens in (SHORTEST, USUAL))
        lacking = self._lacking(instance)
        if most is None or usual is None:
            are = f"{', '.join(lacking) or 'the pool'} {'are' if len(lacking) > 1 else 'is'}"
            return Cost(None, f"; what it costs is counted when {are} there")
        is_of_all = any(self._asking(one, due)[1] for one in self._chain(instance))
        bounded = [n for n, one in lacking.items() if hasattr(one.scorer, "writes_at_most")]
        said = f"; {_words(most, is_of_all)}, with {', '.join(bounded)} as long as may be"
        if usual[0] < most[0]:
            said += f" (in sentences of {USUAL} tokens {usual[0]:,} requests)"
        return Cost(most, said, is_of_all)

    def _within(self, instance: Instance, due: int, sentence: int) -> Three | None:
        scorer = instance.scorer
        if not hasattr(scorer, "estimate_within"):
            return None
        rows, _ = self._asking(instance, due)
        found = scorer.estimate_within(self._held(instance, rows, sentence), sentence)
        return None if found is None else _three(found)

    def _held(self, instance: Instance, rows: int, sentence: int) -> dict[str, Held]:
        """What the columns that a scorer reads hold of so many rows; of which it is known."""
        found: dict[str, Held | None] = {}
        lacking = self._lacking(instance)
        for name in _columns(instance):
            if name in lacking:
                found[name] = self._written(lacking[name], rows, sentence)
            else:
                found[name] = self._read(instance, name, rows)
        return {name: held for name, held in found.items() if held is not None}

    def _written(self, writer: Instance, rows: int, sentence: int) -> Held | None:
        if not hasattr(writer.scorer, "writes_at_most"):
            return None
        rows, _ = self._asking(writer, rows)
        given = self._held(writer, rows, sentence)
        held: Held | None = writer.scorer.writes_at_most(rows, given, sentence)
        return held

    def _read(self, instance: Instance, name: str, rows: int) -> Held | None:
        """What a column that is there holds of so many rows; nothing is known without rows."""
        columns = instance.inputs.get(name)
        place = (columns.folder if columns else instance.columns.root, name)
        if place not in self._counted_before:
            root = instance.columns.root
            sizes: list[int] = []
            for shard in self._some():
                table = columns.read(shard, [name]) if columns else read_base(root, shard, [name])
                texts = (text for value in table[name].to_pylist() for text in _texts(value))
                sizes += [len(text.encode()) // _BYTES + 1 for text in texts]
            self._counted_before[place] = len(sizes), sum(sizes)
        seen = sum(shard.rows for shard in self._some())
        texts_, tokens = self._counted_before[place]
        return (-(-texts_ * rows // seen), -(-tokens * rows // seen)) if seen else None

    def _lacking(self, instance: Instance) -> dict[str, Instance]:
        """The columns that a scorer reads and that are not there, with those who write them."""
        return {
            name: self.scorers[columns.name]
            for name, columns in instance.inputs.items()
            if name in _columns(instance) and not self._has(columns)
        }

    def _has(self, columns: ColumnSet) -> bool:
        """Whether columns are there for all rows that are looked at, if there are any."""
        if columns.folder not in self._there:
            is_there = bool(self.shards) and all(map(columns.has, self._some()))
            self._there[columns.folder] = is_there
        return self._there[columns.folder]

    @cached_property
    def _there(self) -> dict[str, bool]:
        """What `_has` has seen: footers of many files, maybe far away."""
        return {}

    @cached_property
    def _counted_before(self) -> dict[tuple[str, str], Held]:
        return {}

    def _chain(self, instance: Instance) -> Iterator[Instance]:
        """A scorer and those above it whose columns are not there."""
        yield instance
        for writer in self._lacking(instance).values():
            yield from self._chain(writer)

    def _some(self) -> Iterator[Shard]:
        """The first shards, as many as there is time for."""
        rows = 0
        for shard in self.shards:
            if rows >= MOST_ROWS:
                break
            yield shard
            rows += shard.rows

    def _asking(self, instance: Instance, due: int) -> tuple[int, bool]:
        """For how many of so many rows it is asked; and if that is not known, so for all."""
        if instance.only is None:
            return due, False
        found = [_asked(instance, shard) for shard in self._some()]
        known = [one for shard in found if shard is not None for one in shard]
        if not known or None in found:
            return due, True
        return math.ceil(due * sum(known) / len(known)), False

    def _seen(self, instance: Instance) -> Seen:
        """What some rows hold."""
        names = _columns(instance)
        found: dict[str, list[Any]] = {name: [] for name in names}
        rows = 0
        for shard in self._some():
            read = Rows.read(instance.columns.root, shard, [instance])
            asked = _asked(instance, shard)
            for row in range(shard.rows):
                values = [read.columns[name][row] for name in names]
                lacks = (
                    v is None and n in must_hold(instance.scorer)
                    for n, v in zip(names, values, strict=True)
                )
                if read.ok[row] and (asked is None or asked[row]) and not any(lacks):
                    for name, value in zip(names, values, strict=True):
                        found[name].append(value)
            rows += shard.rows
        return Seen(found, rows)


def _columns(instance: Instance) -> list[str]:
    return [name for name in instance.scorer.reads if name not in FIELDS]


def _asked(instance: Instance, shard: Shard) -> list[bool] | None:
    """Who is asked; None while that is not known."""
    only = instance.only
    if only is not None:
        if only.survivors is not None and open_verdicts(only.survivors) is None:
            return None
        if not all(columns.has(shard) for columns in only.reads.values()):
            return None
    return asked_rows(instance, shard)


def _texts(value: Any) -> Iterator[str]:
    """The texts in a column's value: one, or those of a list, of captions too."""
    for one in value if isinstance(value, list) else [value]:
        text = one.get("text") if isinstance(one, dict) else one
        if isinstance(text, str):
            yield text


def _three(cost: Iterable[int]) -> Three:
    requests, prompts, answers = cost
    return requests, prompts, answers


def _words(cost: Three, is_of_all: bool) -> str:
    requests, prompts, answers = cost
    return (
        f"at most {requests:,} requests, about {prompts:,} tokens, answered by"
        f" at most {answers:,}{', if all are asked' if is_of_all else ''}"
    )
