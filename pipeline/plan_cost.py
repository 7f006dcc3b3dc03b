"""What a build would ask of model servers, before it asks: requests and tokens, by each scorer.

A scorer's `estimate(rows)` goes by a rule; `estimate_of(batch)` counts what rows hold, of which as
many are read as are there and a plan has time for. What is kept from before is not known here.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.asked import asked_rows
from pipeline.contract import FIELDS, must_hold
from pipeline.instances import Instance
from pipeline.pool import Shard
from pipeline.score_input import Rows
from pipeline.verdicts import open_verdicts

MOST_ROWS = 100_000
"""Rows that are read to count what they would cost; more are taken to be like them."""


class Seen(NamedTuple):
    """What rows hold that a scorer reads, those that it would see; `rows` with the others."""

    columns: dict[str, list[Any]]
    rows: int
    is_asked: bool


def pays(instance: Instance) -> bool:
    """Whether a scorer asks somebody; one that may have a `server` does so if it has one."""
    scorer = instance.scorer
    return hasattr(scorer, "keep_in") and getattr(scorer, "server", scorer) is not None


def told(instance: Instance, due: int | None, shards: Sequence[Shard]) -> str:
    """What so many rows cost at a model's server, in words; nothing where nobody is paid.

    `shards` are those to read, of the pool that the instance's columns are in; they may be few.
    """
    scorer = instance.scorer
    if due is None or not pays(instance):
        return ""
    if hasattr(scorer, "estimate_of"):
        seen = _seen(instance, shards)
        if seen is None:
            return f"; what it costs is counted when {_lacking(instance)} there"
        share = due / seen.rows if seen.rows else 0.0
        cost = [math.ceil(n * share) for n in scorer.estimate_of(seen.columns)]
        counted = "" if seen.rows == due else f", counted on {seen.rows:,} rows"
        return _words(cost, instance.only is not None and not seen.is_asked) + counted
    if hasattr(scorer, "estimate"):
        return _words(scorer.estimate(due), instance.only is not None)
    return ""


def _words(cost: Sequence[int], is_of_all: bool) -> str:
    requests, prompts, answers = cost
    return (
        f"; at most {requests:,} requests, about {prompts:,} tokens, answered by"
        f" at most {answers:,}{', if all are asked' if is_of_all else ''}"
    )


def _lacking(instance: Instance) -> str:
    names = [name for name in instance.scorer.reads if name in instance.inputs]
    return f"{', '.join(names) or 'the pool'} {'are' if len(names) > 1 else 'is'}"


def _seen(instance: Instance, shards: Sequence[Shard]) -> Seen | None:
    """What some rows hold; None when there are none, or when a column is not there yet."""
    names = [name for name in instance.scorer.reads if name not in FIELDS]
    found: dict[str, list[Any]] = {name: [] for name in names}
    rows, is_asked = 0, True
    for shard in shards:
        if rows >= MOST_ROWS:
            break
        if not all(columns.has(shard) for n, columns in instance.inputs.items() if n in names):
            return None
        read = Rows.read(instance.columns.root, shard, [instance])
        asked = _asked(instance, shard)
        is_asked = is_asked and asked is not None
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
    return Seen(found, rows, is_asked) if rows else None


def _asked(instance: Instance, shard: Shard) -> list[bool] | None:
    """Who is asked; None while that is not known."""
    only = instance.only
    if only is None:
        return asked_rows(instance, shard)
    if only.survivors is not None and open_verdicts(only.survivors) is None:
        return None
    if not all(columns.has(shard) for columns in only.inputs.values()):
        return None
    return asked_rows(instance, shard)
