"""Sets of images with classes: Babel-ImageNet in every language, and CLIP_benchmark's layout.

Pictures lie in folders by class or in tars; a class without a picture is left out of the figure
and counted.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import decoding, shards, storage
from pipeline.errors import CurationError
from pipeline.probes.files import EXTENSIONS, FilePicture, damaged
from pipeline.probes.probe import SHOWN, Probe, Told
from pipeline.probes.published import read_json
from pipeline.probes.questions import Grid, Picture, few

_CLASSES = 1000  # of ImageNet
_SUFFIXES = frozenset(EXTENSIONS[1:])
_KEPT_BYTES = 2_000_000_000  # of the images of tars in memory
Labels = dict[str, dict[int, str]]


@dataclass(frozen=True)
class BabelFiles:
    """Where Babel-ImageNet is, and what of it is asked; see the configuration."""

    labels: str
    images: str
    classes: str | None = None
    prompts: str | None = None
    languages: tuple[str, ...] = ()
    images_per_class: int = 50


def babel_probe(files: BabelFiles, limit: int | None) -> Probe:
    """Zero-shot accuracy in each language (Geigle et al. 2024, arXiv:2306.08658).

    Each language is asked about the classes that it has a label for, and their images alone.
    Those figures have different chances; `common` classes are those that all languages have.
    """
    labels = _labels(files)
    prompts = {} if files.prompts is None else _prompts(files.prompts)
    pictures = _pictures(files, limit)
    present = {label for _, label in pictures}
    wanted = {number for own in labels.values() for number in own}
    if not present & wanted:
        raise CurationError(f"{files.images}: holds no image of a class of {files.labels}")
    common = set.intersection(*(own.keys() & present for own in labels.values()))
    grids = []
    for language, own in labels.items():
        kept = sorted(own.keys() & present)
        places = {number: place for place, number in enumerate(kept)}
        ways = prompts.get(language, ("{}",))
        shown = [(picture, label) for picture, label in pictures if label in places]
        grids.append(
            Grid(
                name=language,
                pictures=tuple(picture for picture, _ in shown),
                options=tuple(tuple(w.replace("{}", own[n]) for w in ways) for n in kept),
                right=tuple(places[label] for _, label in shown),
                common=tuple(sorted(places[number] for number in common)),
            )
        )
    told = Told(
        "Babel-ImageNet",
        "Photographs of ImageNet's classes: which label is right, in each language? Every language"
        f" has its own classes; {len(common)} of them all languages share.",
        "A language far below English gets lower scores for captions that are as good: give it a"
        " threshold of its own (“per: language”), or score a translation.",
    )
    lost = sorted(wanted - present)
    return Probe(
        *("babel_imagenet", told),
        grids=tuple(grid for grid in grids if grid.pictures),
        shown=_shown(grids[0]),
        missing={"classes": lost, "prompts": sorted(labels.keys() - prompts.keys())},
        notice=f"{len(lost):,} classes have no image in {files.images}" if lost else None,
    )


def _labels(files: BabelFiles) -> Labels:
    """Labels by language and class."""
    value = read_json(files.labels)
    if not isinstance(value, dict) or not value:
        raise damaged(files.labels, "", "is no object of languages")
    unknown = [name for name in files.languages if name not in value]
    if unknown:
        known = ", ".join(sorted(value))
        raise CurationError(f"{files.labels}: has no language {unknown[0]!r}; known are {known}")
    found: Labels = {}
    for language in files.languages or value:
        entry = value[language]
        is_pair = isinstance(entry, list) and len(entry) == 2
        if not is_pair or not all(isinstance(part, list) for part in entry):
            raise damaged(files.labels, language, "is no pair of lists: indices and labels")
        numbers, texts = entry
        fits = len(numbers) == len(texts) and all(type(n) is int for n in numbers)
        if not fits or not all(isinstance(text, str) for text in texts):
            raise damaged(files.labels, language, "indices and labels don't match")
        found[language] = dict(zip(numbers, texts, strict=True))
    return found


def _prompts(path: str) -> dict[str, tuple[str, ...]]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise damaged(path, "", "is no object of languages")
    for language, texts in value.items():
        is_list = isinstance(texts, list) and texts
        if not is_list or not all(isinstance(t, str) and "{}" in t for t in texts):
            raise damaged(path, language, "is no list of texts with {}")
    return {language: tuple(texts) for language, texts in value.items()}


def _pictures(files: BabelFiles, limit: int | None) -> list[tuple[Picture, int]]:
    """The pictures with the index of their class, so many of each."""
    most = files.images_per_class if limit is None else min(limit, files.images_per_class)
    found: list[tuple[Picture, int]] = []
    for number, folder in sorted(_class_folders(files).items()):
        place = os.path.join(files.images, folder)
        names = [n for n in os.listdir(place) if os.path.splitext(n)[1].lower() in _SUFFIXES]
        found += [
            (FilePicture(f"{folder}/{name}", os.path.join(place, name)), number)
            for name in few(sorted(names), most)
        ]
    return found


def _class_folders(files: BabelFiles) -> dict[int, str]:
    """The folder of every class that has one, by its index."""
    here = sorted(entry.name for entry in os.scandir(files.images) if entry.is_dir())
    if files.classes is not None:
        order = storage.read_bytes(files.classes).decode("utf-8", "replace").split("\n")
        named = [line.split()[0] if line.split() else "" for line in order]
        return {number: name for number, name in enumerate(named) if name in set(here)}
    if here and all(name.isascii() and name.isdecimal() for name in here):
        return {int(name): name for name in here}
    if len(here) == _CLASSES:
        return dict(enumerate(here))
    raise CurationError(
        f"{files.images}: has {len(here)} folders, neither all {_CLASSES} of ImageNet nor called by"
        " index; say their order with `classes:`"
    )


@dataclass(frozen=True)
class StoredPicture:
    """An image out of a tar."""

    name: str
    data: bytes = field(compare=False, repr=False)

    def read(self) -> bytes:
        return self.data


def classification_probe(name: str, folder: str, split: str, limit: int | None) -> Probe:
    """Zero-shot accuracy over a set in CLIP_benchmark's layout: tars of images and `cls`."""
    names = _words(os.path.join(folder, "classnames.txt"))
    path = os.path.join(folder, "zeroshot_classification_templates.txt")
    templates = _words(path) if os.path.exists(path) else ["{c}"]
    lacking = [text for text in templates if "{c}" not in text]
    if lacking:
        raise damaged(path, "", f"{lacking[0]!r} has no {{c}}")
    found = _stored(os.path.join(folder, split), len(names), limit)
    grid = Grid(
        name=name,
        pictures=tuple(picture for picture, _ in found),
        options=tuple(tuple(t.replace("{c}", one) for t in templates) for one in names),
        right=tuple(label for _, label in found),
    )
    told = Told(
        name,
        f"Images of {len(names)} classes: which name is right?",
        "Classes that the score does not know are dropped from a selection for its lack of"
        " knowledge, not for their captions.",
    )
    return Probe(name, told, grids=(grid,), shown=_shown(grid))


