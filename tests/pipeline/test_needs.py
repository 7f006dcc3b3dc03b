"""What a scorer needs of a column: which types will do, and what is said of others."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline import catalog
from pipeline.contract import NEEDS, interface, need_problem
from pipeline.pool import BASE, CAPTION


@dataclass(frozen=True)
class Needy:
    """Reads columns of every kind."""

    text: str = "caption"
    of: tuple[str, ...] = ()
    weights: Any = None
    boxes: str | None = None
    labels: str | None = None
    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = pa.schema([("needy", pa.int32())])
    needs: ClassVar[Any] = {
        "text": "text",
        "of": "number",
        "weights": "number",
        "boxes": "numbers",
        "labels": "texts",
        "shape": "numbers",
    }

    @property
    def reads(self) -> tuple[str, ...]:
        named = (self.boxes, self.labels)
        found = (self.text, *self.of, *(self.weights or ()), "shape", *named)
        return tuple(name for name in found if name is not None)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"needy": [1 for _ in batch[self.text]]}


TYPES = {
    "caption": pa.string(),
    "long": pa.large_string(),
    "coded": pa.dictionary(pa.int32(), pa.string()),
    "captions": pa.list_(CAPTION),
    "nothing": pa.null(),
    "width": pa.int32(),
    "score": pa.float16(),
    "is_new": pa.bool_(),
    "image_sha256": pa.binary(32),
    "boxes": pa.list_(pa.float32()),
    "vector": pa.list_(pa.float32(), 4),
    "wide": pa.large_list(pa.float64()),
    "words": pa.list_(pa.string()),
    "places": pa.list_(pa.struct([("x", pa.int32())])),
    "shape": pa.list_(pa.int32()),
    "price": pa.decimal128(9, 2),
}
FITS = {
    "text": {"caption", "long", "coded", "captions", "nothing"},
    "number": {"width", "score", "is_new", "nothing"},
    "numbers": {"boxes", "vector", "wide", "shape", "nothing"},
    "texts": {"words", "nothing"},
    "score": {"width", "score", "is_new", "boxes", "vector", "wide", "shape", "nothing"},
    "terms": {"caption", "long", "coded", "captions", "words", "nothing"},
    "captions": {"captions", "nothing"},
}


@pytest.mark.parametrize("column", TYPES)
def test_columns_of_every_type(column):
    makes = {"text": "text", "of": "number", "boxes": "numbers", "labels": "texts"}
    for parameter, need in makes.items():
        value = (column,) if parameter == "of" else column
        problem = need_problem(Needy(**{parameter: value}), TYPES)
        if column in FITS[need]:
            assert problem is None
        else:
            wanted = f"`{parameter}`: a column of {NEEDS[need]} is needed"
            assert problem == (parameter, f"{wanted}, and {column!r} holds {TYPES[column]}")


@pytest.mark.parametrize("need", ["score", "terms", "captions"])
@pytest.mark.parametrize("column", TYPES)
def test_columns_that_may_be_of_several_types(monkeypatch, need, column):
    monkeypatch.setattr(Needy, "needs", {"text": need})
    assert (need_problem(Needy(text=column), TYPES) is None) == (column in FITS[need])


def test_each_of_several_columns_is_looked_at():
    assert need_problem(Needy(of=("width", "score")), TYPES) is None
    found = need_problem(Needy(of=("width", "caption")), TYPES)
    assert found == ("of", "`of`: a column of numbers is needed, and 'caption' holds string")
    found = need_problem(Needy(weights={"score": 1.0, "words": 0.5}), TYPES)
    assert found is not None
    assert found[0] == "weights"
    assert "'words'" in found[1]
    found = need_problem(Needy(), TYPES | {"shape": pa.string()})
    assert found == ("shape", "a column of vectors is needed, and 'shape' holds string")


def test_what_is_not_read_or_not_known_is_left_alone():
    assert need_problem(Needy(text="unheard_of"), TYPES) is None
    assert need_problem(object_without_needs(), TYPES) is None
    ocr = catalog.scorer_class("ocr")
    assert need_problem(ocr(text="width"), TYPES) is None
    assert need_problem(ocr(text="width", read=True), TYPES) is not None


def object_without_needs() -> Any:
    return catalog.scorer_class("hashes")()


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"text": "words"}, "must map columns or parameters to text, texts, number, numbers"),
        (["text"], "must map columns"),
        ({"txt": "text"}, "'txt' is no parameter of it, and no column it reads"),
    ],
)
def test_needs_that_make_no_sense_are_refused(monkeypatch, needs, message):
    monkeypatch.setattr(Needy, "needs", needs)
    with pytest.raises(ValueError, match=message):
        interface(Needy())


FILTERS = [name for name, target in catalog.SCORERS.items() if target.startswith("filters.")]
OTHERWISE = {"noise", "frequency"}  # the `of` of frequency is a choice of words


@pytest.mark.parametrize("name", sorted(set(FILTERS) - OTHERWISE))
def test_every_scorer_says_what_it_needs_of_the_columns_it_is_told(name):
    """A parameter whose default is a column with text or vectors is one that can be wrong."""
    kind = catalog.scorer_class(name)
    known = [*BASE.names, "clip_image", "clip_text", "ocr_text"]
    fields = getattr(kind, "__dataclass_fields__", {}).values()
    named = {field.name for field in fields if field.default in known}
    named |= {field.name for field in fields if field.name in ("boxes", "labels", "ocr_text")}
    needs = getattr(kind, "needs", {})
    needs = kind().needs if isinstance(needs, property) else needs
    assert named <= set(needs)
    assert set(needs.values()) <= set(NEEDS)
    json.dumps(needs)
