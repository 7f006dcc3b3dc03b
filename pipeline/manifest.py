"""The manifest of an export: what went in, what came out, and a checksum of every file.

It is written last. It carries no time and no name of a machine, so that two builds of one recipe
have equal manifests.
"""

import hashlib
import importlib.metadata
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline import card, storage
from pipeline.amplification import amplification
from pipeline.errors import CurationError
from pipeline.instances import parameters
from pipeline.scoring import Resolved
from pipeline.verdicts import Verdicts

if TYPE_CHECKING:
    from pipeline.build import Build

SUBSET = "subset.npy"
_LIBRARIES = (
    "pairmill",
    "apache-beam",
    "numpy",
    "pillow",
    "pyarrow",
    "opencv-python-headless",
    "simplejpeg",
)


@dataclass(frozen=True)
class Written:
    """What both passes of an export said: (name, stats) per output shard, stats per run.

    An export of uids has no shards, and `subset` entries in its list. `embeddings` describes
    arrays and the files beside the shards that hold them.
    """

    digest: str
    shards: tuple[tuple[str, Mapping[str, Any]], ...]
    runs: tuple[Mapping[str, Any], ...]
    subset: int | None = None
    embeddings: Mapping[str, Any] | None = None


def manifest_path(out: str) -> str:
    return storage.join(out, "shards", "manifest.json")


def write_manifest(
    build: "Build", resolved: Resolved, verdicts: Verdicts, written: Written
) -> dict[str, Any]:
    """Write sizes, card and Croissant, then the manifest, unless they are there; returns it.

    Raises CurationError when the rows do not add up.
    """
    ledger = make_ledger(verdicts, written)
    files: dict[str, bytes] = {"sizes.json": card.sizes_json(written.shards)}
    manifest: dict[str, Any] = {
        "format": 1,
        "export": written.digest,
        "selection": verdicts.digest,
        "pool": build.open_pool().digest,
        "recipe": build.recipe.source_text,
        "recipe_file": os.path.basename(build.recipe.path),
        "scorers": {
            instance.name: {
                "class": f"{type(instance.scorer).__module__}:{type(instance.scorer).__name__}",
                "fingerprint": instance.columns.folder_name,
                "parameters": parameters(instance.scorer),
                "columns": instance.columns.schema.names,
            }
            for instance in resolved.instances
        },
        "steps": verdicts.summary["steps"],
        "ledger": ledger,
        "versions": versions(),
        "shards": [{"name": f"{name}.tar", **stats} for name, stats in written.shards],
    }
    if (told := amplification(verdicts.summary)) is not None:
        manifest["generated"] = asdict(told)
    if written.embeddings is not None:
        manifest["embeddings"] = written.embeddings
    files["README.md"] = card.readme(manifest)
    files["croissant.json"] = card.croissant(manifest)
    manifest["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    if written.subset is not None:
        manifest["files"][SUBSET] = file_sha256(storage.join(build.out, "shards", SUBSET))
    _write(build.out, files, manifest)
    return manifest


def file_sha256(path: str) -> str:
    """The SHA-256 of a file in hex, which is read a block at a time."""
    state = hashlib.sha256()
    with storage.open_input(path) as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def _write(out: str, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write what is not there in these bytes; the manifest is removed first and written last."""
    folder = storage.join(out, "shards")
    text = storage.json_bytes(manifest)
    stale = {n: data for n, data in files.items() if not _holds(storage.join(folder, n), data)}
    if not stale and _holds(manifest_path(out), text):
        return
    storage.remove(manifest_path(out))
    for name, data in stale.items():
        storage.write_atomic(storage.join(folder, name), data)
    storage.write_atomic(manifest_path(out), text)


def _holds(path: str, data: bytes) -> bool:
    return storage.exists(path) and storage.read_bytes(path) == data


def written_before(manifest: Mapping[str, Any]) -> Written:
    """What the passes of a finished export said, from its manifest."""
    shards = tuple(
        (shard["name"].removesuffix(".tar"), {k: v for k, v in shard.items() if k != "name"})
        for shard in manifest["shards"]
    )
    subset = None if shards or SUBSET not in manifest["files"] else manifest["ledger"]["written"]
    runs = ({"failed": manifest["ledger"]["not_exported"]},)
    return Written(manifest["export"], shards, runs, subset, manifest.get("embeddings"))


def make_ledger(verdicts: Verdicts, written: Written) -> dict[str, Any]:
    """Where every row went. Raises CurationError when rows in are not rows accounted for."""
    summary = verdicts.summary
    lost: Counter[str] = Counter()
    for run in written.runs:
        lost.update(run["failed"])
    ledger: dict[str, Any] = {
        "rows_in": summary["rows"],
        "failed": summary["failed"],
        "dropped": summary["dropped"],
        "kept": summary["kept"],
        "copies": summary["copies"],
        "not_exported": dict(sorted(lost.items())),
        "written": sum(stats["samples"] for _, stats in written.shards) + (written.subset or 0),
    }
    check_ledger(ledger)
    return ledger


def check_ledger(ledger: Mapping[str, Any]) -> None:
    """Raises CurationError unless all rows are accounted for, and all copies of the kept ones."""
    failed, dropped = sum(ledger["failed"].values()), sum(ledger["dropped"].values())
    if ledger["rows_in"] != ledger["kept"] + dropped + failed:
        raise CurationError(
            f"the ledger does not add up: {ledger['rows_in']} rows in, {ledger['kept']} kept,"
            f" {dropped} dropped, {failed} failed"
        )
    lost = sum(ledger["not_exported"].values())
    if ledger["copies"] != ledger["written"] + lost:
        raise CurationError(
            f"the ledger does not add up: {ledger['copies']} copies chosen,"
            f" {ledger['written']} written, {lost} not exported"
        )


@cache
def versions() -> dict[str, str]:
    """Versions of what decides about bytes."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
