"""The parts of the page that count: headline, funnel, failures, kept rates, what it is made of."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.amplification import amplification
from pipeline.pool_rows import DUPLICATE
from pipeline.record import BuildRecord
from pipeline.report_conditions import rule
from pipeline.report_html import Content, Html, count, el, join, share, short, size, table
from pipeline.report_sample import TAKEDOWN, Sample

_EXAMPLES, _REPEATED = 3, 8
_BREAKDOWN_ROWS = 12
Summary = Mapping[str, Any]
Manifest = Mapping[str, Any] | None


def title(record: BuildRecord) -> str:
    """The recipe's file name without its ending."""
    return record.recipe_file.rpartition(".")[0] or record.recipe_file


def headline(summary: Summary, manifest: Manifest) -> Html:
    """What went in and what came out, in a few big numbers."""
    failed = sum(summary["failed"].values())
    tiles = [
        (count(summary["rows"]), "rows came in"),
        (count(failed), f"failed, {share(failed, summary['rows'])}"),
        (count(summary["kept"]), f"kept, {share(summary['kept'], summary['rows'])}"),
    ]
    if summary["copies"] != summary["kept"]:
        tiles.append((count(summary["copies"]), "copies of them chosen"))
    if manifest is not None:
        shards = manifest["shards"]
        tiles.append((count(manifest["ledger"]["written"]), "samples written"))
        if shards:  # a list of uids has none
            tiles.append((count(len(shards)), "training shards" if len(shards) > 1 else "shard"))
            tiles.append((size(sum(shard["size_bytes"] for shard in shards)), "on disk"))
    boxes = [el("div", el("b", big), el("span", small), class_="tile") for big, small in tiles]
    return el("div", *boxes, class_="tiles")


def notices(summary: Summary, manifest: Manifest, digest: str, sample: Sample) -> Html:
    """What a reader should know before the numbers."""
    texts = [str(warning) for warning in summary["warnings"]]
    if manifest is None:
        texts.append("Nothing is exported yet: this report ends with the selection.")
    elif manifest["selection"] != digest:
        texts.append("The export is of an earlier selection; run `pairmill export`.")
    if not sample.is_whole:
        texts.append(
            f"Charts, examples and pictures are from a sample of {count(sample.rows)} rows"
            f" ({count(len(sample.shards))} whole shards, evenly spread). All other counts are of"
            f" all {count(summary['rows'])} rows."
        )
    return join(el("p", text, class_="notice") for text in texts)


def steps_of(summary: Summary) -> list[dict[str, Any]]:
    """The steps that dropped rows or could have, in order, with what they left."""
    left = summary["rows"] - sum(summary["failed"].values())
    known = {step["name"]: step for step in summary["steps"]}
    names = [*([TAKEDOWN] if TAKEDOWN in summary["dropped"] else []), *known]
    found = []
    for name in names:
        dropped = summary["dropped"].get(name, 0)
        told = rule(known[name]) if name in known else "asked to be taken down"
        found.append({"name": name, "rule": told, "dropped": dropped, "before": left})
        left -= dropped
    return found


def funnel(summary: Summary, manifest: Manifest) -> Html:
    """Where the rows went, step by step, with bars."""
    total = summary["rows"]
    failed = sum(summary["failed"].values())
    rows = [_line("came in", "", (total, 0, 0), total)]
    if failed:
        rows.append(_line("failed", _reasons(summary["failed"]), (total, failed, 1), total))
    for step in steps_of(summary):
        numbers = (step["before"], step["dropped"], 0)
        rows.append(_line(_linked(step), step["rule"], numbers, total))
    head = ("step", "", "dropped", "of those it saw", "left", "of all")
    legend: list[Content] = []
    for name, text in (("kept", "left"), ("drop", "dropped by the step"), ("fail", "failed")):
        legend += [el("i", class_=f"key {name}"), text]
    parts = [
        el("p", *legend, class_="small soft"),
        el("div", table(head, rows, texts=2), class_="funnel"),
        el("p", _balance(summary, manifest)),
    ]
    return join(parts)


