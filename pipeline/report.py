"""The report of a build: `report.html`, one static file, and the short table for the terminal.

Deterministic for a build but for the times it quotes; reads only what the build left behind.
"""

from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.record import open_record
from pipeline.verdicts import Verdicts

if TYPE_CHECKING:
    from pipeline.build import Build


def write_report(build: "Build") -> str:
    """Write the report of a finished build; returns its path."""
    return _write(build.out)


def rewrite(out: str) -> None:
    """Write the report of the build in `out` again, and print its path."""
    print(_write(out))


def _write(out: str) -> str:
    record = open_record(out)
    path = storage.join(out, "report.html")
    text = attrition_text(record.verdicts()).replace("&", "&amp;").replace("<", "&lt;")
    storage.write_atomic(path, f"<!doctype html><meta charset=utf-8><pre>{text}</pre>".encode())
    return path


def attrition_text(verdicts: Verdicts) -> str:
    """Where the rows went, as a table for the terminal: failed by reason, each step, warnings."""
    summary = verdicts.summary
    total = summary["rows"]
    lines = [("rows in", 0, total)]
    left = total
    for reason, count in summary["failed"].items():
        left -= count
        lines.append((f"failed: {reason}", count, left))
    for step, count in summary["dropped"].items():
        left -= count
        lines.append((step, count, left))
    width = max(len(name) for name, _, _ in lines)
    shown = [f"{'':<{width}}  {'dropped':>13}  {'left':>13}  {'share':>6}"]
    for name, dropped, rest in lines:
        share = rest / total if total else 0.0
        gone = f"{dropped:,}" if dropped else "-"
        shown.append(f"{name:<{width}}  {gone:>13}  {rest:>13,}  {share:>6.1%}")
    if summary["copies"] != summary["kept"]:
        shown.append(f"{summary['kept']:,} rows are kept, as {summary['copies']:,} copies")
    return "\n".join([*shown, *(f"warning: {text}" for text in summary["warnings"])])