def _words(path: str) -> list[str]:
    text = storage.read_bytes(path).decode("utf-8", "replace")
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise damaged(path, "", "is empty")
    return found


def _stored(folder: str, classes: int, limit: int | None) -> list[tuple[Picture, int]]:
    """The images of the tars with their classes; of a large set those that `limit` draws."""
    tars = [name for name in storage.files_below(folder) if name.endswith(".tar")]
    found: list[tuple[Picture, int]] = []
    held = 0
    for tar in sorted(tars, key=lambda name: (len(name), name)):
        path = os.path.join(folder, tar)
        for sample in shards.read_shard(path):
            if sample.failed is not None:
                raise damaged(path, sample.key, sample.detail or sample.failed)
            label = _class_of(path, sample.key, sample.parts, classes)
            image = [sample.parts[e] for e in _KNOWN if e in sample.parts]
            if not image:
                raise damaged(path, sample.key, "has no image")
            held += len(image[0])
            if held > _KEPT_BYTES:
                raise CurationError(f"{folder}: more than {_KEPT_BYTES:,} bytes of images")
            found.append((StoredPicture(f"{tar}/{sample.key}", image[0]), label))
    if not found:
        raise CurationError(f"{folder}: holds no tar with samples")
    return few(found, limit)


_KNOWN = tuple(dict.fromkeys(["webp", "png", "jpg", "jpeg", *decoding.EXTENSIONS.values()]))


def _class_of(path: str, key: str, parts: Mapping[str, bytes], classes: int) -> int:
    text = parts.get("cls", b"").decode("ascii", "replace").strip()
    if not text.isdecimal() or len(text) > 9 or int(text) >= classes:
        raise damaged(path, key, f"`cls` is {text!r}, not a number below {classes}")
    return int(text)


def _shown(grid: Grid) -> tuple[tuple[Picture, str], ...]:
    step = (len(grid.pictures) // SHOWN) | 1
    both: Iterable[tuple[Picture, int]] = zip(grid.pictures, grid.right, strict=True)
    named: Sequence[Any] = [(picture, grid.options[place][0]) for picture, place in both]
    return tuple(named[::step][:SHOWN])
