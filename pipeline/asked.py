"""`only:` – which rows a dear scorer is asked for, and what is already known about them.

The condition is no part of a value's identity: columns of the same scorer under another
condition are looked up, and only rows that none of them holds are computed.
"""

import os

import pyarrow as pa

from pipeline import storage
from pipeline.conditions import evaluate
from pipeline.errors import DamagedFile
from pipeline.instances import Instance, Only
from pipeline.pool import BASE, Shard, read_base
from pipeline.verdicts import open_verdicts


def asked_rows(instance: Instance, shard: Shard) -> list[bool]:
    """For every row of a shard whether the scorer is asked about it."""
    only = instance.only
    asked = [True] * shard.rows
    if only is None:
        return asked
    if only.survivors is not None:
        asked = _survivors(only.survivors, shard)
    return asked if only.condition is None else _where(instance.columns.root, only, shard, asked)


def _where(root: str, only: Only, shard: Shard, among: list[bool]) -> list[bool]:
    """Of the rows `among` those where the condition holds; it is not tried on the others."""
    assert only.condition is not None
    base = read_base(root, shard, [name for name in BASE.names if name not in only.reads])
    for name, columns in only.reads.items():
        base = base.append_column(name, columns.read(shard, [name])[name])
    holds = iter(evaluate(only.condition, base.filter(pa.array(among, pa.bool_()))))
    return [is_one and next(holds) for is_one in among]


def _survivors(folder: str, shard: Shard) -> list[bool]:
    verdicts = open_verdicts(folder)
    if verdicts is None:
        raise DamagedFile(f"{folder}: the selection of survivors is missing; score again")
    return [times > 0 for times in verdicts.of_shard(shard.name)["times"].to_pylist()]


def known_values(instance: Instance, shard: Shard) -> tuple[pa.Table, list[bool]] | None:
    """Values of the same scorer, same identity, written for other rows of this shard.

    Returns the table that knows most rows and, per row, whether it knows it.
    """
    columns = instance.columns
    parent = os.path.dirname(columns.folder)
    if not storage.is_local(parent) or not os.path.isdir(parent):
        return None
    best: tuple[pa.Table, list[bool]] | None = None
    for leaf in sorted(os.listdir(parent)):
        fingerprint, _, asked = leaf.partition("-")
        if fingerprint != columns.fingerprint or asked == columns.asked:
            continue
        other = type(columns)(columns.root, columns.name, fingerprint, columns.schema, asked)
        try:
            table = other.read(shard) if other.has(shard) else None
        except DamagedFile:  # what it knew is computed again
            continue
        if table is None:
            continue
        rows = table["asked"].to_pylist() if "asked" in table.column_names else [True] * len(table)
        if best is None or sum(rows) > sum(best[1]):
            best = table, rows
    return best
