"""Recipes that are wrong: the place, what was found there, and what may stand there."""

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import parse_recipe
from pipeline.recipe_errors import found, unknown_word, wrong_value

ROOT_KEYS = "known: pool, sources, columns, score, select, captions, export, ingest, max_drop"
NAME = "a name of lower-case letters, digits and `_` that begins with a letter"
KINDS = (
    "a source has one of folder, table, webdataset, img2dataset, parquet, datacomp, warc, wat,"
    " pages, crawl"
)


def refusal(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    return str(caught.value)


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
            " known: table, url, fetch, caption, key, md5, sha256",
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
            "  t:\n    table: a\n    url: u\n    fetch: {allow_hosts: [h]}\n    key:\n",
            "6:5: sources.t.key: nothing follows; give a value or remove the key",
        ),
        (
            "  t: {table: a, url: u, fetch: {engine: curl, threads: 0, timeout_s: 0}}",
            "2:41: sources.t.fetch.engine: expected 'pairmill' or 'img2dataset',"
            " found the text 'curl'\n"
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
            "{clip: {only: {where: width > 9}}}",
            "1:16: score.clip.only: the key 'survivors_of' is missing",
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
            "1:12: captions: unknown key 'text'; did you mean 'txt'? known: profile, of, raw, txt,"
            " prefer, json, files",
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


def test_a_list_of_wrong_entries_is_not_told_to_be_empty():
    text = "sources:\n  t: {table: a, url: u, fetch: {allow_hosts: [h], ports: [x, y]}}"
    message = refusal(text)
    assert "at least one entry" not in message
    assert message.count("expected a whole number") == 2
