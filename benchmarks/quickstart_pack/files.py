"""The bytes of each planned file: which format, which size, and what is done to the picture."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.quickstart_pack import pictures
from benchmarks.quickstart_pack.credits import SCRIPT, Credit
from benchmarks.quickstart_pack.faults import Planned
from benchmarks.quickstart_pack.originals import Original
from benchmarks.quickstart_pack.pictures import Format
from benchmarks.quickstart_pack.texts import WEB_PAGES
from pipeline.keys import draw

_STRIP_ASPECT = 4.4
_COPY_SHORT = 208
_TINY_SHORT = (60, 150)
_HEADER_BYTES = 24


@dataclass(frozen=True)
class File:
    """A picture file and its caption; `place` is the Debian package and the path in it."""

    planned: Planned
    extension: str
    content: bytes
    credit: Credit
    place: str = ""


def make_file(planned: Planned, originals: Mapping[str, Original], seed: int) -> File:
    """The file of a plan; `originals` is keyed by the name of the item."""
    if planned.item is None:
        return File(planned, "jpg", _lost_content(planned), SCRIPT)
    original = originals[planned.item.name]
    form = _format(original, planned, seed)
    content = _content(original, planned, form, seed)
    return File(planned, form, content, original.credit, original.place)


def _lost_content(planned: Planned) -> bytes:
    if planned.how == "an empty file":
        return b""
    page = WEB_PAGES[len(planned.caption) % len(WEB_PAGES)]
    return page.encode()


def _format(original: Original, planned: Planned, seed: int) -> Format:
    """JPEG for most photos; PNG and WebP with transparency for most drawings."""
    if planned.fault == "rotated":
        return "jpg"
    if planned.fault == "duplicate":
        return "webp" if planned.how == "smaller webp" else "jpg"
    lot = draw(original.item.name.encode(), seed, "format")
    if original.item.is_photo:
        return "webp" if lot < 0.12 else "jpg"
    return "png" if lot < 0.4 else "webp" if lot < 0.65 else "jpg"


def _content(original: Original, planned: Planned, form: Format, seed: int) -> bytes:
    image = original.image
    match planned.fault:
        case "tiny":
            lot = draw(original.item.name.encode(), seed, "tiny")
            low, high = _TINY_SHORT
            small = pictures.with_short_side(image, round(low + lot * (high - low)))
            return pictures.encode(small, form)
        case "extreme_aspect":
            strip = pictures.middle_strip(image, _STRIP_ASPECT)
            return pictures.encode(pictures.with_short_side(strip, pictures.PHOTO_SHORT), form)
        case "duplicate":
            return _copy(pictures.fit_photo(image), planned.how, form)
        case "rotated":
            tag = int(planned.how.rpartition(" ")[2])
            turned = pictures.sideways(pictures.fit_photo(image), tag)
            return pictures.encode(turned, form, orientation=tag)
    fit = pictures.fit_photo if original.item.is_photo else pictures.fit_drawing
    content = pictures.encode(fit(image), form)
    return _damaged(content, planned.how) if planned.fault == "broken" else content


def _copy(image: pictures.Picture, how: str, form: Format) -> bytes:
    """The picture once more, smaller and with coarser compression, in one of `REWRITES`."""
    if how == "brighter":
        image = pictures.brighter(image, 1.06)
    if how == "edge cut":
        image = pictures.without_edge(image, 0.01)
    return pictures.encode(pictures.with_short_side(image, _COPY_SHORT), form, quality=65)


def _damaged(content: bytes, how: str) -> bytes:
    if how == "cut off in the middle":
        return content[: len(content) // 2]
    return bytes(_HEADER_BYTES) + content[_HEADER_BYTES:]
