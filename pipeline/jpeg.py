"""Walks the segments of a JPEG file: reads its header, and drops what its pixels don't need.

Nothing is decoded or encoded here. A file whose segments do not add up is refused.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.tiff import exif_orientation
from pipeline.unreadable import Unreadable

SIGNATURE = b"\xff\xd8\xff"
_CODED, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = range(0xC0, 0xD0)  # start of frame, but for the three that follow
_TABLES = (0xC4, 0xC8, 0xCC)
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_BARE = (0x01, *range(0xD0, 0xD8))  # markers without a length
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not stuffed, not a restart, not filler
_EXIF, _ICC = b"Exif\0\0", b"ICC_PROFILE\0"
_MODES = {1: "grey", 3: "rgb", 4: "cmyk"}
_MAX_PROFILE = 4_000_000


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What comes before the first scan; sizes as stored, `mode` `grey`, `rgb` or `cmyk`.

    `icc` is None as well when parts of the profile are missing.
    """

    width: int
    height: int
    mode: str
    orientation: int
    icc: bytes | None = field(repr=False)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, first byte of the content and end of each segment up to and with the EOI marker.

    The entropy-coded data behind an SOS segment comes as one of marker 0. Raises Unreadable where
    the file ends early (`truncated`) or has no marker where one must be (`corrupt`).
    """
    place = 2
    while True:
        place, marker = _marker(data, place)
        if marker == _EOI:
            yield marker, place, place
            return
        if marker in _BARE:
            yield marker, place, place
            continue
        start, place = place + 2, place + _length(data, place)
        yield marker, start, place
        if marker == _SOS:
            match = _SCAN_END.search(data, place)
            start, place = place, len(data) if match is None else match.start()
            yield _CODED, start, place


def _marker(data: bytes, place: int) -> tuple[int, int]:
    """Where the content starts after the marker at a place, and the marker's second byte."""
    start = place
    while data[place : place + 1] == b"\xff":
        place += 1
    if place >= len(data):
        raise Unreadable("truncated", f"JPEG ends at byte {len(data)} without its last marker")
    if place == start or data[place] == 0:
        raise Unreadable("corrupt", f"no JPEG marker at byte {start}")
    return place + 1, data[place]


def _length(data: bytes, place: int) -> int:
    length = int.from_bytes(data[place : place + 2], "big")
    if place + length > len(data) or place + 2 > len(data):
        raise Unreadable("truncated", f"JPEG segment at byte {place} goes beyond the end")
    if length < 2:
        raise Unreadable("corrupt", f"JPEG segment at byte {place} has length {length}")
    return length


def read_jpeg_header(data: bytes) -> JpegHeader:
    """The header of a JPEG file; raises Unreadable when it is cut, wrong or of a rare kind."""
    frame, exif, parts = b"", b"", {}
    for marker, start, end in segments(data):
        if marker in (_SOS, _EOI):
            break
        if marker in _FRAMES and marker not in _TABLES:
            frame = data[start:end]
            _check_process(marker, frame)
        elif marker == _APP1 and not exif and data.startswith(_EXIF, start):
            exif = data[start:end]
        elif marker == _APP2 and data.startswith(_ICC, start) and end - start > 14:
            parts[data[start + 12]] = data[start + 14 : end], data[start + 13]
    if not frame:
        raise Unreadable("corrupt", "JPEG without a frame header")
    height, width, components = struct.unpack_from(">HHB", frame, 1)
    if components not in _MODES:
        raise Unreadable("unsupported", f"JPEG with {components} components")
    if not height:
        raise Unreadable("unsupported", "JPEG that states its height after the first scan")
    turned = exif_orientation(exif) if exif else 1
    return JpegHeader(width, height, _MODES[components], turned, _profile(parts))


def _check_process(marker: int, frame: bytes) -> None:
    if marker not in (*_SEQUENTIAL, _PROGRESSIVE):
        raise Unreadable("unsupported", f"JPEG process {marker:#x}: lossless or arithmetic")
    if len(frame) < 6:
        raise Unreadable("corrupt", "JPEG frame header too short")
    if frame[0] != 8:
        raise Unreadable("unsupported", f"JPEG with {frame[0]} bits per sample")


def _profile(parts: dict[int, tuple[bytes, int]]) -> bytes | None:
    """The ICC profile from its numbered parts, each of which says how many there are."""
    numbers = range(1, len(parts) + 1)
    if not parts or any(n not in parts or parts[n][1] != len(parts) for n in numbers):
        return None
    profile = b"".join(parts[n][0] for n in numbers)
    return profile if len(profile) <= _MAX_PROFILE else None


def count_scans(data: bytes) -> int:
    """How many scans a file has, at most: what looks like one in metadata or a tail counts too.

    A sequential file whose first scan has all components can have no other, and is not searched.
    """
    components = 0
    for marker, start, end in segments(data):
        if marker in _SEQUENTIAL and end - start > 5:
            components = data[start + 5]
        if marker == _SOS and end > start:
            return 1 if data[start] == components else data.count(b"\xff\xda")
    return 0


def strip_jpeg_metadata(data: bytes) -> bytes:
    """The same picture without a word about it: EXIF, XMP, IPTC, ICC, comments, thumbnails, tails.

    Lossless: the compressed data stays as it is, and so do the two segments that tell decoders
    what the components mean, JFIF (rewritten without thumbnail) and Adobe's; scan parameters that
    a sequential file can't have are set right. The ICC profile and the orientation go as well, so
    this is for upright sRGB pictures only. Raises Unreadable when the segments don't add up.
    """
    kept, sequential = [data[:2]], False
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker == _CODED:
            kept.append(content)
        elif marker == _EOI or marker in _BARE:
            kept.append(bytes((0xFF, marker)))
        elif marker == _SOS:
            # Some cameras write parameters here that only progressive files have.
            kept.append(_segment(marker, content[:-3] + b"\0\x3f\0" if sequential else content))
        elif marker == _APP0 and content.startswith(b"JFIF\0"):
            kept.append(_segment(marker, b"JFIF\0\1\1" + content[7:12].ljust(5, b"\0") + b"\0\0"))
        elif marker == _APP14 and content.startswith(b"Adobe"):
            kept.append(_segment(marker, content[:12]))
        elif marker < _APP0:
            sequential = sequential or marker in _SEQUENTIAL
            kept.append(_segment(marker, content))
    return b"".join(kept)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
