"""What changed between two builds: which rows went in or out, and by which step."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.record import BuildRecord, open_record
from pipeline.steps import TAKEDOWN
from pipeline.verdicts import FAILED, KEPT

Change = tuple[str, str]  # verdict before, verdict after


@dataclass
class Difference:
    """Counts of rows by (verdict before, verdict after), and some keys of each.

    A row that one of the builds does not have is `absent` there. Copies of one pair that failed
    as duplicates are left out: the pair is compared once.
    """

    counts: Counter[Change] = field(default_factory=Counter)
    keys: dict[Change, list[str]] = field(default_factory=dict)
    more_copies: int = 0
    fewer_copies: int = 0

    @property
    def same(self) -> bool:
        moved = any(before != after for before, after in self.counts)
        return not moved and not self.more_copies and not self.fewer_copies


def tell(before: str, after: str, limit: int) -> str:
    """How the verdicts of two builds differ, for a person."""
    difference = compare(open_record(before), open_record(after), limit)
    return "\n".join(describe(difference, limit))


def compare(before: BuildRecord, after: BuildRecord, limit: int = 10) -> Difference:
    """The difference of two selections; rows are matched by key, so their order is no matter."""
    first, second = _rows(before), _rows(after)
    places = pc.index_in(second["key"], value_set=_whole(first["key"]))
    joined = second.append_column("before", _whole(first["verdict"]).take(places))
    joined = joined.append_column("times_before", _whole(first["times"]).take(places))
    found = Difference()
    _count(found, joined, limit)
    gone = first.filter(pc.is_null(pc.index_in(first["key"], value_set=_whole(second["key"]))))
    for row in gone.to_pylist():
        _add(found, (row["verdict"], ABSENT), row["key"], limit)
    return found


ABSENT = "absent"


def _rows(record: BuildRecord) -> pa.Table:
    """Key, verdict and times of every pair, sorted by key.

    A row that failed or was taken down is there only if no other has its key, and once.
    """
    tables = [t.select(["key", "verdict", "times"]) for t in record.verdicts().tables()]
    table = pa.concat_tables(tables)
    keys = table["key"].cast(pa.binary())
    table = table.set_column(0, "key", keys)
    failed = pc.is_in(table["verdict"], value_set=pa.array([FAILED, TAKEDOWN]))
    alive, dead = table.filter(pc.invert(failed)), table.filter(failed)
    lone = pc.is_null(pc.index_in(dead["key"], value_set=_whole(alive["key"])))
    # of a row that was tried again and then taken down, the attempts before have only failed
    dead = dead.filter(lone).group_by("key").aggregate([("verdict", "max"), ("times", "max")])
    dead = dead.rename_columns(["key", "verdict", "times"])
    return pa.concat_tables([alive, dead.cast(alive.schema)]).sort_by("key")


def _whole(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _count(found: Difference, joined: pa.Table, limit: int) -> None:
    before = pc.fill_null(joined["before"], ABSENT)
    joined = joined.set_column(joined.schema.get_field_index("before"), "before", before)
    groups = joined.group_by(["before", "verdict"]).aggregate([("key", "count")])
    for row in groups.to_pylist():
        change = (row["before"], row["verdict"])
        found.counts[change] += row["key_count"]
        if change[0] != change[1]:
            same = pc.and_(
                pc.equal(joined["before"], change[0]), pc.equal(joined["verdict"], change[1])
            )
            some = joined.filter(same)["key"].slice(0, limit).to_pylist()
            found.keys[change] = [key.hex() for key in some]
    stayed = joined.filter(
        pc.and_(pc.equal(joined["before"], KEPT), pc.equal(joined["verdict"], KEPT))
    )
    found.more_copies = pc.sum(pc.greater(stayed["times"], stayed["times_before"])).as_py() or 0
    found.fewer_copies = pc.sum(pc.less(stayed["times"], stayed["times_before"])).as_py() or 0


def _add(found: Difference, change: Change, key: bytes, limit: int) -> None:
    found.counts[change] += 1
    keys = found.keys.setdefault(change, [])
    if len(keys) < limit:
        keys.append(key.hex())


def describe(found: Difference, limit: int) -> Iterator[str]:
    """Lines for a person: what went out, what came in, what moved between steps."""
    if found.same:
        yield f"the same {found.counts[KEPT, KEPT]:,} rows are kept, each as often"
        return
    yield f"{found.counts[KEPT, KEPT]:,} rows are kept in both"
    for change, count in sorted(found.counts.items(), key=lambda item: (-item[1], item[0])):
        if change[0] == change[1]:
            continue
        yield f"{_direction(change)}: {count:,} rows, {_words(change)}"
        for key in found.keys.get(change, [])[:limit]:
            yield f"    {key}"
    if found.more_copies or found.fewer_copies:
        yield f"copies: {found.more_copies:,} rows have more, {found.fewer_copies:,} have fewer"


def _direction(change: Change) -> str:
    before, after = change
    return "out" if before == KEPT else "in" if after == KEPT else "still out"


def _words(change: Change) -> str:
    before, after = (_verdict(verdict) for verdict in change)
    return f"{before} -> {after}"


def _verdict(verdict: str) -> str:
    if verdict in (KEPT, FAILED):
        return verdict
    return "not in the pool" if verdict == ABSENT else f"dropped by {verdict}"
