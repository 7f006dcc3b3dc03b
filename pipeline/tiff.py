"""Reads the tags of a TIFF directory, which is also how EXIF stores the orientation.

Only whole numbers are read, and few of each tag: a count in a hostile file costs nothing.
"""

import struct
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.unreadable import Unreadable

WIDTH, HEIGHT, BITS, PHOTOMETRIC = 256, 257, 258, 262
ORIENTATION, SAMPLES, TILE_WIDTH, TILE_HEIGHT = 274, 277, 322, 323
EXTRA_SAMPLES, SAMPLE_FORMAT, ICC_PROFILE = 338, 339, 34675
MAX_DIRECTORIES = 10_000
_MAX_TAGS = 1_000
_MAX_VALUES = 8  # more of one tag than any of the tags above needs
_CODES = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


@dataclass(frozen=True, slots=True)
class Directory:
    """The whole numbers of one image file directory by tag.

    `places` has the position and the length in bytes of the values of every tag.
    """

    numbers: dict[int, tuple[int, ...]]
    places: dict[int, tuple[int, int]] = field(repr=False)

    def number(self, tag: int, otherwise: int) -> int:
        """The first value of a tag, or what the standard says it is when absent."""
        return self.numbers.get(tag, (otherwise,))[0]

    @property
    def orientation(self) -> int:
        """The orientation when it is one of the eight values of the standard, else 1."""
        value = self.number(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1


def first_directory(data: bytes) -> Directory:
    """What can be read of the first directory; raises Unreadable when none starts in the bytes."""
    order, offset = _start(data)
    count = struct.unpack_from(order + "H", data, offset)[0] if offset + 2 <= len(data) else 0
    end = min(offset + 2 + 12 * min(count, _MAX_TAGS), len(data) - 11)
    if end <= offset + 2:
        raise Unreadable("truncated", f"no TIFF directory at byte {offset} of {len(data)}")
    numbers: dict[int, tuple[int, ...]] = {}
    places: dict[int, tuple[int, int]] = {}
    for entry in range(offset + 2, end, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", data, entry)
        code = _CODES.get(kind, "B")
        size = values * struct.calcsize(code)
        place = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        places[tag] = place, size
        if kind in _CODES and values and place + size <= len(data):
            layout = f"{order}{min(values, _MAX_VALUES)}{code}"
            numbers[tag] = struct.unpack_from(layout, data, place)
    return Directory(numbers, places)


def count_directories(data: bytes) -> int:
    """How many directories are chained, up to a loop, the end of the bytes or MAX_DIRECTORIES."""
    order, offset = _start(data)
    seen: set[int] = set()
    with suppress(struct.error):
        while offset and offset not in seen and len(seen) < MAX_DIRECTORIES:
            (count,) = struct.unpack_from(order + "H", data, offset)
            seen.add(offset)
            (offset,) = struct.unpack_from(order + "I", data, offset + 2 + 12 * count)
    return len(seen)


def exif_orientation(block: bytes) -> int:
    """The orientation 1 to 8 that an EXIF block asks for; 1 when it is absent or nonsense."""
    try:
        return first_directory(block.removeprefix(b"Exif\0\0")).orientation
    except Unreadable:
        return 1


def _start(data: bytes) -> tuple[str, int]:
    """The byte order of a TIFF file and the place of its first directory."""
    order = _BYTE_ORDERS.get(data[:4])
    if order is None or len(data) < 8:
        raise Unreadable("corrupt", f"no TIFF header: {data[:8]!r}")
    return order, struct.unpack_from(order + "I", data, 4)[0]
