"""Files, local or behind any fsspec URL: a file this module writes is complete or absent.

A local file gets a temporary name in its own folder and is renamed into place; an object store
gets one upload to the final name. What a kill leaves behind is a `*.tmp`, never half a file.
"""

import contextlib
import errno
import fcntl
import glob
import json
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Any

import fsspec

from pipeline.errors import BusyBuild, CurationError, DamagedFile, RecipeError

_TEMPORARY = ".tmp"
_MAX_NAMES = 1_000_000  # that one pattern may stand for
_MAX_BRACES, _MAX_DIGITS = 64, 18  # in a pattern, in a number there
_OURS = re.compile(r"\.[0-9a-f]{32}\.tmp$")


def is_local(path: str) -> bool:
    """Whether a path lies in the local file system (no `scheme://`, or `file://`)."""
    return "://" not in path or path.startswith("file://")


def local(path: str) -> str:
    """A local path without its `file://`."""
    return path.removeprefix("file://")


def _system(path: str) -> tuple[Any, str]:
    """The file system of a URL, and the name there. Raises RecipeError when there is none."""
    try:
        system, name = fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:
        raise RecipeError(f"{path}: can't be opened: {error}") from error
    return system, name


def check_place(path: str) -> None:
    """Raises RecipeError for a path that no file can have, or a URL of no known file system."""
    if not path:
        raise RecipeError("the name of a directory is empty")
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise RecipeError(f"{path!r}: a directory of a build needs a name in UTF-8") from None
    if not is_local(path):
        _system(path)


def join(root: str, *parts: str) -> str:
    """One path of a root and names below it, for local paths and URLs alike."""
    return "/".join([root.rstrip("/") or "/", *parts])


def relative(path: str, folder: str) -> str:
    """A path as seen from a folder, whatever links lead to either; as it is where one is remote."""
    if is_local(path) and is_local(folder):
        return os.path.relpath(*(os.path.realpath(local(p)) for p in (path, folder)))
    return path


def exists(path: str) -> bool:
    if is_local(path):
        return os.path.exists(local(path))
    system, name = _system(path)
    return bool(system.exists(name))


def is_folder(path: str) -> bool:
    if is_local(path):
        return os.path.isdir(local(path))
    system, name = _system(path)
    return bool(system.isdir(name))


def size(path: str) -> int:
    """Size in bytes; FileNotFoundError when there is no such file."""
    if is_local(path):
        return os.stat(local(path)).st_size
    system, name = _system(path)
    return int(system.size(name))


def stamp(path: str) -> int:
    """Another number when a local file has been written anew; of other files nothing is known."""
    return os.stat(local(path)).st_mtime_ns if is_local(path) else 0


def open_input(path: str) -> IO[bytes]:
    """Open a file for reading in binary, seekable.

    Raises OSError for a local pipe or device too, which might never end.
    """
    if is_local(path):
        mode = os.stat(local(path)).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return open(local(path), "rb")
    system, name = _system(path)
    stream: IO[bytes] = system.open(name, "rb")
    return stream


def read_bytes(path: str) -> bytes:
    with open_input(path) as stream:
        return stream.read()


def read_json(path: str) -> Any:
    """What a JSON file holds. Raises DamagedFile when that is no JSON."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path}: is damaged, remove it and run again: {error}") from error


def first_line(error: BaseException) -> str:
    """What an error of a library says, without the schemas that some of them quote."""
    return str(error).partition("\n")[0]


def read_fields(path: str, *names: str) -> dict[str, Any]:
    """The object in a JSON file. Raises DamagedFile when it is none, or lacks one of the names."""
    value = read_json(path)
    lacking = [name for name in names if not isinstance(value, dict) or name not in value]
    if lacking or not isinstance(value, dict):
        what = f"it has no {', '.join(lacking)}" if lacking else "it is no object"
        raise DamagedFile(f"{path}: is damaged, remove it and run again: {what}")
    return value


@contextlib.contextmanager
def writing(path: str, *, durable: bool = True) -> Iterator[str]:
    """Yield the name of a local temporary file; it becomes `path` when the block ends well.

    When the block raises, nothing is left at `path` that was not there before. `durable` files
    are on disk before they have their name; a file whose readers notice damage may do without.
    """
    if is_local(path):
        temporary = f"{local(path)}.{uuid.uuid4().hex}{_TEMPORARY}"
        os.makedirs(os.path.dirname(temporary) or ".", exist_ok=True)
        try:
            yield temporary
            if durable:
                _flush(temporary)
            os.replace(temporary, local(path))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "upload")
        yield temporary
        system, name = _system(path)
        system.makedirs(os.path.dirname(name), exist_ok=True)
        system.put_file(temporary, name)


def _flush(path: str) -> None:
    """Have the data on disk before the name points to it, so that a power cut can't undo it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: str, data: bytes) -> None:
    with writing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(data)


