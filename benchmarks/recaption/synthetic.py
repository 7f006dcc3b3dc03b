"""What the offline captioner says of the pool, with an encoder that never saw pool or test.

The shipped heads learnt from drawings like these; so the captioner gets heads that were trained
on the filters' side alone. Its words' likelihoods stay as they were fitted for the shipped ones.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.embedded import heads
from benchmarks.embedded.features import load
from benchmarks.embedded.report import Bench, with_share
from benchmarks.embedded.splits import canonical
from benchmarks.proof.scores import _lessons
from benchmarks.proof.sides import Sides
from filters import embedded
from recaption import concepts

KINDS = ("short", "tags")
_EPOCHS = 40  # as in benchmarks.proof
_BATCH = 64
Said = dict[str, list[str | None]]


def said(bench: Bench, sides: Sides, data: Path, work: Path) -> Said:
    """The caption of each kind for the pool's rows, None where nothing is said; kept in `work`."""
    rows = sides.rows["pool"].tolist()
    learnt = [bench.pairs[row].path for row in sides.rows["encoder"]]
    named = [*learnt, *(bench.pairs[row].path for row in rows), str(concepts.Concepts.version)]
    digest = hashlib.sha256("\n".join(named).encode()).hexdigest()[:12]
    path = work / f"captions-{digest}.json"
    if not path.exists():
        found: Said = {kind: [] for kind in KINDS}
        with _taught(_heads(bench, sides)):
            for start in range(0, len(rows), _BATCH):
                part = [data / bench.pairs[row].path for row in rows[start : start + _BATCH]]
                _add(found, part)
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(found))
        partial.replace(path)
    stored: Said = json.loads(path.read_text())
    return stored


def _add(found: Said, paths: list[Path]) -> None:
    scorer = concepts.Concepts(kinds=KINDS)
    for row in scorer({"image": [load(path) for path in paths]})["captions"]:
        told = {one["kind"]: one["text"] for one in row}
        for kind in KINDS:
            found[kind].append(told.get(kind))


def _heads(bench: Bench, sides: Sides) -> dict[str, Any]:
    """Heads of the filters' side, as `benchmarks.proof` trains them."""
    settings = heads.Settings(members=1, epochs=_EPOCHS)
    held = {canonical(bench.pairs[r].caption) for s in ("pool", "test") for r in sides.rows[s]}
    names = [[name for name in own if canonical(name) not in held] for own in bench.names]
    return with_share(
        bench.taught(_lessons(bench, sides, "encoder"), names, settings), settings.share
    )


@contextmanager
def _taught(arrays: dict[str, Any]) -> Iterator[None]:
    """The captioner with these heads in place of the shipped ones."""
    kept = (concepts._vectors, concepts._matrix)
    for one in kept:
        one.cache_clear()
    with (
        patch.object(embedded, "_heads", lambda: arrays),
        patch.object(concepts, "_heads", lambda: arrays),
    ):
        yield
    for one in kept:
        one.cache_clear()
