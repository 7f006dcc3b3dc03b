"""What a build leaves beside its outputs, so that they can be read without the recipe at hand.

`build.json` names the recipe, the pool and every column set of the last selection. Report,
explain, verify and diff start from it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline import pool, storage
from pipeline.columns import ColumnSet
from pipeline.errors import CurationError, DamagedFile
from pipeline.pool import Pool
from pipeline.scoring import Resolved
from pipeline.shapes import require
from pipeline.verdicts import Verdicts, open_verdicts

if TYPE_CHECKING:
    from pipeline.build import Build

FILE = "build.json"
_COLUMNS = {"folder": str, "class": str, "columns": {str: str}}
_BUILD = {"root": str, "recipe": str, "recipe_file": str, "scorers": {str: _COLUMNS}}
_MANIFEST = {
    "export": str,
    "selection": str,
    "shards": [{"name": str, "samples": int, "size_bytes": int}],
    "ledger": {"copies": int, "written": int, "not_exported": {str: int}},
    "files": {str: str},
    "versions": {str: str},
}
_NAME = (str, type(None))
_SUMMARY = {
    **dict.fromkeys(("rows", "kept", "copies"), int),
    "failed": {str: int},
    "dropped": {str: int},
    "warnings": [str],
    "steps": [{"name": str, "kind": str}],
    "cuts": [{"step": str, "group": [_NAME], "rows": int, "kept": int, "value": (int, float)}],
    "breakdowns": [
        {
            "column": str,
            "values": [{"value": _NAME, "rows": int, "kept": int}],
            **dict.fromkeys(("other_values", "other_rows", "other_kept"), int),
        }
    ],
}
_STEPS = {
    "where": {"condition": str},
    "top": {"column": str, "per": [str], "lowest": bool, "mode": str},
    "one_per": {"group": str, "per": [str], "lowest": bool, "best": _NAME},
    "draw": {"by": (str, int, float), "per": [str], "repeat": bool, "seed": int},
    "subset": {},
}
_VERDICTS = {"digest": str, "shards": [str], "rows": [int], "files": [int], "summary": _SUMMARY}


@dataclass(frozen=True)
class BuildRecord:
    """A build as it stands in `out`: its recipe's text, its pool, its column sets by column."""

    out: str
    recipe: str
    recipe_file: str
    pool: Pool
    columns: Mapping[str, ColumnSet]
    scorers: Mapping[str, Mapping[str, Any]]

    def verdicts(self) -> Verdicts:
        """The finished selection. Raises CurationError when there is none."""
        found = self.selection()
        if found is None:
            raise CurationError(f"{self.out}: nothing is selected here; run `pairmill select`")
        return found

    def selection(self) -> Verdicts | None:
        """The finished selection; None when there is none. Raises DamagedFile."""
        folder = storage.join(self.out, "verdicts")
        path = storage.join(folder, "index.json")
        if not storage.exists(path):
            return None
        value = storage.read_fields(path, *_VERDICTS)
        _check_index(path, value)
        return open_verdicts(folder)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the export; None when there is no complete one."""
        path = storage.join(self.out, "shards", "manifest.json")
        if not storage.exists(path):
            return None
        return read_manifest(path)


def _check_index(path: str, value: Mapping[str, Any]) -> None:
    """Raise DamagedFile unless the index of a selection is what was written."""
    require(path, value, _VERDICTS)
    for step in value["summary"]["steps"]:
        require(path, step, _STEPS.get(step["kind"], {f"steps of kind {step['kind']}": str}))
    files, shards = value["files"], len(value["shards"])
    ordered = files == sorted(set(files)) and files[:1] == [0] and files[-1] < shards
    if shards != len(value["rows"]) or not ordered:
        raise DamagedFile(f"{path}: is damaged, remove it and run again: its files are others")


def write_record(build: "Build", resolved: Resolved) -> None:
    """Note which pool and column sets a build is made of; paths are relative where they can be."""
    value = {
        "format": 1,
        "recipe": build.recipe.source_text,
        "recipe_file": os.path.basename(build.recipe.path),
        "recipe_folder": storage.relative(os.path.dirname(build.recipe.path) or ".", build.out),
        "root": storage.relative(build.root, build.out),
        "scorers": {
            instance.name: {
                "folder": instance.columns.folder_name,
                "columns": {f.name: str(f.type) for f in instance.columns.schema},
                "class": f"{type(instance.scorer).__module__}:{type(instance.scorer).__name__}",
            }
            for instance in resolved.instances
        },
    }
    storage.write_json(storage.join(build.out, FILE), value)


def read_manifest(path: str) -> dict[str, Any]:
    """The manifest in a file. Raises DamagedFile when it is none."""
    names = ("export", "selection", "shards", "ledger", "files")
    value = storage.read_fields(path, *names)
    require(path, value, _MANIFEST)
    return value


def open_record(out: str) -> BuildRecord:
    """The record of the build in `out`. Raises CurationError when there is none."""
    path = storage.join(out, FILE)
    if not storage.exists(path):
        raise CurationError(f"{out}: there is no build here (no {FILE}); run `pairmill build`")
    value = storage.read_fields(path, "root", "recipe", "recipe_file", "scorers")
    require(path, value, _BUILD)
    root = value["root"]
    if storage.is_local(root) and not os.path.isabs(root):
        root = os.path.normpath(os.path.join(os.path.realpath(storage.local(out)), root))
    made = pool.open_pool(root)
    if made is None:
        raise CurationError(f"{root}: the pool of this build is not there")
    return BuildRecord(
        out=out,
        recipe=value["recipe"],
        recipe_file=value["recipe_file"],
        pool=made,
        columns=_column_sets(root, value["scorers"]),
        scorers=value["scorers"],
    )


def _column_sets(root: str, scorers: Mapping[str, Any]) -> dict[str, ColumnSet]:
    """The column set of every column, the error columns too."""
    sets: dict[str, ColumnSet] = {}
    for name, scorer in scorers.items():
        fingerprint, _, asked = scorer["folder"].partition("-")
        schema = pa.schema([(column, pa.null()) for column in scorer["columns"]])
        found = ColumnSet(root, name, fingerprint, schema, asked)
        sets |= dict.fromkeys([*scorer["columns"], found.error_column], found)
    return sets
