"""How one kept row looks in the training set: its image, its text, its json."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline import blur, decoding, encoding
from pipeline.aspect import Buckets, Fit, fit, resized
from pipeline.columns import ColumnSet
from pipeline.embeddings import Embedding
from pipeline.pool import BASE, Shard, read_base
from pipeline.texts import Choice, told

_NOT_PROVENANCE = frozenset(
    {"key", "caption", "captions", "extension", "failed", "detail", "retriable", "image_sha256"}
)


CAPTION = Choice(("caption",))


class NoCaption(decoding.Unreadable):
    """The column chosen for `txt` is NULL in this row."""


class NoBoxes(decoding.Unreadable):
    """Nobody knows what is to be blurred in this row."""


class TooSmall(decoding.Unreadable):
    """The image fills none of the sizes that the recipe asks for."""


class NoImage(decoding.Unreadable):
    """This row is metadata alone."""


@dataclass(frozen=True)
class RenderOptions:
    """How images and texts are written.

    `image` is `original`, `jpg` or `webp`; `max_side` in pixels. `txt` chooses the text, `files`
    those of further members; `captions` names columns of captions that go into the json, `scores`
    columns of their scores with the column that each is about, `json` any other columns,
    `embeddings` columns of vectors that lie beside the samples, `blur` one of boxes that are made
    unrecognisable. `buckets` are the sizes that images are brought to. `columns` has the set of
    each of those columns that is not a base column.
    """

    image: str = "original"
    quality: int = 90
    max_side: int | None = None
    resize: str = "longest"
    blur: str | None = None
    buckets: Buckets | None = None
    txt: Choice = CAPTION
    files: Mapping[str, Choice] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    scores: Mapping[str, str] = field(default_factory=dict)
    json: tuple[str, ...] = ()
    seed: int = 0
    embeddings: tuple[Embedding, ...] = ()
    columns: Mapping[str, ColumnSet] = field(default_factory=dict)

    @property
    def draws(self) -> bool:
        """Whether a text is drawn, so that copies of a row differ."""
        return any(choice.weights for choice in (self.txt, *self.files.values()))

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns behind texts, json and blur, base columns too."""
        chosen = [name for choice in (self.txt, *self.files.values()) for name in choice.reads]
        blurred = [self.blur] if self.blur else []
        told = [*self.captions, *self.scores, *self.json]
        return tuple(dict.fromkeys([*chosen, *told, *blurred]))

    def read_columns(self, root: str, shard: Shard) -> dict[str, list[Any]]:
        """The columns that image, text and json need, as lists over the rows of a pool shard."""
        base = read_base(root, shard, [name for name in self.reads if name in BASE.names])
        found = {name: base[name].to_pylist() for name in base.column_names}
        for name in self.reads:
            if name not in found:
                found[name] = self.columns[name].read(shard, [name])[name].to_pylist()
        return found


@dataclass(frozen=True)
class Row:
    """A kept row: its base columns, the image bytes as stored, and the columns asked for.

    A row of metadata alone has no image. `vectors` are its embeddings, packed.
    """

    base: Mapping[str, Any]
    image: bytes | None = field(repr=False)
    columns: Mapping[str, Any] = field(default_factory=dict)
    vectors: bytes = field(default=b"", repr=False)

    @property
    def key(self) -> bytes:
        key: bytes = self.base["key"]
        return key


class Picture(NamedTuple):
    """An image as it is written: sizes are width and height, `before` those it came with.

    `bucket` is the number of the size that it was brought to, if there are such.
    """

    data: bytes
    extension: str
    size: tuple[int, int]
    before: tuple[int, int]
    fitted: Fit
    bucket: int | None = None


class Rendition(NamedTuple):
    """The members of each copy by extension, and the bucket of sizes that they belong to."""

    samples: list[dict[str, bytes]]
    bucket: int | None


def render(row: Row, options: RenderOptions, max_pixels: int, keys: Sequence[bytes]) -> Rendition:
    """A sample for each of `keys`, those of copies of the row: image, `txt`, other texts, `json`.

    Raises Unreadable when the image can't be decoded where it has to be, NoImage when the row has
    none, NoCaption when a copy has no text, NoBoxes when it is not known what to blur, TooSmall
    when it fills no bucket. The json has one schema for all samples and holds no null: what may be
    missing is inside strings of JSON. A further text that is missing is empty.
    """
    if row.image is None:
        raise NoImage("no_image", "the row is metadata alone")
    texts = [_texts(row, options, key) for key in keys]
    picture = _picture(row.image, options, _hidden(row, options), max_pixels)
    shared = _fields(row, options, picture)
    samples = []
    for key, own in zip(keys, texts, strict=True):
        members = {name: text.encode("utf-8") for name, text in own.items()}
        fields = {"key": key.hex(), "caption": own["txt"], **shared}
        samples.append(
            {picture.extension: picture.data, **members, "json": _text(fields).encode("utf-8")}
        )
    return Rendition(samples, picture.bucket)


