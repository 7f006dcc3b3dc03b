"""How well a build finds faults that were planted on purpose: recall by fault, precision by step.

A table of faults names rows by their `source_key`. Columns: `file` and `fault` (`none`: a clean
row); optional are `of` (the row that it is a copy of), `expect` (`keep` for what looks like a
fault and is none, else `drop`) and `step` (the one that should find it; several with `|`).
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.errors import CurationError, RecipeError
from pipeline.pool import read_base
from pipeline.record import BuildRecord
from pipeline.verdicts import FAILED, KEPT

FILE = "faults.json"
NONE, KEEP, DROP = "none", "keep", "drop"
DUPLICATE = "failed: duplicate_key"
_LISTED, _TOLD = 12, 4
Table = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """A row with a fault. `steps` may be empty; `is_clean` rows ought to be kept."""

    file: str
    fault: str
    of: str | None
    steps: tuple[str, ...]
    is_clean: bool


@dataclass(frozen=True)
class Outcome:
    """What happened to a row: kept, the step that dropped it, or the reason why it failed."""

    verdict: str
    reason: str | None = None

    @property
    def is_kept(self) -> bool:
        return self.verdict == KEPT

    @property
    def label(self) -> str:
        return f"failed: {self.reason}" if self.verdict == FAILED else self.verdict


@dataclass(frozen=True)
class Found:
    """A planted row, the row that stands for it (another if the two changed places), its outcome.

    No outcome: that row is not in the pool.
    """

    planted: Planted
    row: str
    outcome: Outcome | None

    @property
    def is_dropped(self) -> bool:
        return self.outcome is not None and not self.outcome.is_kept

    @property
    def by(self) -> str:
        return self.outcome.label if self.is_dropped and self.outcome else ""


def read_faults(path: str) -> list[Planted]:
    """The rows of a table of faults. Raises RecipeError when it is none."""
    text = storage.read_bytes(path).decode("utf-8-sig", "replace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    for name in ("file", "fault"):
        if name not in (rows.fieldnames or ()):
            found = ", ".join(rows.fieldnames or ()) or "none"
            raise RecipeError(f"{path}: there is no column {name!r}; found {found}")
    planted = [_planted(row) for row in rows if row["file"] and row["fault"]]
    if not planted:
        raise RecipeError(f"{path}: no row has a file and a fault")
    return planted


def _planted(row: Mapping[str, str | None]) -> Planted:
    steps = (name.strip() for name in (row.get("step") or "").split("|"))
    return Planted(
        file=row["file"] or "",
        fault=row["fault"] or "",
        of=row.get("of") or None,
        steps=tuple(name for name in steps if name),
        is_clean=row["fault"] == NONE or (row.get("expect") or DROP).strip() == KEEP,
    )


def fault_table(record: BuildRecord, path: str) -> Table:
    """The faults of `path` against the verdicts of a build, as plain data.

    Found is a fault whose row is not kept. Of two rows that are alike a step of kind `one_per`
    keeps either: when it drops the row that a fault is a copy of, the two change places. Raises
    CurationError when no row of the pool is named in the table.
    """
    planted = read_faults(path)
    outcomes = dict(_outcomes(record))
    if not any(one.file in outcomes for one in planted):
        raise CurationError(f"{path}: none of its {len(planted)} files is in the pool")
    verdicts = record.verdicts()
    steps = verdicts.summary["steps"]
    choosing = {DUPLICATE, *(step["name"] for step in steps if step["kind"] == "one_per")}
    stands = _changed_places(planted, outcomes, choosing)
    found = [
        Found(one, row, outcomes.get(row))
        for one in planted
        for row in [stands.get(one.file, one.file)]
    ]
    faulty = {one.row for one in found if not one.planted.is_clean}
    hits = Counter(outcomes[row].label for row in faulty if row in outcomes)
    return {
        "format": 1,
        "table": path.rpartition("/")[2],
        "selection": verdicts.digest,
        "kinds": [_kind(kind, found) for kind in dict.fromkeys(one.fault for one in planted)],
        "steps": list(_steps(verdicts.summary, found, hits)),
        "clean": _clean(outcomes, faulty),
    }


def _outcomes(record: BuildRecord) -> Iterator[tuple[str, Outcome]]:
    """(source key, outcome) of every row that has a source key."""
    verdicts = record.verdicts()
    for shard in record.pool.shards:
        base = read_base(record.pool.root, shard, ["source_key", "failed"])
        found = verdicts.of_shard(shard.name)["verdict"].to_pylist()
        for row, verdict in zip(base.to_pylist(), found, strict=True):
            if row["source_key"] is not None:
                yield row["source_key"], Outcome(verdict, row["failed"])


def _changed_places(
    planted: Sequence[Planted], outcomes: Mapping[str, Outcome], choosing: set[str]
) -> dict[str, str]:
    """Which row stands for which, both ways, where an original went and its copy did not."""
    stands: dict[str, str] = {}
    for one in planted:
        own, original = outcomes.get(one.file), outcomes.get(one.of or "")
        if one.of is None or own is None or original is None or one.of in stands:
            continue
        if original.label in choosing and own.label not in choosing:
            stands |= {one.file: one.of, one.of: one.file}
    return stands


def _kind(kind: str, found: Sequence[Found]) -> Table:
    """All planted rows of one fault."""
    named = [one for one in found if one.planted.fault == kind]
    there = [one for one in named if one.outcome is not None]
    right = [one for one in there if one.is_dropped != one.planted.is_clean]
    return {
        "fault": kind,
        "expect": KEEP if all(one.planted.is_clean for one in named) else DROP,
        "planted": len(there),
        "right": len(right),
        "by": dict(Counter(one.by for one in there if one.is_dropped)),
        "wrong": sorted(one.planted.file for one in there if one not in right)[:_LISTED],
        "not_in_pool": len(named) - len(there),
    }


def _steps(
    summary: Mapping[str, Any], found: Sequence[Found], hits: Mapping[str, int]
) -> Iterator[Table]:
    """For each step what it dropped, how much of that was planted, and what it was meant to."""
    dropped = {f"failed: {reason}": rows for reason, rows in summary["failed"].items()}
    dropped |= {step["name"]: summary["dropped"].get(step["name"], 0) for step in summary["steps"]}
    for name, rows in dropped.items():
        meant = [one for one in found if name in one.planted.steps and one.outcome is not None]
        by_it = sum(one.by == name for one in meant)
        yield {
            "step": name,
            "dropped": rows,
            "planted": hits.get(name, 0),
            "meant": len(meant),
            "found": by_it,
            "elsewhere": sum(one.is_dropped for one in meant) - by_it,
        }


def _clean(outcomes: Mapping[str, Outcome], faulty: set[str]) -> Table:
    """The rows without a fault: how many were kept, and by what the others went."""
    rest = [outcome for name, outcome in outcomes.items() if name not in faulty]
    return {
        "rows": len(rest),
        "kept": sum(outcome.is_kept for outcome in rest),
        "lost": dict(Counter(outcome.label for outcome in rest if not outcome.is_kept)),
    }


def write_table(out: str, table: Table) -> None:
    """Put a table where the report of the build finds it."""
    storage.write_json(storage.join(out, FILE), table)


def read_table(out: str) -> Table | None:
    """The table that was written for a build; None when there is none."""
    path = storage.join(out, FILE)
    if not storage.exists(path):
        return None
    table: Table = storage.read_json(path)
    return table


def fault_text(table: Table) -> str:
    """The table for the terminal."""
    kinds = table["kinds"]
    faults = [kind for kind in kinds if kind["expect"] == DROP]
    others = [kind for kind in kinds if kind["expect"] == KEEP]
    head = ["step", "dropped", "planted", "precision", "meant for it", "by it", "elsewhere"]
    steps = [head, *(step_cells(step) for step in table["steps"])]
    blocks = [
        [["fault", "planted", "found", "recall", "by", "slipped through"], *map(_cells, faults)],
        [["no fault", "rows", "kept", "share", "dropped by", "such as"], *map(_cells, others)],
    ]
    lines = [list(_aligned(block, (1, 2, 3))) for block in blocks if len(block) > 1]
    lines.append(list(_aligned(steps, range(1, len(head)))))
    return "\n\n".join(["\n".join(block) for block in lines] + [clean_text(table)])


def _cells(kind: Table) -> list[str]:
    wrong = " ".join(kind["wrong"][:_TOLD])
    more = " …" if kind["planted"] - kind["right"] > _TOLD else ""
    return [*kind_cells(kind), labels(kind["by"]), wrong + more]


def kind_cells(kind: Table) -> list[str]:
    """Name, rows, rows dealt with as they should, and the share: recall of a fault."""
    rows, right = kind["planted"], kind["right"]
    return [kind["fault"], f"{rows:,}", f"{right:,}", percent(right, rows)]


def step_cells(step: Table) -> list[str]:
    """Name, rows dropped, of them planted, precision; rows meant for it, found by it, by others."""
    counts = [f"{step[name]:,}" for name in ("meant", "found", "elsewhere")]
    precision = percent(step["planted"], step["dropped"])
    return [step["step"], f"{step['dropped']:,}", f"{step['planted']:,}", precision, *counts]


def labels(counts: Mapping[str, int]) -> str:
    """Counts by label, from the largest."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{name} {rows:,}" for name, rows in ordered)


def clean_text(table: Mapping[str, Any]) -> str:
    """What became of the rows without a fault, as a sentence."""
    clean = table["clean"]
    kept = f"{clean['kept']:,} of {clean['rows']:,} rows without a fault were kept"
    lost = f"; lost: {labels(clean['lost'])}" if clean["lost"] else ""
    return f"{kept}, {percent(clean['kept'], clean['rows'])}{lost}"


def percent(part: int, whole: int) -> str:
    """A share with the count of few rows in mind: whole percents."""
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _aligned(rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{cell:>{width}}" if n in numbers else f"{cell:<{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
