"""What became of rows, pages and requests, as tables in Markdown."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.manual.builds import Row
from benchmarks.manual.site import ONCE_A_HOST, Asked
from benchmarks.manual.truth import KINDS
from benchmarks.measure import table

_NO_IMAGE = "pages that gave none"


def fates(rows: Sequence[Row], kinds: Mapping[str, str]) -> str:
    """Rows by what became of them and by what their image is, in the order of the selection."""
    counts = Counter((row.fate, kinds.get(row.path, _NO_IMAGE)) for row in rows)
    order = [fate for fate, _ in Counter(row.fate for row in rows).most_common() if fate != "kept"]
    order.sort(key=lambda fate: all(row.failed is None for row in rows if row.fate == fate))
    columns = [*KINDS, _NO_IMAGE]
    lines = [["rows in", *(_sum(counts, column) for column in columns), f"{len(rows):,}"]]
    for fate in [*order, "kept"]:
        found = [counts[fate, column] for column in columns]
        lines.append([fate, *(f"{count:,}" for count in found), f"{sum(found):,}"])
    return table(["rows", *columns, "all"], lines)


def _sum(counts: Mapping[tuple[str, str], int], column: str) -> str:
    return f"{sum(count for (_, kind), count in counts.items() if kind == column):,}"


def images(rows: Sequence[Row], kinds: Mapping[str, str]) -> str:
    """The same of images by their address: kept if one of its rows is, else why the first is not.

    An address has a row for each of its texts that carries the image.
    """
    fate = fate_of_images(rows)
    names = [*dict.fromkeys(name for name in fate.values() if name != "kept"), "kept"]
    counts = Counter((fate[path], kinds[path]) for path in fate)
    total = Counter(kinds[path] for path in fate)
    lines = [["images", *(f"{total[kind]:,}" for kind in KINDS)]]
    lines += [[name, *(f"{counts[name, kind]:,}" for kind in KINDS)] for name in sorted(names)]
    return table(["images by address", *KINDS], lines)


def fate_of_images(rows: Iterable[Row]) -> dict[str, str]:
    """What became of each address."""
    found: dict[str, str] = {}
    for row in rows:
        if row.url is None:
            continue
        known = found.get(row.path)
        if row.fate == "kept" or known in (None, "duplicate_key", "no_text"):
            found[row.path] = row.fate
    return found


def odd_rows(rows: Sequence[Row], kinds: Mapping[str, str], file: Path) -> tuple[int, int]:
    """Write chrome that is kept and figures that are not; how many rows of each it is.

    Repeats are left out: the pair is told once.
    """
    chrome = [row for row in rows if kinds.get(row.path) == "chrome" and row.fate == "kept"]
    lost = [
        row
        for row in rows
        if kinds.get(row.path) == "figure" and row.fate not in ("kept", "duplicate_key")
    ]
    with file.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(["what", "fate", "width", "height", "path", "caption"])
        for what, some in (("chrome kept", chrome), ("figure dropped", lost)):
            for row in sorted(some, key=lambda row: (row.fate, row.path, row.key)):
                lines.writerow([what, row.fate, row.width, row.height, row.path, row.caption])
    return len(chrome), len(lost)


def requests(asked: Sequence[Asked], images_due: int) -> str:
    """How often each kind of address was asked for."""
    of_kind: dict[str, Counter[tuple[str, str]]] = {}
    for one in asked:
        of_kind.setdefault(kind(one.path), Counter())[one.host, one.path] += 1
    lines = []
    for name, counts in of_kind.items():
        most = f"{max(counts.values())}"
        lines.append([name, f"{len(counts):,}", f"{sum(counts.values()):,}", most])
    lines.append(["images with a text, to be fetched", f"{images_due:,}", "", ""])
    return table(["asked for", "addresses", "requests", "most for one"], lines)


def kind(path: str) -> str:
    """What a request is for."""
    if path in ONCE_A_HOST:
        return path
    return "images" if path.startswith("/images/") else "pages"


def asked_twice(asked: Iterable[Asked]) -> int:
    """Requests beyond the first for a page or an image."""
    counts = Counter((one.host, one.path) for one in asked if one.path not in ONCE_A_HOST)
    return sum(counts.values()) - len(counts)


def busiest_second(asked: Iterable[Asked]) -> dict[str, int]:
    """The most requests of each address that began within any second."""
    times: dict[str, list[float]] = {}
    for one in asked:
        times.setdefault(one.host, []).append(one.at)
    return {host: _most(sorted(found)) for host, found in sorted(times.items())}


def _most(times: Sequence[float]) -> int:
    first, most = 0, 0
    for number, at in enumerate(times):
        while at - times[first] >= 1.0:
            first += 1
        most = max(most, number - first + 1)
    return most
