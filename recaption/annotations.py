"""Boxes that people drew, in the files they are published in: COCO, Pascal VOC, YOLO, DOTA, masks.

Every reader returns what each picture shows by the name of its file without the extension, as a
path below the folder where the format knows one. Boxes are left, top, right, bottom. What is
damaged is a ValueError that names file and place: in place of the picture whose boxes can't be
read, raised where there are several and none can.
"""

import json
import math
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

_EXTENSIONS = {"coco": "", "voc": ".xml", "yolo": ".txt", "dota": ".txt", "masks": ".png"}
FORMATS = tuple(_EXTENSIONS)
_NAMED = ("yolo", "masks")  # formats that have numbers for classes
_VOC_TEXT = ("description", "expression", "caption")  # DIOR-RSVG says what a box shows
_IGNORED = (0, 255)  # values of a mask that are no class
_CLASSES = "classes.txt"
_MOST_PIXELS = 1 << 31  # of a side; more is no size

Box = tuple[float, float, float, float]


class Thing(NamedTuple):
    """One box: its class, and what it shows in words where the file says so."""

    category: str
    box: Box
    text: str | None = None


class Annotated(NamedTuple):
    """The things of a picture; `size` is width and height, (1, 1) if boxes are shares, or unknown.

    Of a picture whose size is unknown the boxes are in its own pixels.
    """

    things: tuple[Thing, ...]
    size: tuple[int, int] | None = None


Pictures = dict[str, Annotated | ValueError]


def read(path: str, kind: str, classes: str | None = None) -> Pictures:
    """All pictures of a file (`coco`) or of a folder (the others).

    `classes` is a file with a name in each line, for the numbers that `yolo` (from 0) and `masks`
    (from 0, where 0 is the background) have in their place.
    """
    names = check(path, kind, classes)
    readers: dict[str, Callable[[str], Annotated]] = {
        "voc": _voc,
        "yolo": lambda file: _yolo(file, names),
        "dota": _dota,
        "masks": lambda file: _mask(file, names),
    }
    return _coco(path) if kind == "coco" else _each(path, kind, readers[kind])


def check(path: str, kind: str, classes: str | None = None) -> list[str]:
    """The names of numbered classes. Raises ValueError for what is wrong before boxes are read."""
    if kind not in FORMATS:
        raise ValueError(f"format {kind!r}: known are {', '.join(FORMATS)}")
    if kind == "coco" and os.path.isdir(path):
        raise ValueError(f"annotations {path!r}: is a folder, and COCO has one file")
    if not _of_kind(path, kind):
        raise ValueError(f"annotations {path!r}: there is no {_EXTENSIONS[kind]} file")
    return _names(classes or os.path.join(path, _CLASSES)) if kind in _NAMED else []


def files(path: str) -> list[str]:
    """The files that a set of annotations is made of, in order."""
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise ValueError(f"annotations {path!r}: there is no such file or folder")
    found = [os.path.join(at, name) for at, _, own in os.walk(path) for name in own]
    return sorted(found)


def _of_kind(path: str, kind: str) -> list[str]:
    extension = _EXTENSIONS[kind]
    return [n for n in files(path) if n.endswith(extension) and os.path.basename(n) != _CLASSES]


def _each(path: str, kind: str, read_one: Callable[[str], Annotated]) -> Pictures:
    found: Pictures = {}
    for file in _of_kind(path, kind):
        below = os.path.relpath(file, path) if os.path.isdir(path) else os.path.basename(file)
        found[stem(below.replace(os.sep, "/"))] = _one(file, read_one)
    damage = [one for one in found.values() if isinstance(one, ValueError)]
    if len(damage) == len(found) > 1:  # they are of another format
        raise damage[0]
    return found


def _one(file: str, read_one: Callable[[str], Annotated]) -> Annotated | ValueError:
    """What a file says of its picture, or why that is not known."""
    try:
        found = read_one(file)
    except (OSError, ValueError) as error:  # a new one: it is kept, and should keep nothing
        return ValueError(str(error))
    try:
        list(map(_finite, found.things))
    except ValueError as error:
        return ValueError(f"{file}: {error}")
    return found


def stem(name: str) -> str:
    """The name of a file without its extension, `a/b.c.jpg`: `a/b.c`."""
    return posixpath.splitext(name)[0]


def _names(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            return [line.strip() for line in stream if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"classes {path!r}: can't be read, and the format needs them") from error


def _named(names: list[str], number: int, place: str) -> str:
    if not 0 <= number < len(names):
        raise ValueError(f"{place}: class {number}, and {len(names)} classes are named")
    return names[number]


def _coco(path: str) -> Pictures:
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        classes = {one["id"]: str(one["name"]) for one in data["categories"]}
        things: dict[Any, list[Thing] | ValueError] = {}
        for one in data["images"]:
            twice = ValueError(f"{path}: several images have the id {one['id']!r}")
            things[one["id"]] = twice if one["id"] in things else []
        for one in data["annotations"]:
            own = None if one.get("iscrowd") else things.get(one["image_id"])
            if isinstance(own, list):
                try:
                    own.append(_coco_thing(one, classes))
                except ValueError as error:
                    where = f"{path}: image {one['image_id']!r}"
                    things[one["image_id"]] = ValueError(f"{where}: {error}")
        return _by_name(path, data["images"], things)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: is no COCO file of boxes: {type(error).__name__} {error}"
        ) from error


