from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.errors import RecipeError
from pipeline.recipe import parse_recipe
from pipeline.schema import recipe_schema
from pipeline.yaml_reader import parse_yaml

SCORERS = {
    "image": {},
    "clip": {
        "description": "Cosine of image and caption.",
        "properties": {"model": {"type": "string"}, "pretrained": {"type": "string"}},
    },
    "duplicates": {"properties": {"distance": {"type": "integer"}}, "required": ["distance"]},
}
SCHEMA = recipe_schema(SCORERS)
FULL = """\
pool: pools/example
sources:
  photos: {folder: photos/, captions: captions.csv}
  urls: {table: a.csv, url: u, caption: [c, d], key: id, fetch: {retries: 3, allow_hosts: [h]}}
  shards: {webdataset: "{0..9}.tar", captions: txt}
  done: {img2dataset: output/}
  hf: {parquet: "*.parquet", image: image, caption: text}
  meta: {datacomp: s3://bucket/metadata}
columns:
  laion: {import: scores.parquet, on: url, take: {laion_score: SIMILARITY}}
score:
  image: {}
  l14: {scorer: clip, model: L, columns: {clip_score: l14_score}, only: short_side >= 200}
  dear: {scorer: "package.module:Class", threshold: ~, only: {survivors_of: unique}}
  both: {scorer: clip, only: {survivors_of: unique, where: width > 9}}
select:
  - readable: {where: width is not null}
  - unique: {one_per: dup_group, best: clip_score, max_drop: 0.9}
  - aligned: {top: clip_score, fraction: 0.5, per: language, mode: datacomp}
  - some: {draw: keep_probability, seed: 3, repeat: true}
  - chosen: {subset: uids.npy}
captions: {txt: long, prefer: [title, alt], json: [caption]}
export: {samples_per_shard: 10, image: webp, quality: 80, max_side: 512, json: [clip_score]}
ingest: {rows_per_shard: 100}
max_drop: 0.95
"""


def accepts(text: str) -> bool:
    data: Any = parse_yaml(text, "r.yaml").data
    return Draft202012Validator(SCHEMA).is_valid(data)


def reads(text: str) -> bool:
    try:
        parse_recipe(text)
    except RecipeError:
        return False
    return True


def test_it_is_a_valid_schema_of_the_draft():
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator.check_schema(recipe_schema({}))
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_reference_leads_somewhere():
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            here = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return here.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    defined = {f"#/$defs/{name}" for name in SCHEMA["$defs"]}
    assert references(SCHEMA) <= defined


def test_everything_a_user_can_write_is_described():
    for name, section in SCHEMA["properties"].items():
        target = section.get("$ref", "").rpartition("/")[2]
        assert section.get("description") or SCHEMA["$defs"][target]["description"], name
    for name, definition in SCHEMA["$defs"].items():
        if not name.startswith("scorer."):
            assert definition["description"], name
            for key, value in definition["properties"].items():
                assert "description" in value or "$ref" in value, f"{name}.{key}"
    assert SCHEMA["$defs"]["scorer.clip"]["description"] == "Cosine of image and caption."


def test_it_accepts_a_full_recipe():
    assert reads(FULL)
    data = parse_yaml(FULL, "r.yaml").data
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(data)] == []


@pytest.mark.parametrize(
    "text",
    [
        "pool: x",
        "sources: {p: {folder: x}}",
        "sources: {p: {folder: ''}}",
        "sources: {p: {folder: x, table: y}}",
        "sources: {p: {url: x}}",
        "sources: {P: {folder: x}}",
        "sources: {t: {table: a, url: u, caption: c, fetch: {threads: 0}}}",
        "sources: {t: {table: a, url: u, caption: [c, d], fetch: {allow_hosts: [h]}}}",
        "sources: {t: {table: a, url: u, caption: []}}",
        "sources: {t: {table: a}}",
        "export: {seed: 1}",
        "pool: x\nexport:\n  quality: ~",
        "pool: x\nexport: {image: jpeg}",
        "pool: x\nexprot: {}",
        "pool: x\nselect: [{a: {where: x}}]",
        "pool: x\nselect: [{a: {where: x}, b: {where: y}}]",
        "pool: x\nselect: [{}]",
        "pool: x\nselect: [{kept: {where: x}}]",
        "pool: x\nselect: [{a: {top: x}}]",
        "pool: x\nselect: [{a: {top: x, count: 3}}]",
        "pool: x\nselect: [{a: {top: x, count: 3, fraction: 0.5}}]",
        "pool: x\nselect: [{a: {draw: x}}, {b: {draw: 0.5}}]",
        "pool: x\nselect: [{a: {draw: true}}]",
        "pool: x\ncolumns: {a: {import: x, on: url, take: {b: c}}}",
        "pool: x\ncolumns: {a: {import: x, on: url, take: [b, c]}}",
        "pool: x\ncolumns: {a: {import: x, on: uid}}",
        "pool: x\nscore: {clip: {only: 3}}",
        "pool: x\nscore: {clip: {only: a > 3, columns: {a: b}}}",
        "pool: x\nscore: {clip: {columns: {a: B}}}",
        "pool: x\nmax_drop: 2",
    ],
)
def test_it_accepts_what_is_read_and_refuses_what_is_not(text):
    assert accepts(text) == reads(text)


@pytest.mark.parametrize(
    ("entry", "is_known"),
    [
        ("clip: {model: a}", True),
        ("clip: {modle: a}", False),
        ("clip: {model: 3}", False),
        ("l14: {scorer: clip, model: a}", True),
        ("l14: {scorer: clip, modle: a}", False),
        ("l14: {model: a}", False),
        ("duplicates: {distance: 4}", True),
        ("duplicates: {}", False),
        ("duplicates: {scorer: image}", True),
        ("mine: {scorer: 'package.module:Class', anything: ~}", True),
        ("mine: {scorer: klip}", False),
    ],
)
def test_it_knows_the_scorers_and_their_parameters(entry, is_known):
    assert accepts(f"pool: x\nscore:\n  {entry}\n") == is_known


def test_the_recipes_of_the_repository_fit():
    from pipeline.catalog import SCORERS as names

    schema = recipe_schema({name: {"properties": {}} for name in names})
    for known in names:
        schema["$defs"][f"scorer.{known}"]["additionalProperties"] = True
    for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")):
        data = parse_yaml(path.read_bytes(), path.name).data
        assert [e.message for e in Draft202012Validator(schema).iter_errors(data)] == [], path


def test_nothing_in_the_schema_refers_to_what_is_not_there():
    def references(part):
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                yield from references(one)

    from pipeline.catalog import parameter_schemas

    whole = recipe_schema(parameter_schemas())
    assert all(name.startswith("#/$defs/") for name in references(whole))
    assert {name.rpartition("/")[2] for name in references(whole)} <= set(whole["$defs"])
