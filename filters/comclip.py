"""ComCLIP: the CLIP score of a caption with subject, verb and object, part by part.

Right things in wrong roles, which a CLIP score hardly sees, are to lower it. It is asked of English
captions in which a few rules find the three; the others it leaves alone.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.clip import EMBEDDED, ClipScore, Floats, Pixels, clip_of
from filters.roles import Roles, find_roles
from filters.unread import UNREAD

Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares
Asking = Generator[list["View"], Floats, Any]  # asks for the vectors of views, until it returns

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_MOST_BOXES = 16  # of a picture that are tried, those with the best scores
_SIDE = 2 / 3  # of a crop, of the side it is cut from
_AT = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5))
_LEAST = 1e-6  # of support that weights can be made of
_ROWS = 64  # whose vectors are in memory at once
_PICTURES = 128  # that are, about
_COLUMNS: dict[str, pa.DataType] = {
    "comclip_score": pa.float32(),
    "comclip_parts": pa.list_(
        pa.struct(
            [
                ("role", pa.string()),
                ("words", pa.string()),
                ("support", pa.float32()),
                ("weight", pa.float32()),
                ("box", pa.list_(pa.float32())),
            ]
        )
    ),
    "comclip_truncated": pa.bool_(),
}


@dataclass(frozen=True)
class ComClip:
    """`comclip_score`, after ComCLIP (Jiang et al., arXiv:2211.13854), and `comclip_parts`.

    Subject and object have a picture each in which all but their boxes is black, the predicate
    has that of both. With unit vectors x of the picture, x_k of those of the parts and t_k of
    their words, the score is the cosine of the caption with x + sum w_k x_k. The paper weighs by
    a_k / sum a of a_k = x_k t_k, which explodes where the sum is near zero; here w is
    softmax(a / `temperature`), and when no part has any support the score is the plain cosine.

    NULL where no subject, verb and object are found: such a caption is not asked. To let it
    pass, a recipe says so: `comclip_score is null or comclip_score > 0.2`. Where nothing is read
    in the text at all, the row has a reason, too. A row that is asked takes twenty pictures. With
    the embedded encoder it is a diagnostic: it tells the quickstart pack's wrong captions no
    better than `clip_score` does, nor captions whose subject and object have changed places,
    which neither does. What to look at are the parts.

    `boxes` names a column of boxes with five numbers each (left, top, right, bottom as shares,
    score), `labels` one of their names. An entity has the boxes whose label has its word; without
    labels, the box whose crop agrees best with its word. Without `boxes` crops are tried: of five
    with two thirds of the sides the best one is cut again, `depth` times. Where no crop agrees
    better than the whole picture, or no label has the word, it is the whole picture.

    `comclip_parts` says of each part: role, words, support a, weight, and the box around it.
    `comclip_truncated` says which captions are longer than the model reads, as `clip_truncated`
    does, also of those that are not asked. The model's parameters are those of `clip`.
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    text: str = "caption"
    batch_size: int = 32
    boxes: str | None = None
    labels: str | None = None
    depth: int = 2
    temperature: float = 0.1

    version: ClassVar[int] = 3  # says of which texts nothing is read
    makes_batches: ClassVar[bool] = True
    needs: ClassVar[dict[str, str]] = {"text": "text", "boxes": "numbers", "labels": "texts"}
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self._clip.precision)  # `auto` is settled there
        if not 0 <= self.depth <= 4:
            raise ValueError(f"depth must be 0 to 4, got {self.depth}")
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.labels is not None and self.boxes is None:
            raise ValueError(f"labels {self.labels!r} are of no use without `boxes`")

    @property
    def reads(self) -> tuple[str, ...]:
        given = (name for name in (self.boxes, self.labels) if name is not None)
        return ("image", self.text, *given)

    @property
    def image_request(self) -> int:
        """Twice what `clip` asks for: a crop of a crop has less than half the picture's sides."""
        return 2 * self._clip.image_request

    @property
    def device(self) -> str:
        return self._clip.device

    @property
    def identity(self) -> dict[str, Any]:
        names = ("boxes", "labels", "depth", "temperature")
        own = {name: getattr(self, name) for name in names}
        return {**self._clip.identity, **own, "clip": ClipScore.version}

    @property
    def weights_digest(self) -> str:
        return self._clip.weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        self._clip.prepare()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch[self.text]
        values: dict[str, list[Any]] = {name: [None] * len(texts) for name in _COLUMNS}
        values["comclip_truncated"] = self._clip.are_cut(texts)
        blank = self._clip.are_blank(texts)
        values["comclip_score"] = [UNREAD if is_blank else None for is_blank in blank]
        asked = [(i, roles) for i, text in enumerate(texts) if (roles := find_roles(text))]
        for start in range(0, len(asked), _ROWS):
            some = asked[start : start + _ROWS]
            spoken = [part for i, roles in some for part in (texts[i], *roles)]
            read = self._clip.encode_texts(spoken).reshape(len(some), 4, -1)
            pairs = zip(some, read, strict=True)
            asking = [self._row(batch, i, roles, vectors) for (i, roles), vectors in pairs]
            most = -(-_PICTURES // self.batch_size) * self.batch_size
            rows = together(asking, self._clip.encode_images, most)
            for (i, _), (score, parts) in zip(some, rows, strict=True):
                values["comclip_score"][i], values["comclip_parts"][i] = score, parts
        return values

    def _row(self, batch: dict[str, list[Any]], i: int, roles: Roles, read: Floats) -> Asking:
        """Score and parts of a row; `read` has the vectors of its caption and the three parts."""
        image, entities = batch["image"][i], read[[1, 3]]
        whole = (yield [View(image)])[0]
        if self.boxes is None:
            places = yield from tried(image, entities, whole, self.depth)
        else:
            labels = None if self.labels is None else batch[self.labels][i]
            boxes = given_boxes(batch[self.boxes][i], labels)
            if labels is None:
                crops = [box for box, _ in boxes[:_MOST_BOXES]]
                places = yield from chosen(image, entities, whole, crops)
            else:
                places = [labelled(boxes, word) for word in (roles.subject, roles.object)]
        shown = [places[0], places[0] + places[1], places[1]]
        seen = yield [View.only(image, boxes) for boxes in shown]
        found = combined(whole, seen, read, self.temperature)
        parts = zip(Roles._fields, roles, found.support, found.weights, shown, strict=True)
        names = ("role", "words", "support", "weight", "box")
        return found.score, [
            dict(zip(names, (*part, list(around(boxes))), strict=True)) for *part, boxes in parts
        ]

    @property
    def _clip(self) -> ClipScore:
        return clip_of(self)


@dataclass(frozen=True, eq=False)
class View:
    """A picture, a crop of it, or a copy in which all but boxes is black; made when it is used."""

    image: Pixels
    boxes: tuple[Box, ...] = (WHOLE,)
    is_crop: bool = True

    @classmethod
    def only(cls, image: Pixels, boxes: list[Box]) -> "View":
        """The view in which all but the boxes is black."""
        return cls(image) if WHOLE in boxes else cls(image, tuple(sorted(set(boxes))), False)

    @property
    def name(self) -> tuple[int, tuple[Box, ...], bool]:
        """Equal for views that are equal in every pixel, of pictures that are the same object."""
        return id(self.image), self.boxes, self.is_crop

    @property
    def pixels(self) -> Pixels:
        if self.boxes == (WHOLE,):
            return self.image
        return cut(self.image, *self.boxes) if self.is_crop else only(self.image, [*self.boxes])


def together(
    asking: Sequence[Asking], encode: Callable[[list[Pixels]], Floats], most: int = _PICTURES
) -> list[Any]:
    """What each returns; the views that all ask for are encoded at once, round by round.

    One that was asked for before is not encoded again; `most` pictures are in memory at a time.
    """
    known: dict[Any, Floats] = {}
    answers: dict[int, Any] = {}
    given: dict[int, Any] = dict.fromkeys(range(len(asking)))
    while given:
        wanted = {}
        for i, vectors in given.items():
            try:
                wanted[i] = asking[i].send(vectors)
            except StopIteration as end:
                answers[i] = end.value
        new = {view.name: view for some in wanted.values() for view in some}
        views = [view for name, view in new.items() if name not in known]
        for start in range(0, len(views), most):
            part = views[start : start + most]
            vectors = encode([view.pixels for view in part])
            known |= {view.name: vector for view, vector in zip(part, vectors, strict=True)}
        given = {i: np.stack([known[view.name] for view in some]) for i, some in wanted.items()}
    return [answers[i] for i in range(len(asking))]


def tried(image: Pixels, entities: Floats, whole: Floats, depth: int) -> Asking:
    """A list with one box for each entity, by cutting what agrees best with it again and again."""
    best: list[Box] = [WHOLE for _ in entities]
    agreement = (entities @ whole).tolist()
    open_ = set(range(len(entities)))
    for _ in range(depth):
        crops = {n: crops_of(best[n]) for n in open_}
        wanted = sorted({box for boxes in crops.values() for box in boxes})
        if not wanted:
            break
        vectors = dict(zip(wanted, (yield [View(image, (box,)) for box in wanted]), strict=True))
        for n in sorted(open_):
            value, box = max((float(entities[n] @ vectors[box]), box) for box in crops[n])
            if value > agreement[n]:
                best[n], agreement[n] = box, value
            else:
                open_.remove(n)
    return [[box] for box in best]


def chosen(image: Pixels, entities: Floats, whole: Floats, boxes: list[Box]) -> Asking:
    """A list with one box for each entity, the one whose crop agrees best with it."""
    seen = [whole, *((yield [View(image, (box,)) for box in boxes]) if boxes else ())]
    cosines = np.stack(seen) @ entities.T
    return [[(WHOLE, *boxes)[place]] for place in cosines.argmax(axis=0).tolist()]


def labelled(boxes: list[tuple[Box, str]], word: str) -> list[Box]:
    """The boxes whose label has the word, in singular or plural; without any the whole picture."""
    wanted = _singular(word)
    found = [box for box, label in boxes if wanted in map(_singular, label.split())]
    return found or [WHOLE]


def _singular(word: str) -> str:
    low = word.casefold()
    return low[:-1] if len(low) > 3 and low.endswith("s") and not low.endswith("ss") else low


def given_boxes(values: Any, labels: list[str] | None) -> list[tuple[Box, str]]:
    """Boxes with their labels, best first, without those that have no area.

    Raises ValueError for numbers that are no boxes, and when not every box has a label.
    """
    rows = np.asarray(values, np.float64)
    if rows.size % 5 or not np.isfinite(rows).all():
        raise ValueError(f"boxes are five finite numbers each, found {rows.size} numbers")
    rows = rows.reshape(-1, 5)
    names = [""] * len(rows) if labels is None else labels
    if len(names) != len(rows):
        raise ValueError(f"{len(rows)} boxes have {len(names)} labels")
    found = []
    for place in np.argsort(-rows[:, 4], kind="stable").tolist():
        left, top, right, bottom = np.clip(rows[place, :4], 0, 1).tolist()
        if right > left and bottom > top:
            found.append(((left, top, right, bottom), names[place] or ""))
    return found


def crops_of(box: Box) -> list[Box]:
    """Five crops of a box: at its corners, and in the middle."""
    left, top, right, bottom = box
    width, height = _SIDE * (right - left), _SIDE * (bottom - top)
    starts = [
        (left + x * (right - left - width), top + y * (bottom - top - height)) for x, y in _AT
    ]
    return [(x, y, x + width, y + height) for x, y in starts]


def cut(image: Pixels, box: Box) -> Pixels:
    """The pixels that a box touches, one at least."""
    rows, columns = _pixels(image, box)
    return image[rows, columns]


def only(image: Pixels, boxes: list[Box]) -> Pixels:
    """A copy in which all but the boxes is black; the picture itself when a box is all of it."""
    if WHOLE in boxes:
        return image
    result = np.zeros_like(image)
    for box in boxes:
        place = _pixels(image, box)
        result[place] = image[place]
    return result


def _pixels(image: Pixels, box: Box) -> tuple[slice, slice]:
    height, width = image.shape[:2]
    left, right = _span(box[0], box[2], width)
    top, bottom = _span(box[1], box[3], height)
    return slice(top, bottom), slice(left, right)


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    first = min(math.floor(low * size + 1e-6), size - 1)
    return first, max(first + 1, math.ceil(high * size - 1e-6))


def around(boxes: list[Box]) -> Box:
    """The smallest box around boxes."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


class Combined(NamedTuple):
    """A score, and the support and weight of each part."""

    score: float
    support: list[float]
    weights: list[float]


def combined(whole: Floats, seen: Floats, read: Floats, temperature: float) -> Combined:
    """The cosine of a caption with its picture and the parts' pictures [k, d] that support it.

    `read` [1 + k, d] are the caption and the words of the parts. All vectors are of length 1.
    """
    support = np.einsum("ij,ij->i", seen, read[1:]).astype(np.float64)
    weights = weights_of(support, temperature)
    picture = whole.astype(np.float64) + weights @ seen
    length = float(np.linalg.norm(picture))
    if length < _LEAST:  # parts that are the opposite of the picture
        return Combined(float(whole @ read[0]), support.tolist(), [0.0] * len(weights))
    return Combined(float(picture @ read[0]) / length, support.tolist(), weights.tolist())


def weights_of(support: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Weights of parts, which sum to 1; zeros when none has support."""
    if np.maximum(support, 0).sum() < _LEAST:
        return np.zeros_like(support)
    shares = np.exp((support - support.max()) / temperature)
    weights: npt.NDArray[np.float64] = shares / shares.sum()
    return weights
