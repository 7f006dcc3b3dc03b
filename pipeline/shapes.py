"""Whether JSON of ours has the shape it was written with: damage that is still JSON is named too.

A shape is a type, a tuple of types, a list of one shape (for each item), or a dict: of names with
their shapes, of which none may be missing, or `{str: shape}` for any names.
"""

from collections.abc import Iterator
from typing import Any

from pipeline.errors import DamagedFile

Shape = Any


def require(path: str, value: Any, shape: Shape) -> None:
    """Raise DamagedFile, naming the place in the file, unless the value has the shape."""
    for place in _misfits(value, shape, ""):
        raise DamagedFile(f"{path}: is damaged, remove it and run again: {place}")


def _misfits(value: Any, shape: Shape, place: str) -> Iterator[str]:
    kind: Any = type(shape) if isinstance(shape, list | dict) else shape
    if not isinstance(value, kind):
        yield f"{place or 'it'} is {type(value).__name__}"
    elif isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _misfits(item, shape[0], f"{place}[{number}]")
    elif isinstance(shape, dict) and str in shape:
        for name, item in value.items():
            yield from _misfits(item, shape[str], f"{place}.{name}"[:80].lstrip("."))
    elif isinstance(shape, dict):
        for name, inner in shape.items():
            where = f"{place}.{name}".lstrip(".")
            if name not in value:
                yield f"{where} is missing"
            else:
                yield from _misfits(value[name], inner, where)
