"""The metadata inside image files, found without decoding a pixel or trusting a length.

PNG, JPEG, WebP, and AVIF or HEIF; of other files nothing. A file that is cut or lies about its
sizes gives what could be read. At most a megabyte of a part is kept or unpacked.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MOST = 1 << 20
"""Bytes of one part that are looked at, unpacked ones too."""
_PARTS = 1000  # of a file
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_EXIF = b"Exif\0\0"
_SOFTWARE_TAGS = {
    0x010E: "ImageDescription",
    0x0131: "Software",
    0x010F: "Make",
    0x013B: "Artist",
    0x9286: "UserComment",
    0x9C9C: "XPComment",
    0x9C9E: "XPKeywords",
}
_EXIF_IFD = 0x8769
_C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the `uuid` box of C2PA


class Metadata(NamedTuple):
    """What a file says: pairs of a field's name and its text; XMP packets; C2PA boxes."""

    fields: list[tuple[str, str]]
    xmp: list[str]
    jumbf: list[bytes]


def metadata(data: bytes) -> Metadata:
    """The text fields, XMP packets and C2PA boxes of a file, in order; of other formats nothing."""
    found = Metadata([], [], [])
    for kind, content in _parts(data):
        if kind == "xmp":
            found.xmp.append(content.decode("utf-8", "replace"))
        elif kind == "jumbf":
            found.jumbf.append(content)
        elif kind == "exif":
            found.fields.extend(exif_fields(content))
        else:
            found.fields.append((kind.partition(":")[2], content.decode("utf-8", "replace")))
    return found


Part = tuple[str, bytes]  # "xmp", "jumbf", "exif" or "text:NAME", and the content


def _parts(data: bytes) -> Iterator[Part]:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[4:8] == b"ftyp":
        return _boxes(data)
    return iter(())


def _png(data: bytes) -> Iterator[Part]:
    place = 8
    for _ in range(_PARTS):
        if place + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + 8 + min(length, MOST)]
        if kind == b"IEND":
            return
        if kind == b"eXIf":
            yield "exif", content
        elif kind == b"caBX":
            yield "jumbf", content
        elif kind in _TEXT_CHUNKS:
            yield from _png_text(kind, content)
        place += 12 + length


_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")


def _png_text(kind: bytes, content: bytes) -> Iterator[Part]:
    name, _, rest = content.partition(b"\0")
    if kind == b"zTXt":
        rest = _unpacked(rest[1:])
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        rest = _unpacked(rest) if packed else rest
    else:
        rest = rest.decode("latin-1").encode()
    if name == b"XML:com.adobe.xmp":
        yield "xmp", rest
    else:
        yield f"text:{name.decode('latin-1')}", rest


def _unpacked(packed: bytes) -> bytes:
    """At most MOST bytes of it; what could be unpacked of a damaged stream."""
    machine = zlib.decompressobj()
    try:
        return machine.decompress(packed, MOST)
    except zlib.error:
        return b""


def _jpeg(data: bytes) -> Iterator[Part]:
    """Of its segments before the pixels; C2PA's boxes span segments, which are joined."""
    place, manifest, more = 2, bytearray(), bytearray()
    for _ in range(_PARTS):
        if place + 4 > len(data) or data[place] != 0xFF or data[place + 1] in (0xDA, 0xD9):
            break
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xFF:  # filling
            place += 1
            continue
        content = data[place + 4 : place + 2 + length]
        if marker == 0xE1 and content.startswith(_EXIF):
            yield "exif", content[len(_EXIF) :]
        elif marker == 0xE1 and content.startswith(_XMP):
            yield "xmp", content[len(_XMP) :]
        elif marker == 0xE1 and content.startswith(_XMP_MORE) and len(more) < MOST:
            more += content[len(_XMP_MORE) + 40 :]
        elif marker == 0xEB and content[:2] == b"JP" and len(manifest) < MOST:
            # Each segment repeats the eight bytes of the box's own header but the first.
            is_first = content[4:8] == b"\0\0\0\1"
            manifest += content[8:] if is_first or not manifest else content[16:]
        elif marker == 0xED:
            yield "text:Photoshop", content.decode("latin-1").encode()
        elif marker == 0xFE:
            yield "text:Comment", content
        place += 2 + max(2, length)
    if more:
        yield "xmp", bytes(more)
    if manifest:
        yield "jumbf", bytes(manifest)


def _webp(data: bytes) -> Iterator[Part]:
    place = 12
    for _ in range(_PARTS):
        if place + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, place)
        content = data[place + 8 : place + 8 + min(length, MOST)]
        if kind == b"EXIF":
            yield "exif", content.removeprefix(_EXIF)
        elif kind == b"XMP ":
            yield "xmp", content
        elif kind == b"C2PA":
            yield "jumbf", content
        place += 8 + length + length % 2


def _boxes(data: bytes) -> Iterator[Part]:
    """Of a file in boxes (AVIF, HEIF): the manifest's own box, and XMP wherever it stands."""
    place = 0
    for _ in range(_PARTS):
        if place + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"uuid" and data[place + 8 : place + 24] == _C2PA_UUID:
            yield "jumbf", data[place + 24 : place + min(max(length, 24), MOST)]
        if length < 8:  # to the end, or with a long length, which no metadata needs
            break
        place += length
    start = data.find(b"<x:xmpmeta", 0, 4 * MOST)
    if start >= 0:
        end = data.find(b"</x:xmpmeta>", start, start + MOST)
        yield "xmp", data[start : end if end >= 0 else start + MOST]


def exif_fields(block: bytes) -> list[tuple[str, str]]:
    """The fields of an EXIF block that programs write their names and prompts to."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return []
    inner: list[int] = []
    found = _directory(block, order, struct.unpack_from(f"{order}I", block, 4)[0], inner)
    for place in inner[:1]:
        found += _directory(block, order, place, [])
    return found


def _directory(block: bytes, order: str, place: int, more: list[int]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if place + 2 > len(block):
        return found
    (count,) = struct.unpack_from(f"{order}H", block, place)
    for number in range(min(count, 200)):
        start = place + 2 + 12 * number
        if start + 12 > len(block):
            break
        tag, kind, length, value = struct.unpack_from(f"{order}HHII", block, start)
        if tag == _EXIF_IFD:
            more.append(value)
        if tag in _SOFTWARE_TAGS and kind in (1, 2, 7):
            begin = start + 8 if length <= 4 else value
            content = block[begin : begin + min(length, MOST)]
            found.append((_SOFTWARE_TAGS[tag], _exif_text(tag, content)))
    return found


def _exif_text(tag: int, content: bytes) -> str:
    if tag >= 0x9C9B and tag <= 0x9C9F:
        return content.decode("utf-16-le", "replace").rstrip("\0")
    if content.startswith(b"UNICODE\0"):  # in the order that its program likes, not the block's
        codec = "utf-16-be" if content[8:9] == b"\0" else "utf-16-le"
        return content[8:].decode(codec, "replace").rstrip("\0")
    return content.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace").rstrip("\0 ")
