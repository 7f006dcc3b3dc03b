"""What a build cost: the records that its tasks left in the ledger, summed by stage.

A record that is damaged is named, and its task counts as one without times.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline import storage
from pipeline.errors import DamagedFile
from pipeline.report_html import Content, Html, count, el, join, size, table

_ORDER = ("crawl", "survey", "ingest", "retry", "score", "render", "export")
_PARTS = ("of it loading", "waiting for data")
_NAMED = 5  # damaged records


@dataclass
class Stage:
    """The tasks of one stage together; a class because it is summed up task by task."""

    name: str
    tasks: int = 0
    failed: int = 0
    rows: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    load_s: float = 0.0
    wait_s: float = 0.0
    peak_memory_bytes: int = 0
    damaged: list[str] = field(default_factory=list)

    def add(self, record: Mapping[str, object]) -> None:
        """Count one task in; a task whose worker died has no times.

        Raises ValueError, and counts nothing, when the record holds what is no record.
        """
        stats = record.get("stats", {})
        if record.get("status") not in ("done", "failed") or not isinstance(stats, dict):
            raise ValueError("no status or no stats")
        rows = int(_amount(stats.get("rows", stats.get("samples"))))
        wall_s, cpu_s = _amount(record.get("wall_s")), _amount(record.get("cpu_s"))
        load_s, wait_s = _amount(stats.get("load_s")), _amount(stats.get("wait_s"))
        memory = int(_amount(record.get("peak_memory_bytes")))
        self.tasks += 1
        self.failed += record["status"] == "failed"
        self.rows += rows
        self.wall_s += wall_s
        self.cpu_s += cpu_s
        self.load_s += load_s
        self.wait_s += wait_s
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)


def _amount(value: object) -> float:
    """A number that something can cost; nothing is 0. Raises ValueError for anything else."""
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or not 0 <= value < math.inf or value > 1e300:
        raise ValueError(f"{value!r} is no amount")
    return float(value)


def stages(out: str) -> list[Stage]:
    """Every stage that has a ledger, in the order of the work."""
    folder = storage.join(out, "ledger")
    found: dict[str, Stage] = {}
    if storage.exists(folder):
        for name in storage.files_below(folder):
            stage, slash, file = name.partition("/")
            if slash and file.endswith(".json"):
                _add(found.setdefault(stage, Stage(stage)), storage.join(folder, name))
    return sorted(found.values(), key=lambda stage: (_place(stage.name), stage.name))


def _add(stage: Stage, path: str) -> None:
    try:
        stage.add(storage.read_fields(path, "status"))
    except FileNotFoundError:  # a build that runs at this moment has begun the task again
        return
    except (DamagedFile, ValueError):
        stage.tasks += 1
        stage.damaged.append(path)


def _place(name: str) -> int:
    kind = name.partition("-")[0]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def cost(found: Iterable[Stage]) -> Html:
    """The table of stages."""
    listed = list(found)
    if not listed:
        return el("p", "There is no ledger.", class_="soft")
    head = ("stage", "tasks", "rows", "time", *_PARTS, "CPU", "CPU per row", "peak memory")
    note = (
        "Times are sums over tasks, which may have run at once. What was done already when a"
        " build was run again is not counted twice; stages of earlier recipes stay listed."
        " Of scoring it is said how long models were loaded and warmed up, and how long scorers"
        " waited for images: on the CPU, where nothing is read ahead, all reading and decoding."
    )
    damaged = [path for stage in listed for path in stage.damaged]
    parts: list[Content] = [table(head, _rows(listed)), el("p", note, class_="small soft")]
    if damaged:
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        named = f"{', '.join(damaged[:_NAMED])}{more}"
        parts.append(el("p", f"Damaged, and not counted: {named}.", class_="notice"))
    return join(parts)


def _rows(listed: list[Stage]) -> Iterator[tuple[Content, ...]]:
    for stage in listed:
        failed = f" ({count(stage.failed)} failed)" if stage.failed else ""
        yield (
            _title(stage.name),
            count(stage.tasks) + failed,
            count(stage.rows),
            seconds(stage.wall_s),
            seconds(stage.load_s) if stage.load_s else "–",
            seconds(stage.wait_s) if stage.wait_s else "–",
            seconds(stage.cpu_s),
            f"{1000 * stage.cpu_s / stage.rows:,.2f} ms" if stage.rows else "–",
            size(stage.peak_memory_bytes) if stage.peak_memory_bytes else "–",
        )
    wall, cpu = sum(stage.wall_s for stage in listed), sum(stage.cpu_s for stage in listed)
    most = max(stage.peak_memory_bytes for stage in listed)
    total = ["together", "", "", seconds(wall), "", "", seconds(cpu), "", size(most)]
    yield tuple(el("b", text) for text in total)


def _title(name: str) -> str:
    """A stage's folder as words, without the digest of an export."""
    kind, _, rest = name.partition("-")
    return kind if kind in ("render", "export") else f"{kind} {rest.replace('-', ' ')}".strip()


def seconds(value: float) -> str:
    """A time for a person."""
    if value >= 7200:
        return f"{value / 3600:,.1f} h"
    if value >= 120:
        return f"{value / 60:.1f} min"
    return f"{value:.1f} s" if value >= 0.05 else f"{1000 * value:.0f} ms"
