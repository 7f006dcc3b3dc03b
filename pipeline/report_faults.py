"""The report's part about faults that were planted on purpose."""

from collections.abc import Mapping
from typing import Any

from pipeline.faults import DROP, KEEP, clean_text, kind_cells, labels, step_cells
from pipeline.report_html import Content, Html, count, el, join, rows_of, table

_HEADS = {
    DROP: ("fault", "", "planted", "found", "recall"),
    KEEP: ("no fault", "", "rows", "kept", "share"),
}
_STEPS = ("step", "dropped", "planted", "precision", "meant for it", "found by it", "elsewhere")
_WRONG = {DROP: "slipped through: ", KEEP: "such as "}


def planted_faults(found: Mapping[str, Any], digest: str) -> Html:
    """Recall of each fault and precision of each step; a notice when they are of other verdicts."""
    name = el("code", found["table"])
    if found["selection"] != digest:
        told = " was checked against an earlier selection; run "
        return el("p", name, told, el("code", "pairmill faults"), " again.", class_="notice")
    parts: list[Content] = [el("p", "Faults that ", name, " says were planted among the rows.")]
    for expect in (DROP, KEEP):
        kinds = [_kind(kind) for kind in found["kinds"] if kind["expect"] == expect]
        parts.append(table(_HEADS[expect], kinds, texts=2) if kinds else None)
    absent = sum(kind["not_in_pool"] for kind in found["kinds"])
    if absent:
        told = f"{rows_of(absent)} of the table without a row in the pool."
        parts.append(el("p", told, class_="notice"))
    parts.append(el("p", clean_text(found), "."))
    parts.append(el("h3", "By step"))
    parts.append(table(_STEPS, [step_cells(step) for step in found["steps"]]))
    note = (
        "Precision is the planted share of what a step dropped. Of the rows meant for a step, some"
        " were found by it, some elsewhere, which may be before it."
    )
    return join([*parts, el("p", note, class_="soft small")])


def _kind(kind: Mapping[str, Any]) -> tuple[Content, ...]:
    """One fault: how many were dealt with as they should, by what, and which were not."""
    name, *numbers = kind_cells(dict(kind))
    told: list[Content] = [el("strong", name)]
    if kind["by"]:
        told.append(el("div", "dropped by " + labels(kind["by"]), class_="rule"))
    if kind["wrong"]:
        more = kind["planted"] - kind["right"] - len(kind["wrong"])
        rest = f" and {count(more)} more" if more else ""
        names = _WRONG[kind["expect"]] + ", ".join(kind["wrong"])
        told.append(el("div", names + rest, class_="rule"))
    share = 100 * kind["right"] / kind["planted"] if kind["planted"] else 0.0
    bar = el("div", el("i", class_="kept", style=f"width:{share:.1f}%"), class_="bar")
    return join(told), bar, *numbers
