"""Take rows out of use for good, and make the export again without them.

From the moment the list is recorded no verb uses what it names: not this export, not another
recipe over the pool, not an ingest of the same sources. What follows can be cut off anywhere and
is finished by running it again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import erasing, pool, report, storage, takedown_match
from pipeline import takedown_record as record
from pipeline.build import Build
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, RecipeError
from pipeline.manifest import manifest_path
from pipeline.places import refuse_foreign_shards
from pipeline.pool import Pool
from pipeline.recipe import Recipe, load_recipe, parse_recipe
from pipeline.record import FILE, read_manifest
from pipeline.steps import TAKEDOWN
from pipeline.takedown_record import Entry, Taken
from pipeline.verdicts import FAILED, Verdicts

Shards = Mapping[str, str]  # sha256 by name
_BEFORE = "takedown.json"
_SHOWN = 50


@dataclass(frozen=True)
class Before:
    """What an output directory held before rows were taken down: kept until that is done."""

    selected: bool
    exported: bool
    reported: bool
    shards: Shards


def recipe_of(out: str, path: str | None) -> Recipe:
    """The recipe of an output directory: as given, as its build noted it, or an empty one.

    Raises RecipeError when the build does not say where its recipe lay.
    """
    if path is not None:
        return load_recipe(path)
    noted = storage.join(out, FILE)
    if not storage.exists(noted):
        return parse_recipe("pool: .\n", storage.join(out, "recipe.yaml"))
    value = storage.read_fields(noted, "recipe", "recipe_file")
    folder = value.get("recipe_folder")
    if not isinstance(folder, str):
        raise RecipeError(f"{noted}: does not say where its recipe lies; give --recipe RECIPE")
    return parse_recipe(value["recipe"], storage.join(out, folder, value["recipe_file"]))


def run(build: Build, wanted: Sequence[Entry], erase: bool) -> Iterator[str]:
    """Take down what is wanted, and bring the output up to date; yields what a person should read.

    The caller holds the locks. Raises DamagedFile when a list of before is damaged.
    """
    for root in dict.fromkeys([build.root, build.out]):
        storage.sweep(root)
    before = _before(build.out)
    new = record.append(build.root, wanted)
    yield f"takedown: {len(new):,} new entries, {len(wanted) - len(new):,} known already"
    made = pool.open_stored(build.root)
    erase = erase or storage.exists(record.marker_path(build.root))
    if made is None:
        storage.remove(_before_path(build.out))
        yield (
            f"there is no pool in {build.root} yet, and ingest will not write there what is listed;"
            " if its pool is elsewhere, give --recipe"
        )
        return
    taken = takedown_match.bring_up(build, made)
    yield _told(build, made, taken)
    if erase and taken is not None:
        _clear_output(build.out, before.exported)
        erasing.erase(made)
        yield (
            f"erased: {len(record.tombstones(build.root)):,} rows of the pool by now; other outputs"
            " over it hold what they held until they are built again"
        )
    yield from _again(build, before)
    outcome = _outcome(build, before, erase)
    storage.write_json(_outcome_path(build), outcome)
    storage.remove(_before_path(build.out))
    if before.exported:
        yield _shards_text(outcome["outputs"][-1])


def _told(build: Build, made: Pool, taken: Taken | None) -> str:
    kinds = Counter(record.taken_rows(build.root)["kind"].to_pylist()) if taken else Counter()
    by = ", ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
    again = made.rows - made.rows_in
    of = f"{made.rows:,}" + (f", {again:,} of them earlier attempts," if again else "")
    return f"rows: {kinds.total():,} of {of} are taken down" + (f" (by {by})" if by else "")


def _before_path(out: str) -> str:
    return storage.join(out, "ledger", _BEFORE)


def _before(out: str) -> Before:
    """What was there before; of a takedown that was cut off, before that."""
    path = _before_path(out)
    if storage.exists(path):
        value = storage.read_fields(path, "selected", "exported", "reported", "shards")
        return Before(**{name: value[name] for name in Before.__dataclass_fields__})
    shards: dict[str, str] = {}
    exported = storage.exists(manifest_path(out))
    if exported:
        manifest = read_manifest(manifest_path(out))
        beside = manifest.get("embeddings", {}).get("files", [])
        shards = {file["name"]: file["sha256"] for file in [*manifest["shards"], *beside]}
    before = Before(
        selected=storage.exists(storage.join(out, "verdicts", "index.json")),
        exported=exported,
        reported=storage.exists(storage.join(out, report.FILE)),
        shards=shards,
    )
    storage.write_json(path, {n: getattr(before, n) for n in Before.__dataclass_fields__})
    return before


def _clear_output(out: str, is_ours: bool) -> None:
    """Remove what holds captions or pictures of rows; the build makes it again.

    `is_ours`: an export was there when this takedown began, whose manifest may be gone by now.
    """
    if not is_ours and storage.exists(storage.join(out, "shards")):
        refuse_foreign_shards(out)
    storage.remove(manifest_path(out))
    for name in ("shards", report.FILE, "work"):
        storage.remove(storage.join(out, name))


def _again(build: Build, before: Before) -> Iterator[str]:
    """Score what depends on all rows, select, export and report, as far as that had been done."""
    if not before.selected:
        return
    build.open_pool()
    build.score()
    yield report.attrition_text(build.select())
    if before.exported:
        manifest = build.export()
        yield f"shards: {manifest['ledger']['written']:,} samples are written"
    if before.reported:
        yield f"report: {report.write_report(build)}"


def _outcome_path(build: Build) -> str:
    name = record.lists(build.root)[-1]["name"].removesuffix(".parquet")
    return record.place(build.root, f"{name}.json")


def _outcome(build: Build, before: Before, erase: bool) -> dict[str, Any]:
    """What came of the last list so far: rows by kind, and the shards of every output it changed.

    An output that is brought up to date once more is told of in its last state.
    """
    path = _outcome_path(build)
    value = storage.read_fields(path, "outputs", "erased") if storage.exists(path) else {}
    rows = record.taken_rows(build.root)["kind"].to_pylist()
    after: dict[str, str] = {}
    if storage.exists(manifest_path(build.out)):
        manifest = read_manifest(manifest_path(build.out))
        beside = manifest.get("embeddings", {}).get("files", [])
        after = {file["name"]: file["sha256"] for file in [*manifest["shards"], *beside]}
    name = storage.relative(build.out, build.root)
    changes = _changes(before.shards, after)
    others = [one for one in value.get("outputs", []) if one["out"] != name]
    same = [one for one in value.get("outputs", []) if one["out"] == name]
    if same and not any(changes[kind] for kind in ("changed", "gone", "new")):
        changes = {kind: same[0][kind] for kind in changes}
    return {
        "format": record.FORMAT,
        "rows": dict(sorted(Counter(rows).items())),
        "erased": bool(erase or value.get("erased", False)),
        "outputs": [*others, {"out": name, **changes}],
    }


def _changes(before: Shards, after: Shards) -> dict[str, list[str]]:
    return {
        "changed": sorted(n for n, sha in after.items() if n in before and before[n] != sha),
        "gone": sorted(set(before) - set(after)),
        "new": sorted(set(after) - set(before)),
        "unchanged": sorted(n for n, sha in after.items() if before.get(n) == sha),
    }


def _shards_text(output: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{len(output[kind]):,} {kind}" for kind in ("changed", "unchanged", "gone"))
    return f"shards by their bytes: {counts}"


def problems(
    made: Pool, out: str, columns: Iterable[ColumnSet], verdicts: Verdicts | None
) -> Iterator[str]:
    """Promises of takedowns that a build breaks: a list that is damaged, a row that is kept."""
    try:
        record.entries(made.root)
        is_behind = takedown_match.is_behind(made)
    except CurationError as error:
        yield str(error)
        return
    if is_behind:
        yield f"{record.place(made.root)}: lists more than was looked up; run takedown or build"
    yield from erasing.problems(made, columns)
    taken = record.taken(made.root)
    if taken is None or verdicts is None:
        return
    for table in verdicts.tables():
        named: Any = pc.is_in(table["key"], value_set=taken.keys)
        is_out: Any = pc.is_in(table["verdict"], value_set=pa.array([TAKEDOWN, FAILED]))
        used = table.filter(pc.and_not(named, is_out))
        for key in used["key"].slice(0, _SHOWN).to_pylist():
            yield f"{out}: {key.hex()} is taken down since this was selected; build again"
