"""The texts of the rows that a report shows: the one that is written, and what else there is.

They are read for these rows alone, and cut: captions may be many and long.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.errors import RecipeError
from pipeline.export_texts import choices
from pipeline.pool import BASE, CAPTION, Shard, read_base
from pipeline.recipe import parse_recipe
from pipeline.record import BuildRecord
from pipeline.report_html import short
from pipeline.report_sample import Rows, Sample
from pipeline.texts import Choice

MOST = 6
"""How many texts of a row are shown."""
_LONGEST, _WORD, _MOST_FLAGS = 240, 40, 6
_RAW = Choice(("caption",))
_LIST = f"list<item: {CAPTION}>"
_NONE: Mapping[str, Any] = {"columns": {}}


class Text(NamedTuple):
    """A text of a row: whether it is its `.txt`, where it comes from, what is wrong with it."""

    text: str
    is_written: bool = False
    origin: str = ""
    flags: tuple[str, ...] = ()


class Texts(NamedTuple):
    """Some texts of a row, the written one first; `more` are not shown, nor are their texts."""

    shown: tuple[Text, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class _Plan:
    """How the `.txt` is chosen, by which seed, and the columns of captions to be shown."""

    txt: Choice = _RAW
    seed: int = 0
    columns: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(["key", "caption", *self.txt.reads, *self.columns]))


def texts(record: BuildRecord, sample: Sample, rows: Iterable[int]) -> dict[int, Texts]:
    """The texts of these rows; of a row that is not kept nothing is written."""
    plan, kept = _plan(record), sample.kept
    chosen = np.array(sorted(set(rows)), np.int64)
    found: dict[int, Texts] = {}
    for number in np.unique(sample.shard[chosen]).tolist():
        here = chosen[sample.shard[chosen] == number]
        places = here - int(np.searchsorted(sample.shard, number))  # a shard's rows are together
        values = _values(record, sample.shards[number], plan.reads, places)
        for row, told in zip(here.tolist(), values, strict=True):
            found[row] = _of_row(plan, told, bool(kept[row]))
    return found


def _plan(record: BuildRecord) -> _Plan:
    """By the recipe of the build; where that can't be read any more, the raw caption."""
    kinds = {n: k for told in record.scorers.values() for n, k in told["columns"].items()}
    listed = [name for name, kind in kinds.items() if kind == _LIST]
    try:
        recipe = parse_recipe(record.recipe, record.recipe_file)
    except RecipeError:  # one of an earlier version
        return _Plan(columns=tuple(listed))
    entries = [entry.name for entry in recipe.scorers]
    by_name = [c for name in entries for c in record.scorers.get(name, _NONE)["columns"]]
    listed.sort(key=lambda name: by_name.index(name) if name in by_name else -1)
    txt, files = choices(recipe.captions)
    wanted = [*txt.columns, *(c for one in files.values() for c in one.columns)]
    wanted += recipe.captions.told
    written = tuple(n for n in dict.fromkeys(wanted) if n in listed or n == "captions")
    if not {*txt.reads} <= {*kinds, *BASE.names}:
        txt = _RAW
    return _Plan(txt, recipe.export.seed, written or tuple(listed))


def _values(
    record: BuildRecord, shard: Shard, names: Sequence[str], places: Rows
) -> list[dict[str, Any]]:
    """The values of some rows of a shard in some columns."""
    base = [name for name in names if name in BASE.names]
    table = read_base(record.pool.root, shard, base).take(pa.array(places))
    for name in names:
        if name not in base:
            column = record.columns[name].read(shard, [name])[name]
            table = table.append_column(name, column.take(pa.array(places)))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def _of_row(plan: _Plan, row: Mapping[str, Any], is_kept: bool) -> Texts:
    written = plan.txt.text(row, row["key"], plan.seed, "txt") if is_kept else None
    found: dict[str, Text] = {} if written is None else {written: Text(written, is_written=True)}
    for one in _listed(plan, row):
        known = found.get(one.text, one)
        flags = tuple(sorted({*known.flags, *one.flags}))
        found[one.text] = known._replace(flags=flags, origin=known.origin or one.origin)
    shown = tuple(_cut(one) for one in [*found.values()][:MOST])
    return Texts(shown, len(found) - len(shown))


def _listed(plan: _Plan, row: Mapping[str, Any]) -> Iterator[Text]:
    """Every caption of a row with its column, the raw one first."""
    if row["caption"] is not None:
        yield Text(row["caption"], origin="raw")
    for column in plan.columns:
        for caption in row[column] or ():
            if caption is not None and caption["text"] is not None:
                words = [caption[name] for name in ("origin", "kind", "language")]
                said = " ".join(dict.fromkeys(short(word, _WORD) for word in words if word))
                flags = [flag for flag in caption["flags"] or () if flag is not None]
                yield Text(caption["text"], origin=f"{column}: {said}", flags=tuple(flags))


def _cut(one: Text) -> Text:
    flags = [short(flag, _WORD) for flag in one.flags[:_MOST_FLAGS]]
    flags += ["…"] * (len(one.flags) > _MOST_FLAGS)
    return one._replace(text=short(one.text, _LONGEST), flags=tuple(flags))
