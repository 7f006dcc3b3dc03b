"""Recipes that are right: what is read of them, their digests, and places in them."""

import builtins
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.recipe import Survivors, load_recipe, parse_recipe
from pipeline.yaml_reader import Problem

FULL = """\
pool: pools/example
sources:
  photos: {folder: photos/, captions: captions.csv}
  urls:
    table: urls.parquet
    url: URL
    caption: [TEXT, ALT]
    key: id
    fetch: {engine: img2dataset, threads: 8, timeout_s: 5, retries: 0, allow_hosts: [127.0.0.1]}
  shards: {webdataset: "data/{00000..00009}.tar", captions: [txt, json.caption]}
  done: {img2dataset: output_folder/}
  hf: {parquet: "data/*.parquet", image: image, caption: text}
  meta: {datacomp: s3://bucket/metadata}
columns:
  laion: {import: scores.parquet, on: url, take: {laion_score: SIMILARITY}}
  more: {import: more.parquet, on: source_key, take: [aesthetic]}
score:
  image: {}
  clip: {model: embedded}
  l14:
    scorer: clip
    model: ViT-L-14
    columns: {clip_score: l14_score}
    only: "short_side >= 200"
  dear: {scorer: "mypackage.module:MyScorer", threshold: 3, only: {survivors_of: unique}}
  other: {prompt: ~, deep: {a: [1, null]}}
select:
  - readable: {where: width is not null}
  - unique: {one_per: dup_group, best: clip_score}
  - aligned: {top: clip_score, fraction: 0.5, per: language, max_drop: 0.99}
  - best: {top: clip_score, count: 100, lowest: true}
  - some: {draw: 0.5, seed: 3}
  - more: {draw: keep_probability, count: 10, repeat: true, per: [domain, source]}
  - chosen: {subset: uids.npy}
captions: {txt: long, prefer: [title, alt], json: [caption]}
export: {samples_per_shard: 10, image: webp, quality: 80, max_side: 512, json: [clip_score]}
ingest: {rows_per_shard: 100, max_pixels: 1000000}
max_drop: 0.95
"""
SOURCES = "sources: {p: {folder: x}}\n"


def test_a_full_recipe_is_read_as_written():
    recipe = parse_recipe(FULL, "r.yaml")
    assert recipe.pool == "pools/example"
    assert list(recipe.sources) == ["photos", "urls", "shards", "done", "hf", "meta"]
    assert recipe.sources["urls"].caption == ("TEXT", "ALT")
    assert recipe.sources["hf"].caption == ("text",)
    assert recipe.sources["urls"].fetch.timeout_s == 5
    assert recipe.columns["laion"].file == "scores.parquet"
    assert recipe.columns["laion"].take == {"laion_score": "SIMILARITY"}
    assert recipe.columns["more"].take == {"aesthetic": "aesthetic"}
    assert recipe.captions.json_columns == ("caption",)
    assert recipe.export.json_columns == ("clip_score",)
    assert recipe.source_text == FULL


def test_scorers_have_a_name_a_class_and_free_parameters():
    image, clip, l14, dear, other = parse_recipe(FULL).scorers
    assert (image.name, image.scorer, dict(image.params), image.only) == (
        "image",
        "image",
        {},
        None,
    )
    assert dict(clip.params) == {"model": "embedded"}
    assert (l14.name, l14.scorer, dict(l14.params)) == ("l14", "clip", {"model": "ViT-L-14"})
    assert dict(l14.columns) == {"clip_score": "l14_score"}
    assert l14.only == "short_side >= 200"
    assert dear.scorer == "mypackage.module:MyScorer"
    assert dear.only == Survivors(survivors_of="unique")
    assert dict(other.params) == {"prompt": None, "deep": {"a": [1, None]}}


def test_steps_have_a_name_a_kind_and_a_limit():
    steps = parse_recipe(FULL).steps
    assert [(step.name, step.kind) for step in steps] == [
        ("readable", "where"),
        ("unique", "one_per"),
        ("aligned", "top"),
        ("best", "top"),
        ("some", "draw"),
        ("more", "draw"),
        ("chosen", "subset"),
    ]
    assert [step.max_drop for step in steps[:3]] == [0.95, 0.95, 0.99]
    assert (steps[4].rule.draw, steps[4].rule.seed) == (0.5, 3)
    assert steps[5].rule.draw == "keep_probability"
    assert (steps[2].rule.per, steps[5].rule.per) == (("language",), ("domain", "source"))
    assert (steps[3].rule.lowest, steps[1].rule.lowest) == (True, False)