def _linked(step: Mapping[str, Any]) -> Html:
    """The name of a step, which leads to its pictures if it has any."""
    pictured = step["dropped"] and step["name"] != TAKEDOWN
    return (
        el("a", step["name"], href=f"#step-{step['name']}")
        if pictured
        else el("span", step["name"])
    )


def _line(
    name: str | Html, told: str, numbers: tuple[int, int, int], total: int
) -> tuple[Content, ...]:
    before, dropped, is_failure = numbers
    left = before - dropped
    bars = [("kept", left), ("fail" if is_failure else "drop", dropped)]
    width = [(cls, 100 * rows / total if total else 0.0) for cls, rows in bars]
    parts = [el("i", class_=cls, style=f"width:{wide:.2f}%") for cls, wide in width]
    return (
        join([el("strong", name), el("div", told, class_="rule") if told else None]),
        el("div", *parts, class_="bar"),
        count(dropped) if dropped else "–",
        share(dropped, before) if dropped else "–",
        count(left),
        share(left, total),
    )


def _reasons(failed: Mapping[str, int]) -> str:
    shown = [f"{reason} {count(rows)}" for reason, rows in _by_count(failed)]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _balance(summary: Summary, manifest: Manifest) -> str:
    """The ledger as a sentence."""
    dropped, failed = sum(summary["dropped"].values()), sum(summary["failed"].values())
    text = (
        f"{count(summary['rows'])} rows in = {count(summary['kept'])} kept"
        f" + {count(dropped)} dropped + {count(failed)} failed."
    )
    if manifest is None:
        return text
    ledger = manifest["ledger"]
    lost = sum(ledger["not_exported"].values())
    text += f" {count(ledger['copies'])} chosen = {count(ledger['written'])} written"
    return text + f" + {count(lost)} not exported."


def failures(summary: Summary, sample: Sample, scorers: Sequence[str], manifest: Manifest) -> Html:
    """Rows that failed on the way in, values that scorers could not give, images not written."""
    lost = {} if manifest is None else manifest["ledger"]["not_exported"]
    parts: list[Content] = [el("h3", "On the way in")]
    if summary["failed"]:
        rows = [
            (el("code", reason), _examples(sample, reason), count(rows), share(rows, _all(summary)))
            for reason, rows in _by_count(summary["failed"])
        ]
        parts.append(table(("reason", "for example", "rows", "of all"), rows, texts=2))
    else:
        parts.append(el("p", "Every row that came in was read."))
    parts.append(el("h3", "While scoring"))
    errors = list(_scorer_errors(sample, scorers))
    head = ("scorer", "reason", "for example", "rows")
    of = "" if sample.is_whole else " in the sample"
    none = el("p", f"No scorer failed for any row{of}.")
    parts.append(table(head, errors, texts=3) if errors else none)
    if lost:
        parts += [el("h3", "While writing"), table(("reason", "rows"), _counted(lost))]
    return join(parts)


def _counted(counts: Mapping[str, int]) -> Iterator[tuple[Content, ...]]:
    for reason, rows in _by_count(counts):
        yield el("code", reason), count(rows)


def _all(summary: Summary) -> int:
    return int(summary["rows"])


def _examples(sample: Sample, reason: str) -> Html:
    """Names of some rows that failed for a reason, and what was said of the first.

    Of repeats the texts that are repeated most: on pages that is their furniture.
    """
    failed = np.array(sample.columns["failed"].to_pylist(), object)
    rows = np.flatnonzero(failed == reason)
    if reason == DUPLICATE:
        texts = Counter(text for text in sample.values("caption", rows) if text)
        listed = [f"{short(text, 40)} ({count(n)})" for text, n in texts.most_common(_REPEATED)]
        return join([", ".join(listed), el("div", "rows that another carries", class_="rule")])
    rows = rows[:_EXAMPLES]
    names = [el("code", _name(sample, row)) for row in rows.tolist()]
    details = [text for text in sample.values("detail", rows) if text]
    told = el("div", short(details[0], 160), class_="rule") if details else None
    return join([_listed(names), told])


