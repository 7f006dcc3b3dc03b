"""The values that sections of a recipe are made of: texts, names, numbers, and lists of them."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from pipeline.recipe_errors import NAME, PATH


class Section(BaseModel):
    """A part of a recipe: knows its keys and refuses others; types are never converted."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )


def _one_or_many(value: object) -> object:
    if not isinstance(value, str | list):
        raise PydanticCustomError("expected", "a name or a list of names")
    return [value] if isinstance(value, str) else value


def _as_mapping(value: object) -> object:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: name for name in value}
    if not isinstance(value, dict):
        raise PydanticCustomError("expected", "a list of names or `new: old`")
    return value


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A check of its own: a wrong entry is no reason to say that there is none."""
    if not values:
        raise ValueError("expected at least one entry")
    return values


Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=NAME)]
Path = Annotated[str, StringConstraints(pattern=PATH)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Share = Annotated[float, Field(gt=0, le=1)]
_NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}
TextList = Annotated[tuple[Text, ...], Field(strict=False)]
Texts = Annotated[
    tuple[Text, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {**_NAMES, "minItems": 1}]}),
]
Renames = Annotated[
    dict[Text, Text],
    BeforeValidator(_as_mapping),
    WithJsonSchema(
        {"anyOf": [_NAMES, {"type": "object", "additionalProperties": {"type": "string"}}]}
    ),
]
