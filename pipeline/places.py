"""Where a build writes: never into what it reads, nor over what others have put there.

Looks at names and at a few small files; changes nothing.
"""

import contextlib
import os
import re
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile, RecipeError
from pipeline.keys import digest
from pipeline.recipe import Recipe
from pipeline.recipe_errors import first_key
from pipeline.recipe_pages import CrawlSource
from pipeline.record import read_manifest

OWN = ("pool", "columns", "requests", "takedown", "verdicts", "shards", "ledger", "work")


def crawl_folder(root: str, name: str) -> str:
    """Where the crawl of a source is, below the root of its pool."""
    return storage.join(root, "pool", "crawl", name)


def requests_folder(root: str) -> str:
    """A local folder, made if need be, for answers that scorers of this root have paid for.

    It is `requests/` beside the columns. A database can't live in an object store: for a root
    there it is a folder in this user's cache, so that answers survive a crash on this machine.
    """
    if storage.is_local(root):
        folder = storage.join(storage.local(root), "requests")
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        name = digest(root.encode(), size=8).hex()
        folder = os.path.join(cache, "pairmill", "requests", name)
    os.makedirs(folder, exist_ok=True)
    return folder


def begin_run(root: str) -> None:
    """Give the run that begins a name of its own, beside the answers of model servers.

    So a request that fails in several shards of a run is known to have failed in one run.
    """
    with contextlib.suppress(OSError):  # where answers can't be kept, this can't be, either
        name = uuid.uuid4().hex
        storage.write_atomic(os.path.join(requests_folder(root), "run"), name.encode())


def check_places(recipe: Recipe, root: str, out: str) -> None:
    """Raise RecipeError when a source holds the output directory, or lies in what is written."""
    written = [storage.join(place, name) for place in {root, out} for name in OWN]
    for name, section in recipe.sources.items():
        if isinstance(section, CrawlSource):  # its pages lie where this build writes
            continue
        pattern = recipe.resolve(getattr(section, first_key(type(section))))
        try:
            fixed, is_deep = _fixed(pattern)
        except RecipeError as error:  # a URL of no file system
            raise recipe.error(error.message, "sources", name) from error
        for place in written:
            if _is_within(fixed, place):
                message = f"source {name!r}: lies in {place}, where this build writes"
                raise recipe.error(message, "sources", name)
        for place in (root, out):
            if is_deep and _is_within(place, fixed):
                raise recipe.error(
                    f"source {name!r}: {fixed} holds the output directory {place}, whose files"
                    " would become rows; give another --out or `pool:`",
                    "sources",
                    name,
                )


def _fixed(pattern: str) -> tuple[str, bool]:
    """The part of a pattern before the first sign of one, and whether all below it is read."""
    if storage.is_folder(pattern):
        return pattern, True
    before = re.split(r"[*?{\[]", pattern, maxsplit=1)[0]
    return (before if before == pattern else os.path.dirname(before)), "**" in pattern


def _is_within(path: str, folder: str) -> bool:
    """Whether a local path is a folder or lies below it, hidden folders aside."""
    if not (storage.is_local(path) and storage.is_local(folder)):
        return path.rstrip("/") == folder.rstrip("/")
    real, above = (os.path.realpath(storage.local(p)) for p in (path, folder))
    below = os.path.relpath(real, above)
    parts = below.split(os.sep)
    return parts[0] != os.pardir and not any(p.startswith(".") and p != "." for p in parts)


def refuse_foreign_pool(root: str) -> None:
    """Raise CurationError when `pool/` holds tars of others: a build would write over them."""
    folder = storage.join(root, "pool")
    if not storage.is_local(root) or storage.exists(storage.join(folder, "index.json")):
        return
    names = [name for name in storage.files_below(folder) if not name.startswith("crawl/")]
    if not any(name.startswith("survey/") or _is_base(folder, name) for name in names):
        _refuse(folder, [name for name in names if name.endswith((".tar", ".parquet"))])


def _is_base(folder: str, name: str) -> bool:
    if not name.endswith(".parquet"):
        return False
    try:
        with storage.open_input(storage.join(folder, name)) as stream:
            return b"plan" in (pq.read_metadata(stream).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def refuse_foreign_shards(out: str) -> None:
    """Raise CurationError when `shards/` is no export of ours: writing one begins by removing it.

    An export is known by its manifest, or by the note that `work/` keeps of one that began.
    """
    folder = storage.join(out, "shards")
    if not storage.is_local(out):
        return
    try:
        read_manifest(storage.join(folder, "manifest.json"))
    except (FileNotFoundError, DamagedFile):
        _refuse(folder, storage.files_below(folder))


def _refuse(folder: str, names: list[str]) -> None:
    if names:
        raise CurationError(
            f"{folder}: holds {len(names)} files that this build did not write, such as {names[0]};"
            " move them away, or give another --out"
        )