def test_what_is_not_said_is_as_by_default():
    recipe = parse_recipe(SOURCES)
    assert recipe.pool is None
    assert recipe.captions.txt is None
    assert (recipe.export.format, recipe.export.image) == ("webdataset", "original")
    assert recipe.ingest.max_pixels == 89_478_485
    assert (recipe.scorers, recipe.steps, recipe.max_drop) == ((), (), None)
    assert parse_recipe("pool: x").sources == {}


def test_paths_lie_beside_the_recipe_and_urls_where_they_are(tmp_path, monkeypatch):
    path = tmp_path / "r.yaml"
    path.write_text(SOURCES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    recipe = load_recipe("r.yaml")
    monkeypatch.chdir("/")
    assert recipe.path == "r.yaml"
    assert recipe.resolve("photos/") == f"{tmp_path}/photos/"
    assert recipe.resolve("/data/x") == "/data/x"
    assert recipe.resolve("~/x") == "/home/me/x"
    assert recipe.resolve("memory://x/{0..9}.tar") == "memory://x/{0..9}.tar"


def test_a_digest_is_of_what_is_said_and_not_of_how():
    def digest(text: str, section: str = "sources") -> str:
        return parse_recipe(text).section_digest(section)

    one = digest("sources: {t: {table: a, url: u, caption: c, fetch: {contact: 'mailto:a@b.org'}}}")
    assert one == "0379c1033af494251c199f250d9d2f58"
    for same in (
        "# c\nsources:\n  t: {caption: [c], 'url': u, table: a, fetch: {allow_hosts: [h]}}\n"
        "export: {seed: 1}",
        "sources: {t: {table: a, url: u, caption: c, fetch: {engine: img2dataset, threads: 3}}}",
    ):
        assert digest(same) == one
    for other in (
        "sources: {t: {table: b, url: u, caption: c, fetch: {allow_hosts: [h]}}}",
        "sources: {s: {table: a, url: u, caption: c, fetch: {allow_hosts: [h]}}}",
        "sources: {t: {table: a, url: u, fetch: {allow_hosts: [h]}}}",
    ):
        assert digest(other) != one
    assert digest("sources: {a: {folder: a}, b: {folder: b}}") != digest(
        "sources: {b: {folder: b}, a: {folder: a}}"
    )
    assert digest("pool: x\nselect: [{a: {top: x, fraction: 1}}]", "select") == digest(
        "pool: x\nselect: [{a: {fraction: 1.0, top: x, mode: exact}}]", "select"
    )
    assert digest(SOURCES, "export") == digest(SOURCES + "export: {image: original}", "export")
    with pytest.raises(KeyError, match="exprot"):
        digest(SOURCES, "exprot")


def test_a_normalised_recipe_says_the_same():
    recipe = parse_recipe(FULL)
    plain = recipe.normalised()
    assert plain["columns"]["laion"]["import"] == "scores.parquet"
    assert plain["score"]["l14"]["only"] == "short_side >= 200"
    assert "md5" not in plain["sources"]["urls"]
    again = type(recipe).model_validate(plain)
    assert again.normalised() == plain


def test_a_recipe_is_frozen_and_travels():
    recipe = parse_recipe(FULL, "r.yaml")
    with pytest.raises(ValueError, match="frozen"):
        recipe.pool = "x"
    travelled = pickle.loads(pickle.dumps(recipe))
    assert str(travelled.error("x", "pool")) == "r.yaml:1:7: x"


def test_errors_of_others_point_into_the_file():
    recipe = parse_recipe(FULL, "r.yaml")
    assert str(recipe.error("bad", "score", "clip", "model")) == "r.yaml:19:17: bad"
    assert str(recipe.error("bad", "score", "clip", "model", at_key=True)) == "r.yaml:19:10: bad"
    assert str(recipe.error("bad", "score", "clip", "absent")) == "r.yaml:19:3: bad"
    assert str(recipe.error("bad", *recipe.steps[2].path, "fraction")) == "r.yaml:30:42: bad"
    several = recipe.errors([Problem("late", ("max_drop",)), Problem("early", ("pool",))])
    assert str(several) == "r.yaml:1:7: early\nr.yaml:38:11: late"


def test_nothing_but_the_recipe_is_opened(tmp_path, monkeypatch):
    path = tmp_path / "r.yaml"
    path.write_text(FULL)
    parse_recipe(FULL)  # imports are done
    opened = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda f, *a, **k: opened.append(f) or real(f, *a, **k))
    load_recipe(str(path))
    monkeypatch.undo()
    assert opened == [str(path)]


def test_yaml_is_loaded_only_when_a_recipe_is_read():
    code = "import sys, pipeline.recipe; sys.exit('ruamel.yaml' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