def json_bytes(value: Any) -> bytes:
    """JSON with sorted keys: equal values are equal bytes."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def write_json(path: str, value: Any) -> None:
    write_atomic(path, json_bytes(value))


def remove(path: str) -> None:
    """Remove a file or a folder with all below it; nothing happens when it is not there."""
    if is_local(path):
        name = local(path)
        if os.path.isdir(name):
            shutil.rmtree(name, onerror=_ignore_missing)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        return
    system, name = _system(path)
    if system.exists(name):
        system.rm(name, recursive=True)


def _ignore_missing(_call: Any, _path: str, error: Any) -> None:
    """Another part may remove the same folder at the same time."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def expand(pattern: str) -> list[str]:
    """The files that a pattern names, sorted: `{00000..00009}`, `{a,b}`, `*`, `**`, `?`.

    A pattern without such signs names itself, whether or not the file is there; a folder or a
    glob without a match gives an empty list. Raises RecipeError for more than a million names.
    """
    braces = pattern.count("{")
    if braces > _MAX_BRACES:
        raise RecipeError(f"{pattern[:80]}…: has {braces} braces (limit {_MAX_BRACES})")
    paths: set[str] = set()
    names = list(islice(_braces(pattern), _MAX_NAMES + 1))
    if len(names) > _MAX_NAMES:
        raise RecipeError(f"{pattern}: stands for more than {_MAX_NAMES:,} files")
    for name in names:
        if not glob.has_magic(name) or (is_local(name) and os.path.isfile(local(name))):
            paths.add(name)
        elif is_local(name):
            paths.update(p for p in glob.glob(local(name), recursive=True) if os.path.isfile(p))
        else:
            system, inside = _system(name)
            paths.update(system.unstrip_protocol(p) for p in system.glob(inside))
    return sorted(paths)


def _braces(pattern: str) -> Iterator[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    choices: Iterable[str] = match[1].split(",")
    if numbers is not None:
        first, last = numbers.groups()
        if max(len(first), len(last)) > _MAX_DIGITS:
            raise RecipeError(f"{pattern[:80]}…: a number of more than {_MAX_DIGITS} digits")
        choices = (f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1))
    head, tail = pattern[: match.start()], pattern[match.end() :]
    for choice in choices:
        yield from _braces(head + choice + tail)


def files_below(folder: str) -> list[str]:
    """Every file below a folder, as paths relative to it, sorted; hidden ones are left out.

    A folder that is not there holds none. Raises OSError when one in it can't be listed: what it
    holds would be lost in silence.
    """
    if is_local(folder):
        root = local(folder)
        found = []
        for parent, folders, names in os.walk(root, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [os.path.relpath(os.path.join(parent, n), root) for n in names if n[0] != "."]
        return sorted(found)
    system, name = _system(folder)
    prefix = name.rstrip("/") + "/"
    paths = (path.removeprefix(prefix) for path in system.find(name))
    return sorted(p for p in paths if not any(part[0] == "." for part in p.split("/")))


def linked_folders(folder: str) -> list[str]:
    """The links below a local folder that lead to folders: files_below does not go into them."""
    if not is_local(folder):
        return []
    root, found = local(folder), []
    for parent, folders, _ in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (os.path.join(parent, name) for name in folders)
        found += [os.path.relpath(path, root) for path in paths if os.path.islink(path)]
    return sorted(found)


def leads_out(folder: str, name: str) -> bool:
    """Whether what has this name below a local folder is a link to a place that is not below it."""
    path = os.path.join(local(folder), name)
    if not is_local(folder) or not os.path.islink(path):
        return False
    root = os.path.realpath(local(folder))
    return os.path.commonpath([root, os.path.realpath(path)]) != root


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextlib.contextmanager
def lock(folder: str, *, shared: bool = False) -> Iterator[None]:
    """Hold an output directory: alone, or together with other `shared` holders.

    Raises BusyBuild when somebody else holds it, RecipeError when it is no directory. The lock
    ends with the process, however it ends. Object stores have none: there the writes are harmless
    when made twice.
    """
    if not is_local(folder):
        yield
        return
    with _lock_file(local(folder)) as stream:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyBuild(
                f"{folder}: another pairmill is building here; wait for it, or give another --out"
            ) from None
        yield


def _lock_file(folder: str) -> IO[bytes]:
    try:
        os.makedirs(folder, exist_ok=True)
        return open(os.path.join(folder, ".lock"), "a+b")
    except (FileExistsError, NotADirectoryError):
        raise RecipeError(f"{folder}: is a file or lies below one, not a directory") from None
    except OSError as error:
        raise CurationError(f"{folder}: can't be written to: {error.strerror}") from error


def sweep(folder: str) -> None:
    """Remove what killed writers left under a local folder; only for the holder of its lock."""
    if not is_local(folder):
        return
    for parent, _, names in os.walk(local(folder)):
        for name in names:
            if _OURS.search(name):
                os.unlink(os.path.join(parent, name))