def _listed(names: Sequence[Html]) -> Html:
    return join(part for n, name in enumerate(names) for part in ((", " if n else None), name))


def _name(sample: Sample, row: int) -> str:
    """A row's name in its source, or its address, or its key."""
    at = np.array([row], np.int64)
    for column in ("source_key", "url"):
        if (value := sample.values(column, at)[0]) is not None:
            return short(str(value), 80)
    return str(sample.values("key", at)[0].hex())


def _scorer_errors(sample: Sample, scorers: Sequence[str]) -> Iterator[tuple[Content, ...]]:
    """Errors of each scorer by the first word of their reason."""
    for scorer in scorers:
        texts = sample.columns[f"{scorer}_error"].to_pylist()
        found: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            if text is not None:
                found.setdefault(text.partition(":")[0], []).append(row)
        for reason, rows in sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])):
            names = _listed([el("code", _name(sample, row)) for row in rows[:_EXAMPLES]])
            told = el("div", short(texts[rows[0]], 160), class_="rule")
            yield scorer, el("code", short(reason, 60)), join([names, told]), count(len(rows))


def breakdowns(summary: Summary) -> Html:
    """The share that was kept of each language, source and domain, and of generated images."""
    parts: list[Content] = []
    if (change := amplification(summary)) is not None:
        rest = "What holds no evidence counts as not known, so the true shares may be higher."
        parts.append(el("p", f"Images {change}. {rest}", class_="notice"))
    for found in summary["breakdowns"]:
        values = found["values"]
        parts.append(el("h3", f"By {found['column']}"))
        if len(values) == 1 and not found["other_values"]:
            only = values[0]["value"]
            told = "No row has one." if only is None else f"All rows have {short(only, 80)!r}."
            parts.append(el("p", told, class_="soft"))
            continue
        lines = [_value_line(value, summary["rows"]) for value in values]
        if found["other_values"]:
            name = f"{count(found['other_values'])} others"
            other = {"value": name, "rows": found["other_rows"], "kept": found["other_kept"]}
            lines.append(_value_line(other, summary["rows"]))
        head = (found["column"], "", "rows", "kept", "kept rate")
        parts.append(table(head, lines[:_BREAKDOWN_ROWS], texts=2))
        if len(lines) > _BREAKDOWN_ROWS:
            rest = table(head, lines[_BREAKDOWN_ROWS:], texts=2)
            more = el("summary", f"{len(lines) - _BREAKDOWN_ROWS} more")
            parts.append(el("details", more, rest))
    return join(parts)


def _value_line(value: Mapping[str, Any], total: int) -> tuple[Content, ...]:
    rows, kept = value["rows"], value["kept"]
    name = "(none)" if value["value"] is None else short(str(value["value"]), 80)
    rate = 100 * kept / rows if rows else 0.0
    bar = el("div", el("i", class_="kept", style=f"width:{rate:.1f}%"), class_="bar")
    return name, bar, count(rows), count(kept), share(kept, rows)


def made_of(record: BuildRecord, digest: str, manifest: Manifest) -> Html:
    """Fingerprints and versions: what has to be equal for a build to be the same."""
    names = [("pool", record.pool.digest), ("selection", digest)]
    if manifest is not None:
        names.append(("export", manifest["export"]))
        names += [(name, version) for name, version in sorted(manifest["versions"].items())]
    scorers = [
        (name, el("code", told["class"]), el("code", told["folder"]))
        for name, told in record.scorers.items()
    ]
    return join(
        [
            table(("scorer", "class", "fingerprint"), scorers, texts=3) if scorers else None,
            table(("part", "digest or version"), [(n, el("code", v)) for n, v in names], texts=2),
        ]
    )
