"""The pictures of a report: for every step what it dropped and why, and what was kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.record import BuildRecord
from pipeline.report_conditions import rule
from pipeline.report_gallery import Group, Item, choose, choose_kept
from pipeline.report_html import Content, Html, count, el, join, number, share, short, table
from pipeline.report_pictures import DATA, pictures
from pipeline.report_sample import Sample

_CAPTION = 240
_CUTS = 20
Shown = Mapping[int, str]


def galleries(record: BuildRecord, summary: Mapping[str, Any], sample: Sample) -> tuple[Html, Html]:
    """What the steps dropped, and some of what was kept."""
    chosen = [(step, choose(sample, step, summary["cuts"])) for step in summary["steps"]]
    kept = choose_kept(sample)
    items = [*kept, *(item for _, groups in chosen for group in groups for item in group.items)]
    rows = [row for item in items for row in (item.row, item.other) if row is not None]
    shown = pictures(record.pool.root, sample, rows)
    parts = [_step(summary, sample, step, groups, shown) for step, groups in chosen]
    if not kept:
        return join(parts), el(
            "p", "No row was kept." if sample.is_whole else "None in the sample."
        )
    return join(parts), _gallery(sample, kept, shown)


def _step(
    summary: Mapping[str, Any],
    sample: Sample,
    step: Mapping[str, Any],
    groups: Sequence[Group],
    shown: Shown,
) -> Html:
    dropped = summary["dropped"].get(step["name"], 0)
    parts: list[Content] = [
        el("h3", step["name"], id=f"step-{step['name']}"),
        el("p", el("code", rule(step)), f" – dropped {count(dropped)}"),
    ]
    if step["kind"] == "top":
        parts.append(_cuts(summary, step))
    if dropped and not groups:
        parts.append(el("p", "None of these rows is in the sample.", class_="soft"))
    found = sum(group.rows for group in groups)
    for group in groups:
        if group.title:
            told = f": {count(group.rows)} rows, {share(group.rows, found)} of the step's"
            parts.append(el("p", "not ", el("code", group.title), told, class_="small"))
        if group.items:
            parts.append(_gallery(sample, group.items, shown))
    return join(parts)


def _cuts(summary: Mapping[str, Any], step: Mapping[str, Any]) -> Html | None:
    """Where `top` cut each group; nothing more than the chart says when there is one."""
    cuts = [cut for cut in summary["cuts"] if cut["step"] == step["name"]]
    rows = [
        (
            ", ".join("(none)" if name is None else short(name, 40) for name in cut["group"]),
            count(cut["rows"]),
            count(cut["kept"]),
            share(cut["kept"], cut["rows"]),
            number(cut["value"]),
        )
        for cut in cuts
    ]
    if not step["per"]:
        return el("p", f"Cut at {rows[0][-1]}.") if rows else None
    head = (", ".join(step["per"]), "rows", "kept", "share", f"cut at {step['column']}")
    if len(rows) <= _CUTS:
        return table(head, rows)
    title = el("summary", f"the cuts of the {len(rows)} largest groups")
    return el("details", title, table(head, rows))


def _gallery(sample: Sample, items: Sequence[Item], shown: Shown) -> Html:
    rows = np.array([item.row for item in items], np.int64)
    captions, keys = sample.values("caption", rows), sample.values("key", rows)
    figures = [
        _figure(item, caption, key.hex(), shown)
        for item, caption, key in zip(items, captions, keys, strict=True)
    ]
    paired = any(item.other is not None for item in items)
    return el("div", *figures, class_="gallery pairs" if paired else "gallery")


def _figure(item: Item, caption: str | None, key: str, shown: Shown) -> Html:
    frames = [_frame(shown[item.row], "dropped" if item.other is not None else "")]
    if item.other is not None:
        frames.append(_frame(shown[item.other], "stayed"))
    return el(
        "figure",
        el("div", *frames, class_="frames"),
        el("figcaption", *_words(item, caption, key)),
    )


def _frame(picture: str, kind: str) -> Html:
    if not picture.startswith(DATA):
        return el("div", el("div", picture, class_="none"), class_=kind or None)
    words = {"dropped": "the row that was dropped", "stayed": "the row that stayed"}
    image = el("img", src=picture, alt=words.get(kind, ""), loading="lazy")
    return el("div", image, class_=kind or None)


def _words(item: Item, caption: str | None, key: str) -> Iterator[Content]:
    if item.reason:
        yield el("b", item.reason)
    text = "(no caption)" if caption is None else short(caption, _CAPTION)
    yield el("q", text, dir="auto")
    yield el("code", key[:12])