def _texts(row: Row, options: RenderOptions, key: bytes) -> dict[str, str]:
    """The texts of a sample by extension. Raises NoCaption when it has no `txt`."""
    text = options.txt.text(row.columns, key, options.seed, "txt")
    if text is None:
        raise NoCaption("no_caption", f"no text in {', '.join(options.txt.columns)}")
    files = {
        f"{name}.txt": choice.text(row.columns, key, options.seed, name) or ""
        for name, choice in options.files.items()
    }
    return {"txt": text, **files}


def _fields(row: Row, options: RenderOptions, picture: Picture) -> dict[str, Any]:
    """What the json of every copy holds.

    Of images in buckets also what models of Stable Diffusion XL's kind are told of how they came
    to their size.
    """
    fields: dict[str, Any] = {
        "width": picture.size[0],
        "height": picture.size[1],
        "sha256": hashlib.sha256(picture.data).hexdigest(),
        "captions": _text(list(_with_boxes(_captions(row, options), options, picture.fitted))),
        "columns": _text({name: row.columns[name] for name in options.json}),
        "provenance": _text(_provenance(row.base)),
    }
    if picture.bucket is not None:
        fields |= {
            "original_width": picture.before[0],
            "original_height": picture.before[1],
            "crop_left": picture.fitted.left,
            "crop_top": picture.fitted.top,
        }
    return fields


def _captions(row: Row, options: RenderOptions) -> list[dict[str, Any]]:
    """The captions that the row came with, and those of the columns asked for."""
    if "captions" in options.scores.values():
        raw = told({**row.columns, "captions": row.base["captions"]}, ["captions"], options.scores)
    else:
        raw = [_without_null(caption) for caption in row.base["captions"] or []]
    return raw + told(row.columns, options.captions, options.scores)


def _with_boxes(
    captions: list[dict[str, Any]], options: RenderOptions, fitted: Fit
) -> Iterator[dict[str, Any]]:
    """Captions with their boxes as shares of the picture as written; those cut off are left out."""
    for caption in captions:
        box = caption.get("box")
        if box and (options.max_side is not None or options.buckets is not None):
            box = fitted.box(box)
            if box is None:
                continue
            caption = {**caption, "box": [round(share, 6) for share in box]}
        yield caption


def _hidden(row: Row, options: RenderOptions) -> list[float]:
    """The boxes to blur: five numbers for each."""
    if options.blur is None:
        return []
    boxes: list[float] | None = row.columns[options.blur]
    if boxes is None:
        raise NoBoxes("no_boxes", f"{options.blur} is NULL")
    if not blur.is_boxes(boxes):
        raise NoBoxes("no_boxes", f"{options.blur} does not hold boxes as shares of the picture")
    return boxes


def _without_null(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _provenance(base: Mapping[str, Any]) -> dict[str, Any]:
    known = {n: base[n] for n in BASE.names if n not in _NOT_PROVENANCE and base[n] is not None}
    sha = base["image_sha256"]
    return known | ({} if sha is None else {"image_sha256": sha.hex()})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _picture(data: bytes, options: RenderOptions, hidden: list[float], max_pixels: int) -> Picture:
    header = decoding.read_header(data, max_pixels=max_pixels)
    before = header.width, header.height
    bucket = None if options.buckets is None else _bucket(options.buckets, before)
    is_sized = options.max_side is not None or bucket is not None
    is_kept = options.image == "original"
    if is_kept and not is_sized and not hidden:
        written, extension = encoding.original(data, header)
        return Picture(written, extension, before, before, Fit(before, before, 0, 0))
    size = None if options.buckets is None or bucket is None else options.buckets.sizes[bucket]
    pixels, fitted = _sized(data, options, (hidden, size), max_pixels)
    extension = "jpg" if is_kept else options.image
    quality = encoding.ORIGINAL_QUALITY if is_kept and not is_sized else options.quality
    written = encoding.encode(pixels, extension, quality)
    shape = pixels.shape[1], pixels.shape[0]
    return Picture(written, extension, shape, before, fitted, bucket)


def _bucket(buckets: Buckets, size: tuple[int, int]) -> int:
    number = buckets.choose(*size)
    if number is None:
        raise TooSmall("too_small", f"{size[0]}x{size[1]} fills no bucket")
    return number


def _sized(
    data: bytes,
    options: RenderOptions,
    how: tuple[list[float], tuple[int, int] | None],
    max_pixels: int,
) -> tuple[decoding.Pixels, Fit]:
    """The pixels, with boxes hidden, brought to a size or to what the options say."""
    hidden, size = how
    wanted = options.max_side if size is None else max(size)
    enough = None if wanted is None else 2 * wanted
    pixels = decoding.decode(data, enough, max_pixels=max_pixels)
    if hidden:
        pixels = blur.blurred(pixels, hidden)
    shape = pixels.shape[1], pixels.shape[0]
    if size is not None:
        fitted = fit(*shape, size)
        return encoding.cover(pixels, fitted), fitted
    if options.max_side is None:
        return pixels, Fit(shape, shape, 0, 0)
    fitted = resized(*shape, options.max_side, options.resize)
    return encoding.resize(pixels, options.max_side, options.resize), fitted