def _coco_thing(one: Mapping[str, Any], classes: Mapping[Any, str]) -> Thing:
    try:
        left, top, width, height = map(float, one["bbox"])
        category = classes[one["category_id"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        told = f"lacks {error}" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"an annotation is damaged: {told}") from error
    text = one.get("caption")
    box = (left, top, left + width, top + height)
    return _finite(Thing(category, box, text if isinstance(text, str) else None))


def _by_name(
    path: str, images: list[Mapping[str, Any]], things: Mapping[Any, list[Thing] | ValueError]
) -> Pictures:
    found: Pictures = {}
    for one in images:
        name, own = stem(str(one["file_name"])), things[one["id"]]
        if name in found:
            found[name] = ValueError(f"{path}: several images are called {name!r}")
        else:
            size = _size(one)
            found[name] = own if isinstance(own, ValueError) else Annotated(tuple(own), size)
    return found


def _finite(thing: Thing) -> Thing:
    if not all(map(math.isfinite, thing.box)):
        raise ValueError(f"a box of {thing.category!r} is no box: {thing.box}")
    return thing


def _size(one: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = one.get("width"), one.get("height")
    if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
        return (width, height) if max(width, height) < _MOST_PIXELS else None
    return None


def _voc(path: str) -> Annotated:
    """VOC counts pixels from 1, and the last one belongs to the box."""
    try:
        root = ElementTree.parse(path).getroot()
        things = tuple(_voc_thing(one) for one in root.iter("object"))
        size = [int(float(root.findtext(f"size/{side}", "0"))) for side in ("width", "height")]
    except (OSError, ElementTree.ParseError, LookupError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: is no annotation of Pascal VOC: {error}") from error
    return Annotated(things, (size[0], size[1]) if min(size) > 0 else None)


def _voc_thing(one: ElementTree.Element) -> Thing:
    corners = [one.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
    name = one.findtext("name")
    if name is None or None in corners:
        raise ValueError("an object without name or box")
    left, top, right, bottom = (float(text or "") for text in corners)
    told = next((text for tag in _VOC_TEXT if (text := one.findtext(tag))), None)
    return Thing(name.strip(), (left - 1, top - 1, right, bottom), told and told.strip())


def _lines(path: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of a text file as words, with their places for messages."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield f"{path}:{number}", line.split()


def _yolo(path: str, names: list[str]) -> Annotated:
    """`class centre-x centre-y width height [confidence]`, or `class` and a polygon; shares."""
    things = []
    for place, words in _lines(path):
        try:
            number, values = int(float(words[0])), [float(word) for word in words[1:]]
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{place}: {error}") from error
        if len(values) in (4, 5):
            x, y, width, height = values[:4]
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            box = _around(values)
        else:
            raise ValueError(f"{place}: {len(values)} numbers are neither a box nor a polygon")
        things.append(Thing(_named(names, number, place), box))
    return Annotated(tuple(things), (1, 1))


def _dota(path: str) -> Annotated:
    """`x1 y1 x2 y2 x3 y3 x4 y4 class difficult` in pixels, below two lines about the picture."""
    things = []
    for place, words in _lines(path):
        if len(words) == 1 and ":" in words[0]:  # imagesource:…, gsd:…
            continue
        try:
            things.append(Thing(words[8], _around([float(word) for word in words[:8]])))
        except (ValueError, IndexError) as error:
            raise ValueError(f"{place}: is no line of DOTA: {error}") from error
    return Annotated(tuple(things))


def _around(points: list[float]) -> Box:
    xs, ys = points[::2], points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _mask(path: str, names: list[str]) -> Annotated:
    from PIL import Image

    try:
        with Image.open(path) as image:
            classes = np.asarray(image if image.mode in ("L", "P") else image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: can't be read as a mask: {error}") from error
    things = [
        Thing(_named(names, value, path), box)
        for value in np.unique(classes).tolist()
        if value not in _IGNORED
        for box in mask_boxes(classes == value)
    ]
    return Annotated(tuple(things), (classes.shape[1], classes.shape[0]))


def mask_boxes(mask: npt.NDArray[np.bool_], least: int = 16) -> list[Box]:
    """Mask-to-box of RemoteCLIP (arXiv:2306.11029): a box around each outer contour of a mask.

    Border following of Suzuki as OpenCV has it; holes make no box of their own. Parts whose box
    holds fewer than `least` pixels are left out. In the order of their upper left corners.
    """
    import cv2

    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(contour) for contour in found]
    kept = [(x, y, x + w, y + h) for x, y, w, h in boxes if w * h >= least]
    return [tuple(map(float, box)) for box in sorted(kept, key=lambda b: (b[1], b[0], b))]  # type: ignore[misc]
