"""Published sets of true and false pairs, in the layouts in which they are published.

A damaged file is named with its line or entry. An item whose image is missing is left out, and
the image is named.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from pipeline import storage
from pipeline.probes.drawn_pairs import pair_questions
from pipeline.probes.files import Folder, Missing, damaged, require_some
from pipeline.probes.measures import Measure, chosen, winoground
from pipeline.probes.probe import Probe, Told, shown_of
from pipeline.probes.questions import Question, few

SUGARCREPE = (
    *("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"),
)
_SVO = (("subj_neg", "subject"), ("verb_neg", "verb"), ("obj_neg", "object"))
Entry = tuple[str, Any]  # where it stands, and what it says
Ask = Callable[[Folder, Entry], Sequence[Question]]


def winoground_probe(folder: str, images: str, limit: int | None) -> Probe:
    """Winoground (Thrush et al. 2022): `examples.jsonl`."""
    path = os.path.join(folder, "examples.jsonl")
    keys = ("image_0", "image_1", "caption_0", "caption_1")

    def ask(found: Folder, entry: Entry) -> list[Question]:
        place, value = entry
        first, second, text, other = texts_of(path, place, value, keys)
        kind = value.get("collapsed_tag")
        return pair_questions(
            *(place, kind if isinstance(kind, str) and kind else "all"),
            *((found.find(first), text), (found.find(second), other)),
        )

    told = Told(
        "Winoground",
        "Photographs: two images and two captions of the same words in another order.",
        "At or below chance the score takes a caption for a bag of words: no threshold on it"
        " tells who does what to whom.",
    )
    return _probe("winoground", told, few(lines(path), limit), (path, images), (ask, winoground))


def sugarcrepe_probe(folder: str, images: str, limit: int | None) -> Probe:
    """SugarCrepe (Hsieh et al. 2023): of two captions the true one must score higher."""

    def ask(found: Folder, entry: Entry) -> list[Question]:
        place, (name, value) = entry
        file = os.path.join(folder, f"{name}.json")
        keys = ("filename", "caption", "negative_caption")
        image, true, false = texts_of(file, place, value, keys)
        picture = found.find(image)
        return [Question(((picture, true), (picture, false)), 0, name, f"{name} {place}")]

    entries: list[Entry] = []
    for name in SUGARCREPE:
        path = os.path.join(folder, f"{name}.json")
        if os.path.exists(path):
            own = [(f"entry {key}", (name, value)) for key, value in _objects(path)]
            entries += few(own, limit)
    told = Told(
        "SugarCrepe",
        "Photographs of COCO: a true caption and one with something added, replaced or swapped.",
        "A category near one half is one that a threshold can't see: captions with such a fault"
        " pass as often as true ones.",
    )
    return _probe("sugarcrepe", told, entries, (folder, images), (ask, chosen))


def pairs_probe(name: str, file: str, images: str, limit: int | None) -> Probe:
    """True and false captions as JSON lines, such as ARO and VL-Checklist can be written."""

    def ask(found: Folder, entry: Entry) -> list[Question]:
        place, value = entry
        image, true = texts_of(file, place, value, ("image", "true"))
        false = value.get("false")
        wrong = false if isinstance(false, list) else [false]
        if not wrong or not all(isinstance(text, str) for text in wrong):
            raise damaged(file, place, "`false` must be a text, or several")
        picture = found.find(image, _box(file, place, value.get("box")))
        kind = value.get("category", "all")
        return [Question(tuple((picture, t) for t in (true, *wrong)), 0, str(kind), place)]

    told = Told(
        name,
        "A true caption beside false ones: is the true one highest?",
        "A category near chance is one that a threshold can't see.",
    )
    return _probe(name, told, few(lines(file), limit), (file, images), (ask, chosen))


def svo_probe(file: str, images: str, limit: int | None) -> Probe:
    """SVO-Probes (Hendricks and Nematzadeh 2021): of two images the true one must score higher."""

    def ask(found: Folder, entry: Entry) -> list[Question]:
        place, row = entry
        text, true, false = texts_of(file, place, row, ("sentence", "pos_image_id", "neg_image_id"))
        kinds = [kind for column, kind in _SVO if str(row.get(column)).lower() == "true"]
        pairs = ((found.find(true), text), (found.find(false), text))
        return [Question(pairs, 0, kinds[0] if kinds else "other", place)]

    told = Told(
        "SVO-Probes",
        "A sentence and two photographs, of which one has another subject, verb or object.",
        "A verb figure well below that of subjects and objects means that the score sees what is"
        " there and not what it does.",
    )
    return _probe("svo", told, few(_rows(file), limit), (file, images), (ask, chosen))


def _probe(
    name: str,
    told: Told,
    entries: Sequence[Entry],
    places: tuple[str, str],
    ways: tuple[Ask, Measure],
) -> Probe:
    """The probe over entries of a file, of which those without their images are left out."""
    source, images = places
    ask, measure = ways
    folder = Folder(images)
    questions: list[Question] = []
    for entry in entries:
        try:
            questions += ask(folder, entry)
        except Missing:
            folder.left_out += 1
    require_some(questions, folder, source)
    return Probe(
        *(name, told, tuple(questions), measure),
        shown=shown_of(questions),
        missing=folder.json(),
        notice=folder.told(),
    )


def lines(path: str) -> list[Entry]:
    """The objects of a file of JSON lines with the places where they stand."""
    found: list[Entry] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            value = _parsed(path, f"line {number}", line)
            if not isinstance(value, dict):
                raise damaged(path, f"line {number}", "is no object")
            found.append((f"line {number}", value))
    return found


def _objects(path: str) -> Iterator[tuple[str, Any]]:
    """The entries of a JSON object, or list, by key or place."""
    value = read_json(path)
    if isinstance(value, list):
        value = {str(number): entry for number, entry in enumerate(value)}
    if not isinstance(value, dict):
        raise damaged(path, "", "is no object of entries")
    for key, entry in value.items():
        if not isinstance(entry, dict):
            raise damaged(path, f"entry {key}", "is no object")
        yield key, entry


def _rows(path: str) -> list[Entry]:
    """The rows of a CSV file by line."""
    try:
        reader = csv.DictReader(StringIO(_text(path)), strict=True)
        return [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise damaged(path, "", f"is no CSV: {error}") from error


def read_json(path: str) -> Any:
    """What a JSON file of a data set holds. Raises DamagedFile."""
    return _parsed(path, "", _text(path))


def _parsed(path: str, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, place, f"is no JSON: {error}") from error


def _text(path: str) -> str:
    try:
        return storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(path, "", "is no UTF-8") from error


def texts_of(
    path: str, place: str, value: Mapping[str, Any], keys: Sequence[str]
) -> tuple[str, ...]:
    """The texts at these keys. Raises DamagedFile for one that is missing or none."""
    for key in keys:
        if not isinstance(value.get(key), str):
            raise damaged(path, place, f"has no text `{key}`")
    return tuple(value[key] for key in keys)


def _box(path: str, place: str, value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    is_box = isinstance(value, list) and len(value) == 4
    if not is_box or not all(type(n) in (int, float) for n in value):
        raise damaged(path, place, "`box` must be left, upper, width, height")
    left, upper, width, height = value
    if not (width >= 1 and height >= 1):
        raise damaged(path, place, f"`box` is {width} by {height} pixels")
    return left, upper, width, height
