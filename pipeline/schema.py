"""The JSON Schema of recipes, for editors that complete and check while one is written.

It says what the models say, and what the catalog says of its scorers. It refuses nothing by
itself: reading a recipe does.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.recipe import RESERVED_STEPS, Recipe
from pipeline.recipe_errors import NAME

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema(scorers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A JSON Schema, draft 2020-12, of recipes that may name `scorers`.

    `scorers` maps each name of the catalog to what is known of it: `properties`, the schema of
    each parameter; and, where there is something to say, `required` and `description`.
    """
    schema: dict[str, Any] = _tidy(Recipe.model_json_schema(by_alias=True))
    schema["$schema"] = _DRAFT
    schema["title"] = "pairmill recipe"
    schema["anyOf"] = [{"required": ["sources"]}, {"required": ["pool"]}]
    definitions, sections = schema["$defs"], schema["properties"]
    sections["select"]["items"] |= {
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"not": {"enum": list(RESERVED_STEPS)}},
    }
    common = definitions["ScorerSection"]["properties"]
    common["scorer"]["anyOf"] = [{"enum": sorted(scorers)}, {"pattern": ":"}]
    for name, known in sorted(scorers.items()):
        definitions[_definition(name)] = _scorer(known, common)
    definitions[_definition("*")] = _by_name(sorted(scorers))
    sections["score"] |= _score_section(sorted(scorers))
    return schema


def _definition(name: str) -> str:
    return f"scorer.{name}"


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{_definition(name)}"}


def _scorer(known: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `score:` whose scorer is known, and so are its parameters."""
    schema = {
        "type": "object",
        "properties": {**known.get("properties", {}), **common},
        "additionalProperties": False,
    }
    for key in ("required", "description"):
        if key in known:
            schema[key] = known[key]
    return schema


def _by_name(names: list[str]) -> dict[str, Any]:
    """An entry that says with `scorer:` what it is; one of a class of a user's own is free."""
    entries: list[dict[str, Any]] = [{"$ref": "#/$defs/ScorerSection"}]
    for name in names:
        is_named = {"properties": {"scorer": {"const": name}}, "required": ["scorer"]}
        entries.append({"if": is_named, "then": _ref(name)})
    return {"allOf": entries, "required": ["scorer"]}


def _score_section(names: list[str]) -> dict[str, Any]:
    """Entries under a name of the catalog are of that scorer, unless `scorer:` says otherwise."""
    says = {"required": ["scorer"]}
    return {
        "patternProperties": {},
        "propertyNames": {"pattern": NAME},
        "properties": {n: {"if": says, "then": _ref("*"), "else": _ref(n)} for n in names},
        "additionalProperties": _ref("*"),
    }


def _tidy(node: Any) -> Any:
    """The schema as a recipe has it: no nulls, no other names, and no titles made from names."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: value for key, value in node.items() if not _is_noise(key, value)}
    if {"type": "null"} in node.get("anyOf", ()):
        node = _without_null(node)
    if "patternProperties" in node:
        node = {**node, "additionalProperties": False}
    return {key: _tidy(value) for key, value in node.items()}


def _is_noise(key: str, value: Any) -> bool:
    """A title made from a name, or the default of a whole section."""
    return (key == "title" and isinstance(value, str)) or (
        key == "default" and isinstance(value, dict | list)
    )


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
    choices = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
    return {**choices[0], **rest} if len(choices) == 1 else {"anyOf": choices, **rest}
