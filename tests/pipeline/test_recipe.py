import builtins
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import Survivors, load_recipe, parse_recipe
from pipeline.recipe_errors import found, unknown_word, wrong_value
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


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    return str(caught.value)


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
    assert recipe.captions.txt == "caption"
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

    one = digest("sources: {t: {table: a, url: u, caption: c}}")
    assert one == "0379c1033af494251c199f250d9d2f58"
    for same in (
        "# c\nsources:\n  t: {caption: [c], 'url': u, table: a}\nexport: {seed: 1}",
        "sources: {t: {table: a, url: u, caption: c, fetch: {threads: 3}}}",
    ):
        assert digest(same) == one
    for other in (
        "sources: {t: {table: b, url: u, caption: c}}",
        "sources: {s: {table: a, url: u, caption: c}}",
        "sources: {t: {table: a, url: u}}",
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
    assert "engine" not in plain["sources"]["urls"]["fetch"]
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


ROOT_KEYS = "known: pool, sources, columns, score, select, captions, export, ingest, max_drop"
NAME = "a name of lower-case letters, digits and `_` that begins with a letter"
KINDS = "a source has one of folder, table, webdataset, img2dataset, parquet, datacomp"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the recipe is empty; `sources:` is the least it needs"),
        ("- a", "1:1: expected a mapping, found a list"),
        ("word", "1:1: expected a mapping, found the text 'word'"),
        ("{}", "1:1: a recipe needs `sources:`, or the `pool:` that another one made"),
        (
            "pool:\n",
            "1:1: a recipe needs `sources:`, or the `pool:` that another one made\n"
            "r.yaml:1:1: pool: nothing follows; give a value or remove the key",
        ),
        (
            "sourcs: {}\npool: x",
            f"1:1: unknown key 'sourcs'; did you mean 'sources'? {ROOT_KEYS}",
        ),
        ("pool: x\nzzz: 1", f"2:1: unknown key 'zzz'; {ROOT_KEYS}"),
        ("pool: x\nmax_drop: 95%", "2:11: max_drop: expected a number, found the text '95%'"),
        ("pool: x\nmax_drop: 95", "2:11: max_drop: expected at most 1, found the number 95"),
        ("pool: [x]", "1:1: pool: expected a text, found a list"),
    ],
)
def test_a_wrong_recipe(text, message):
    assert refusal(text) == f"r.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "1:1: sources: expected a mapping, found nothing; indent what belongs to it,"
            " or write {}",
        ),
        ("  u: {table: a}", "2:3: sources.u: the key 'url' is missing"),
        (
            "  u: {table: a, url: u, Fetsh: 1}",
            "2:25: sources.u: unknown key 'Fetsh'; did you mean 'fetch'?"
            " known: table, url, caption, key, fetch",
        ),
        ("  P-1: {folder: x}", f"2:3: sources: expected {NAME}, found the text 'P-1'"),
        ("  p: {url: u}", f"2:3: sources.p: {KINDS}; found 'url'"),
        ("  p: {foldr: x}", f"2:3: sources.p: {KINDS}; found 'foldr'; did you mean 'folder'?"),
        ("  p: {}", f"2:3: sources.p: {KINDS}; found nothing"),
        (
            "  p: {folder: x, table: y}",
            f"2:3: sources.p: 'folder' and 'table' can't stand together; {KINDS}",
        ),
        ("  p: photos/", "2:6: sources.p: expected a mapping, found the text 'photos/'"),
        ("  p: {folder: ''}", "2:15: sources.p.folder: expected a path, found the text ''"),
        (
            '  p: {folder: "a\\0"}',
            "2:15: sources.p.folder: expected a path, found the text 'a\\u0000'",
        ),
        (
            "  t: {table: a, url: u, caption: 3}",
            "2:34: sources.t.caption: expected a name or a list of names, found the number 3",
        ),
        (
            "  t: {table: a, url: u, caption: []}",
            "2:25: sources.t.caption: expected at least one entry, found a list",
        ),
        (
            "  t: {table: a, url: u, caption: [a, ~]}",
            "2:38: sources.t.caption: expected a text, found nothing",
        ),
        (
            "  t:\n    table: a\n    url: u\n    key:\n",
            "5:5: sources.t.key: nothing follows; give a value or remove the key",
        ),
        (
            "  t: {table: a, url: u, fetch: {engine: curl, threads: 0, timeout_s: 0}}",
            "2:41: sources.t.fetch.engine: expected 'img2dataset', found the text 'curl'\n"
            "r.yaml:2:56: sources.t.fetch.threads: expected at least 1, found the number 0\n"
            "r.yaml:2:70: sources.t.fetch.timeout_s: expected more than 0, found the number 0",
        ),
    ],
)
def test_wrong_sources(text, message):
    assert refusal(f"sources:\n{text}") == f"r.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip", "1:8: score: expected a mapping, found the text 'clip'"),
        ("{clip: embedded}", "1:15: score.clip: expected a mapping, found the text 'embedded'"),
        (
            "\n  clip:",
            "2:3: score.clip: expected a mapping, found nothing; indent what belongs"
            " to it, or write {}",
        ),
        (
            "{clip: {scorer: a b}}",
            "1:24: score.clip.scorer: expected the name of a scorer, or package.module:Class,"
            " found the text 'a b'",
        ),
        (
            "{clip: {only: 3}}",
            "1:22: score.clip.only: expected a condition or {survivors_of: STEP},"
            " found the number 3",
        ),
        (
            "{clip: {only: {survivors_of: uniqe}}}\nselect: [{unique: {one_per: g}}]",
            "1:37: score.clip.only.survivors_of: unknown step 'uniqe'; did you mean 'unique'?"
            " known: unique",
        ),
        (
            "{clip: {only: {survivors_of: unique}}}",
            "1:37: score.clip.only.survivors_of: unknown step 'unique'; none is known here",
        ),
        (
            "\n  clip:\n    only:\n    model: ~\n",
            "3:5: score.clip.only: nothing follows; give a value or remove the key",
        ),
        (
            "{clip: {columns: {clip_score: B}}}",
            f"1:38: score.clip.columns.clip_score: expected {NAME}, found the text 'B'",
        ),
        (
            "{laion: {}}\ncolumns: {laion: {import: x, on: url}}",
            "1:9: score.laion: an import under `columns:` has this name",
        ),
    ],
)
def test_wrong_scorers(text, message):
    assert refusal(f"score: {text}\npool: x\n") == f"r.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{import: x, on: uid}",
            "1:30: columns.a.on: expected 'url', 'sha256', 'key' or 'source_key',"
            " found the text 'uid'",
        ),
        (
            "{import: x, on: url, take: 3}",
            "1:41: columns.a.take: expected a list of names or `new: old`, found the number 3",
        ),
        (
            "{import: x, on: url, take: {b: 3}}",
            "1:45: columns.a.take.b: expected a text, found the number 3",
        ),
        ("{on: url}", "1:11: columns.a: the key 'import' is missing"),
    ],
)
def test_wrong_imports(text, message):
    assert refusal(f"columns: {{a: {text}}}\npool: x\n") == f"r.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{a: {where: b}}",
            "1:1: select: expected a list, found a mapping; begin each entry with `- `",
        ),
        (
            "\n- a:\n  top: x\n  fraction: 0.5",
            "2:3: select: expected one name with a rule, `- name: {...}`,"
            " found a, top, fraction; indent the rule deeper than the name",
        ),
        ("[{}]", "1:10: select: expected one name with a rule, `- name: {...}`, found nothing"),
        ("\n- where: x", "2:3: select: a step needs a name: `- my_name: {where: ...}`"),
        (
            "\n- top: x\n  fraction: 0.5",
            "2:3: select: a step needs a name: `- my_name: {top: ...}`",
        ),
        ("[a]", "1:10: select: expected `name: {...}`, found the text 'a'"),
        ("[{A b: {where: x}}]", f"1:11: select: expected {NAME}, found the text 'A b'"),
        ("[{a: {top: x}}]", "1:11: select.a: give either 'fraction' or 'count'"),
        (
            "[{a: {top: x, fraction: 0.5, count: 3}}]",
            "1:11: select.a: give either 'fraction' or 'count'",
        ),
        (
            "[{a: {top: x, fraction: 50}}]",
            "1:33: select.a.fraction: expected at most 1, found the number 50",
        ),
        (
            "[{a: {wher: x}}]",
            "1:11: select.a: a step has one of where, top, one_per, draw, subset;"
            " found 'wher'; did you mean 'where'?",
        ),
        (
            "[{a: {where: x, top: y}}]",
            "1:11: select.a: 'where' and 'top' can't stand together;"
            " a step has one of where, top, one_per, draw, subset",
        ),
        ("[{a: {where: true}}]", "1:22: select.a.where: expected a text, found true"),
        (
            "[{a: {where: x, seed: 1}}]",
            "1:25: select.a: unknown key 'seed'; known: where, max_drop",
        ),
        (
            "[{a: {draw: true}}]",
            "1:21: select.a.draw: expected a number or the name of a column, found true",
        ),
        (
            "[{a: {draw: 2}}]",
            "1:11: select.a: a probability is at most 1, found 2, or `repeat: true`",
        ),
        (
            "[{a: {draw: x, repeat: yes}}]",
            "1:32: select.a.repeat: expected true or false, found the text 'yes',"
            " which is a word in YAML 1.2",
        ),
        ("[{a: {subset: 3}}]", "1:23: select.a.subset: expected a text, found the number 3"),
        (
            "\n- kept: {where: x}",
            "2:3: select.kept: this name is a verdict; taken are kept, failed, takedown",
        ),
        (
            "\n- a: {where: x}\n- b: {where: x}\n- a: {where: y}",
            "4:3: select.a: a step of this name stands in line 2",
        ),
    ],
)
def test_wrong_steps(text, message):
    assert refusal(f"select: {text}\npool: x\n") == f"r.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "export: {samples_per_shard: '1000', quality: 101, image: jpeg, json: a}",
            "1:29: export.samples_per_shard: expected a whole number, found the text '1000'\n"
            "r.yaml:1:46: export.quality: expected at most 100, found the number 101\n"
            "r.yaml:1:58: export.image: expected 'original', 'jpg' or 'webp',"
            " found the text 'jpeg'; did you mean 'jpg'?\n"
            "r.yaml:1:70: export.json: expected a list, found the text 'a';"
            " a list of one is written [a]",
        ),
        (
            "export: {samples_per_shard: 1.5}",
            "1:29: export.samples_per_shard: expected a whole number, found the number 1.5",
        ),
        (
            "export: {resize: border}",
            "1:1: export: 'resize' has no meaning without 'max_side'",
        ),
        (
            "captions: {text: long}",
            "1:12: captions: unknown key 'text'; did you mean 'txt'? known: txt, prefer, json",
        ),
        (
            "ingest: {max_pixels: -1}",
            "1:22: ingest.max_pixels: expected at least 1, found the number -1",
        ),
    ],
)
def test_wrong_outputs(text, message):
    assert refusal(f"{text}\npool: x\n") == f"r.yaml:{message}"


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_file():
    text = (
        "exprot: {}\nsources:\n  a: {table: x}\n  b: {folder: 3}\npool:\n"
        "select:\n  - a: {top: x}\n  - kept: {wher: y}\n"
    )
    assert [line.split(": ")[0] for line in refusal(text).splitlines()] == [
        "r.yaml:1:1", "r.yaml:3:3", "r.yaml:4:15", "r.yaml:5:1", "r.yaml:7:5", "r.yaml:8:5",
    ]  # fmt: skip


def test_words_for_what_was_found():
    assert [found(value) for value in (None, True, 3, 0.5, "a'b\n", [], {})] == [
        "nothing", "true", "the number 3", "the number 0.5", "the text 'a'b\\n'", "a list",
        "a mapping",
    ]  # fmt: skip
    assert found("x" * 100) == f"the text '{'x' * 57}...'"


def test_words_that_the_catalog_uses():
    assert unknown_word("parameter", "modle", ["model", "mode", "size"]) == (
        "unknown parameter 'modle'; did you mean 'mode' or 'model'? known: model, mode, size"
    )
    assert wrong_value("a whole number", "x") == "expected a whole number, found the text 'x'"
