"""The report of a build: `report.html`, one static file, and the short table for the terminal.

It reads what the build left behind and changes nothing. The same build gives the same page but for
the times in it.
"""

from typing import TYPE_CHECKING

from pipeline import faults, storage
from pipeline.amplification import amplification
from pipeline.record import BuildRecord, open_record
from pipeline.report_columns import measured, thresholds
from pipeline.report_cost import cost, stages
from pipeline.report_faults import planted_faults
from pipeline.report_html import Html, el, join, page, section, share
from pipeline.report_sample import SAMPLE_ROWS, Sample, take_sample
from pipeline.report_sections import (
    breakdowns,
    failures,
    funnel,
    headline,
    made_of,
    notices,
    steps_of,
    title,
)
from pipeline.report_steps import galleries
from pipeline.verdicts import Verdicts

if TYPE_CHECKING:
    from pipeline.build import Build

FILE = "report.html"


def write_report(build: "Build") -> str:
    """Write the report of a finished build; returns its path."""
    return write(build.out)


def rewrite(out: str) -> None:
    """Write the report of the build in `out` again, and print its path."""
    print(write(out))


def show_faults(path: str, out: str) -> None:
    """Print how well the build in `out` finds the faults listed in `path`; also in the report."""
    table = faults.fault_table(open_record(out), path)
    faults.write_table(out, table)
    print(faults.fault_text(table))
    rewrite(out)


def write(out: str, sample_rows: int = SAMPLE_ROWS) -> str:
    """Write the report of the build in `out`, drawn from some `sample_rows` rows; its path."""
    path = storage.join(out, FILE)
    storage.write_atomic(path, make_page(out, sample_rows).encode())
    return path


def make_page(out: str, sample_rows: int = SAMPLE_ROWS) -> Html:
    """The report as HTML. Raises CurationError when nothing is selected in `out`."""
    record = open_record(out)
    verdicts, manifest = record.verdicts(), record.manifest()
    sample = take_sample(record, verdicts, sample_rows)
    name, parts = title(record), _parts(record, verdicts, sample)
    content = [
        el("h1", name),
        el("p", "A pairmill report: what went in, what came out, and why.", class_="soft"),
        _contents(list(parts)),
        headline(verdicts.summary, manifest),
        notices(verdicts.summary, manifest, verdicts.digest, sample),
        *(section(head, body, anchor=_anchor(head)) for head, body in parts.items()),
    ]
    return page(f"{name} – pairmill report", join(content))


def _parts(record: BuildRecord, verdicts: Verdicts, sample: Sample) -> dict[str, Html]:
    """The sections of the page by their headings."""
    summary, manifest = verdicts.summary, record.manifest()
    dropped, kept = galleries(record, summary, sample)
    planted = faults.read_table(record.out)
    found = {} if planted is None else {"Planted faults": planted_faults(planted, verdicts.digest)}
    return {
        "Where the rows went": funnel(summary, manifest),
        **found,
        "What failed": failures(summary, sample, list(record.scorers), manifest),
        "Kept rate": breakdowns(summary),
        "What was kept": kept,
        "What each step dropped": dropped,
        "What was measured": measured(record, sample, thresholds(summary)),
        "Time and memory": cost(stages(record.out)),
        "Recipe": el("pre", record.recipe),
        "Fingerprints": made_of(record, verdicts.digest, manifest),
    }


def _contents(titles: list[str]) -> Html:
    return el("nav", *[el("a", text, href=f"#{_anchor(text)}") for text in titles])


def _anchor(text: str) -> str:
    return text.lower().replace(" ", "-")


def attrition_text(verdicts: Verdicts) -> str:
    """Where the rows went, as a table for the terminal: failed by reason, each step, warnings."""
    summary = verdicts.summary
    total = left = summary["rows"]
    lines = [("rows in", 0, total)]
    for reason, count in summary["failed"].items():
        left -= count
        lines.append((f"failed: {reason}", count, left))
    for step in steps_of(summary):
        left -= step["dropped"]
        lines.append((step["name"], step["dropped"], left))
    width = max(len(name) for name, _, _ in lines)
    shown = [f"{'':<{width}}  {'dropped':>13}  {'left':>13}  {'share':>8}"]
    for name, dropped, rest in lines:
        gone = f"{dropped:,}" if dropped else "–"
        shown.append(f"{name:<{width}}  {gone:>13}  {rest:>13,}  {share(rest, total):>8}")
    if again := summary.get("retried", 0):
        shown.append(f"{again:,} earlier attempts of rows that were tried again count no more")
    if summary["copies"] != summary["kept"]:
        shown.append(f"{summary['kept']:,} rows are kept, as {summary['copies']:,} copies")
    if (told := amplification(summary)) is not None:
        shown.append(f"images {told}")
    return "\n".join([*shown, *(f"warning: {text}" for text in summary["warnings"])])
