"""MetaFields: fields of a row's meta as columns of their types."""

import json
from typing import Any

import pyarrow as pa
import pytest

from filters.meta import MetaFields

PAGE = {
    "page_language": "de",
    "licences": ["https://creativecommons.org/licenses/by/4.0/"],
    "width": 640,
    "is_main": True,
    "wit": {"page_title": "Köln", "deep": {"er": 1.5}},
    "wit.caption": "the field itself",
}


def told(meta: Any, **names: tuple[str, ...]) -> dict[str, Any]:
    scorer = MetaFields(**names)
    found = scorer({"meta": [json.dumps(meta)]})
    pa.table(found, schema=scorer.writes).validate(full=True)
    return {name: values[0] for name, values in found.items()}


def test_fields_are_columns_of_their_types() -> None:
    names = {
        "texts": ("page_language",),
        "numbers": ("width",),
        "truths": ("is_main",),
        "lists": ("licences",),
    }
    assert told(PAGE, **names) == {n: PAGE[n] for (n,) in names.values()}


def test_a_dot_leads_into_an_object() -> None:
    found = told(PAGE, texts=("wit.page_title", "wit.caption"), numbers=("wit.deep.er",))
    assert found == {
        "wit.page_title": "Köln",
        "wit.caption": PAGE["wit.caption"],
        "wit.deep.er": 1.5,
    }


@pytest.mark.parametrize("meta", [{}, [], "text", None, {"a": None}, {"a": {"b": "c"}}])
def test_what_is_missing_or_of_another_type_is_null(meta: Any) -> None:
    for kind in ("texts", "numbers", "truths", "lists"):
        assert told(meta, **{kind: ("a", "a.b.c", "b")}) == {"a": None, "a.b.c": None, "b": None}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", "texts"), (1, "numbers"), (1.5, "numbers"), (True, "truths"), (["x"], "lists")],
)
def test_nothing_is_converted(value: Any, kind: str) -> None:
    for other in ("texts", "numbers", "truths", "lists"):
        expected = value if other == kind else None
        assert told({"a": value}, **{other: ("a",)}) == {"a": expected}


def test_a_list_keeps_its_texts() -> None:
    assert told({"a": ["x", 1, None, "y"], "b": []}, lists=("a", "b")) == {"a": ["x", "y"], "b": []}


def test_an_empty_batch() -> None:
    assert MetaFields(texts=("a",))({"meta": []}) == {"a": []}


def test_refuses_parameters() -> None:
    with pytest.raises(TypeError, match=r"name the fields, as texts, numbers, truths, lists"):
        MetaFields()
    with pytest.raises(ValueError, match=r"names of fields are texts, got \['a', ''\]"):
        MetaFields(texts=("a", ""))
    with pytest.raises(ValueError, match="texts is a list of fields, got 'page_language'"):
        MetaFields(texts="page_language")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="named twice: a"):
        MetaFields(texts=("a",), lists=("a",))
