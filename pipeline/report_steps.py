"""The pictures of a report: for every step what it dropped and why, and what was kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.record import BuildRecord
from pipeline.report_conditions import rule
from pipeline.report_gallery import Group, Item, choose, choose_kept
from pipeline.report_html import (
    Content,
    Html,
    count,
    el,
    join,
    number,
    rows_of,
    share,
    short,
    table,
)
from pipeline.report_pictures import DATA, pictures
from pipeline.report_sample import Sample
from pipeline.report_texts import Text, Texts, texts

_CUTS = 20


class Shown(NamedTuple):
    """By row: a picture, or why there is none, and the texts."""

    pictures: Mapping[int, str]
    texts: Mapping[int, Texts]


def galleries(record: BuildRecord, summary: Mapping[str, Any], sample: Sample) -> tuple[Html, Html]:
    """What the steps dropped, and some of what was kept."""
    chosen = [(step, choose(sample, step, summary["cuts"])) for step in summary["steps"]]
    kept = choose_kept(sample)
    items = [*kept, *(item for _, groups in chosen for group in groups for item in group.items)]
    items += [item.other for item in items if item.other is not None]
    rows = [item.row for item in items]
    shown = Shown(pictures(record.pool.root, sample, rows), texts(record, sample, rows))
    parts = [
        _step(summary, sample, step, groups, shown)
        for step, groups in chosen
        if summary["dropped"].get(step["name"])
    ]
    idle = [step["name"] for step, _ in chosen if not summary["dropped"].get(step["name"])]
    if idle:
        parts.append(el("p", f"Nothing was dropped by: {', '.join(idle)}.", class_="soft"))
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
            of = f"{count(group.rows)} of " if group.rows < found else ""
            told = f" – {of}{rows_of(found)}" + ("" if sample.is_whole else " of the sample")
            parts.append(el("p", "fails ", el("code", group.title), told, class_="small"))
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
    if all(item.other is None for item in items):
        many = any(len(shown.texts[item.row].shown) > 1 for item in items)
        name = "gallery wide" if many else "gallery"
        return el("div", *[_figure(sample, item, shown) for item in items], class_=name)
    pairs = [el("div", *_both(sample, item, shown), class_="pair") for item in items]
    return el("div", *pairs, class_="gallery pairs")


def _both(sample: Sample, item: Item, shown: Shown) -> Iterator[Html]:
    yield _figure(sample, item, shown, el("span", "dropped", class_="tag drop"))
    if item.other is None:
        yield el("figure", el("div", "the row that stayed is not in the sample", class_="none"))
    else:
        yield _figure(sample, item.other, shown, el("span", "stayed", class_="tag kept"))


def _figure(sample: Sample, item: Item, shown: Shown, tag: Html | None = None) -> Html:
    at = np.array([item.row], np.int64)
    key = sample.values("key", at)[0].hex()
    words: list[Content] = [tag, el("b", item.reason) if item.reason else None]
    words += _texts(shown.texts[item.row], bool(sample.kept[item.row]))
    words.append(el("code", key[:12]))
    return el("figure", _frame(shown.pictures[item.row]), el("figcaption", *words))


def _texts(told: Texts, is_kept: bool) -> Iterator[Content]:
    """The texts of a row; of several each is told where it comes from."""
    if not told.shown:
        yield el("q", "(no caption)")
        return
    if is_kept and not told.shown[0].is_written:
        yield el("p", "no text to write", class_="from")
    many = len(told.shown) > 1 or bool(told.shown[0].flags) or told.shown[0].origin != "raw"
    for one in told.shown:
        yield el("q", one.text, dir="auto")
        if many:
            yield _origin(one)
    if told.more:
        yield el("p", f"and {count(told.more)} more", class_="from")


def _origin(one: Text) -> Html:
    written = el("span", "txt", class_="tag kept") if one.is_written else None
    flags = [el("span", flag, class_="tag drop", dir="auto") for flag in one.flags]
    return el("p", written, el("span", one.origin, dir="auto"), *flags, class_="from")


def _frame(picture: str) -> Html:
    if picture.startswith(DATA):
        return el("img", src=picture, alt="", loading="lazy")
    return el("div", picture, class_="none")
