"""Arrays in npz files: written the same bytes each time, read without ever loading an object."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import storage
from pipeline.errors import DamagedFile, RecipeError

MISSING = "_missing"  # the mask of an array: true where a row has no vector
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_LARGE = 1 << 30
_NPY = ".npy"


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An npz of these arrays in this order, not compressed; the bytes depend on nothing else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(name + _NPY, _NO_TIME)
            info.create_system, info.external_attr = _UNIX, 0o644 << 16
            with archive.open(info, "w", force_zip64=array.nbytes > _LARGE) as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def members(path: str) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """The arrays of an npz, if there is one. Raises RecipeError when it is none."""
    if not storage.exists(path):
        return
    try:
        with storage.open_input(path) as stream, zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                yield archive, member
    except zipfile.BadZipFile as error:
        raise RecipeError(f"{path}: can't be read as npz: {error}") from error


def checksums(path: str) -> list[tuple[str, int, int]]:
    """Names, sizes and checksums of the arrays, as the npz itself lists them, sorted."""
    return sorted((m.filename, m.file_size, m.CRC) for _, m in members(path))


def headers(path: str) -> dict[str, tuple[tuple[int, ...], "np.dtype[Any]"]]:
    """Shape and type of every array; no data is read."""
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for archive, member in members(path):
        with archive.open(member) as stream:
            try:
                version = np.lib.format.read_magic(stream)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, kind = read(stream)
            except ValueError as error:
                message = f"{path}: {member.filename} can't be read as an array: {error}"
                raise RecipeError(message) from error
        found[member.filename.removesuffix(_NPY)] = shape, kind
    return found


def vector_types(path: str) -> dict[str, pa.DataType]:
    """The two-dimensional arrays of numbers by name, as columns of lists.

    Not of lists of a fixed size: Arrow can't read those again from Parquet when some are NULL.
    """
    return {
        name: pa.list_(pa.from_numpy_dtype(kind))
        for name, (shape, kind) in headers(path).items()
        if len(shape) == 2 and kind.kind in "fiu"
    }


def text_names(path: str) -> list[str]:
    """The one-dimensional arrays of texts or of bytes."""
    found = headers(path).items()
    return [name for name, (shape, kind) in found if len(shape) == 1 and kind.kind in "SU"]


def read_arrays(path: str, *names: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Some arrays, one at a time; those that are not there are left out. Raises DamagedFile."""
    if not names:
        return
    try:
        with storage.open_input(path) as stream, np.load(stream, allow_pickle=False) as arrays:
            for name in names:
                if name in arrays:
                    yield name, arrays[name]
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedFile(f"{path}: can't be read: {error}") from error


def read_vectors(path: str, name: str, rows: int) -> "pa.Array[Any]":
    """A two-dimensional array as a column; NULL where its mask says so or a number is not finite.

    Raises DamagedFile when it has not this many rows.
    """
    found = dict(read_arrays(path, name, name + MISSING))
    values = found[name]
    if len(values) != rows:
        raise DamagedFile(f"{path}: {name!r} has {len(values)} rows, the table {rows}")
    is_missing = np.zeros(rows, bool)
    mask = found.get(name + MISSING)
    if mask is not None and mask.dtype == bool and mask.shape == (rows,):
        is_missing |= mask
    if values.dtype.kind == "f":
        is_missing |= ~np.isfinite(values).all(axis=1)
    is_missing |= values.shape[1] == 0
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * np.int32(values.shape[1]))
    column: pa.Array[Any] = pa.ListArray.from_arrays(offsets, flat, mask=pa.array(is_missing))
    return column
