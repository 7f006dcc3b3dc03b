"""What scorers ask of the local files that weights and lists come in."""

import hashlib
import json
import os
from functools import lru_cache
from typing import Any


def digest(path: str) -> str:
    """SHA-256 of a file in hex; read once for as long as its size and time are the same."""
    status = os.stat(path)
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, _size: int, _modified_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: str) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: can't be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is no JSON object")
    return found
