import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecipeError
from pipeline.yaml_reader import MAX_BYTES, MAX_NODES, Place, Problem, parse_yaml, read_yaml


def refusal(text: str | bytes) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, "r.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0o17", "-0o17"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("+12", 12),
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        ("=", "="),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5E-2", -0.015),
        (".", "."),
        ("'3'", "3"),
        ('"true"', "true"),
        ('"\\u00e9"', "é"),
        ("18446744073709551615", 2**64 - 1),
        ("short_side >= 200 # comment", "short_side >= 200"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        (">-\n  one\n  line\n", "one line"),
        ("日本語 🙂", "日本語 🙂"),
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    got = parse_yaml(f"a: {text}\n", "r.yaml").data["a"]
    assert got == value
    assert type(got) is type(value)


def test_every_value_and_key_has_a_place():
    document = parse_yaml("# c\na: 1\nb:\n  - x\n  - {c: [2, 3]}\nd: &d {e: f}\ng: *d\n", "r.yaml")
    assert document.data == {"a": 1, "b": ["x", {"c": [2, 3]}], "d": {"e": "f"}, "g": {"e": "f"}}
    assert document.place(("a",)) == Place(2, 4)
    assert document.place(("a",), at_key=True) == Place(2, 1)
    assert document.place(("b",)) == Place(3, 1), "a collection is found by its key"
    assert document.place(("b", 1)) == Place(5, 5)
    assert document.place(("b", 1, "c", 1)) == Place(5, 13)
    assert document.place(("g",)) == Place(7, 1)
    assert document.place(("g", "e")) == Place(6, 11), "what an alias holds is where it is written"
    assert document.place(("b", 1, "c", "no", "such")) == Place(5, 6), "the nearest there is"
    assert document.place(("nothing",)) == Place(2, 1)


def test_a_place_counts_characters_and_any_line_end():
    document = parse_yaml("é: 1\r\n# 🙂\r\n'ü🙂': 2\r\n".encode(), "r.yaml")
    assert document.place(("ü🙂",)) == Place(3, 7)
    assert parse_yaml(b"\xef\xbb\xbfa: 1", "r.yaml").place(("a",)) == Place(1, 4)


def test_problems_are_one_error_in_the_order_of_the_file():
    document = parse_yaml("a: 1\nb: 2\n", "r.yaml")
    late, early = Problem("late", ("b",)), Problem("early", ("a",), at_key=True)
    error = document.error([late, early, late])
    assert (error.where, error.message) == ("r.yaml:1:1", "early\nr.yaml:2:4: late")
    assert str(error) == "r.yaml:1:1: early\nr.yaml:2:4: late"


def test_the_same_anchor_can_be_used_again():
    data = parse_yaml("a: &x {k: 1}\nb: [*x, *x]\nc: &x 2\nd: *x\n", "r.yaml").data
    assert data == {"a": {"k": 1}, "b": [{"k": 1}, {"k": 1}], "c": 2, "d": 2}


def test_a_file_without_a_value_holds_none():
    assert parse_yaml("", "r.yaml").data is None
    assert parse_yaml("# only a comment\n", "r.yaml").data is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: {c: 1,\n    c: 2}\na: 3\n",
            "r.yaml:3:5: 'c' is given twice, first in line 2\n"
            "r.yaml:4:1: 'a' is given twice, first in line 1",
        ),
        ("a: !!str 1", "r.yaml:1:4: tags (`!name`) are not allowed; quote a text with a `!`"),
        ("a: !x", "r.yaml:1:4: tags (`!name`) are not allowed; quote a text with a `!`"),
        ("a: !x [1]", "r.yaml:1:4: tags (`!name`) are not allowed; quote a text with a `!`"),
        ("&k a: 1", "r.yaml:1:1: a key can't have a tag or an anchor"),
        ("a: 1\n---\nb: 2", "r.yaml:2:1: a second document begins here; a file holds one"),
        ("%YAML 1.1\n---\na: no", "r.yaml:1:1: this is read as YAML 1.2, not 1.1"),
        (
            "a: {<<: {b: 1}}",
            "r.yaml:1:5: merge keys (`<<`) are not part of YAML 1.2; write the keys",
        ),
        ("1: a", "r.yaml:1:1: a key must be a word, found 1; quote it if you mean it"),
        ("true: a", "r.yaml:1:1: a key must be a word, found true; quote it if you mean it"),
        ("? [a]\n: b", "r.yaml:1:3: a key must be a word, found a collection or an alias"),
        ("a: *b", "r.yaml:1:4: alias `*b` has no anchor above it"),
        ("a: &a [*a]", "r.yaml:1:8: alias `*a` lies inside its own anchor"),
        ("a: .inf", "r.yaml:1:4: .inf is not a finite number"),
        ("a: .NaN", "r.yaml:1:4: .NaN is not a finite number"),
        ("a: 1e999", "r.yaml:1:4: 1e999 is not a finite number"),
        ("a: 18446744073709551616", "r.yaml:1:4: 18446744073709551616 is larger than 64 bits"),
        ("a: " + "9" * 5000, "r.yaml:1:4: " + "9" * 37 + "... is larger than 64 bits"),
        ("a: x\x07", "r.yaml:1:5: the control character U+0007 can't stand in this file"),
        ("a:\n  x\u2028", "r.yaml:2:4: the control character U+2028 can't stand in this file"),
        ('a: "\\ud800"', "r.yaml:1:4: a lone surrogate (`\\ud800` to `\\udfff`) is no text"),
        (
            "a: {b:1}",
            "r.yaml:1:5: 'b:1' has no value; write a space after the colon: `b: 1`",
        ),
        (
            "a: {w: l in ('en', 'de')}",
            "r.yaml:1:20: 'de' has no value; inside {...} quote a text that holds a comma",
        ),
        ("a:\n\tb: 1", "r.yaml:2:1: not YAML: a tab; indent and separate with spaces"),
        ("a: @x", "r.yaml:1:4: not YAML: a text can't begin with @; quote it"),
        ("a: %x", "r.yaml:1:4: not YAML: a text can't begin with %; quote it"),
        (
            "a: b: c",
            "r.yaml:1:5: not YAML: no `: ` can stand here; quote the text or check the indentation",
        ),
        ("a: 'x\nb: 1", "r.yaml:1:4: not YAML: the quote that opens here is never closed"),
        ("a: 1\nb\nc: 1", "r.yaml:2:1: not YAML: expected `key: value`, found no colon"),
        (
            "x: {g: d/{0..1}.tar}",
            "r.yaml:1:10: not YAML: expected , or } for the bracket opened at line 1, column 4;"
            " quote a text that holds , [ ] { or }",
        ),
        (
            "a: [1, 2\nb: 3\n",
            "r.yaml:2:2: not YAML: expected , or ] for the bracket opened at line 1, column 4;"
            " quote a text that holds , [ ] { or }",
        ),
        (
            "a: 'x' = y",
            "r.yaml:1:8: not YAML: this fits nothing above; check the indentation,"
            " or quote the whole text",
        ),
        (
            "a:\n    b: 1\n  c: 2",
            "r.yaml:3:3: not YAML: this fits nothing above; check the indentation,"
            " or quote the whole text",
        ),
        (
            "a: > 3",
            "r.yaml:1:6: not YAML: > and | begin a block of text; quote a text with them",
        ),
        (r'a: "\q"', r"r.yaml:1:6: not YAML: no escape \q in a quoted text; use '...'"),
        ("a: ]", "r.yaml:1:4: not YAML: a value is missing"),
        (
            b"a: \xc3\xa9\nb: \xc3\xa9\xe9",
            "r.yaml:2:5: not UTF-8 (byte 0xe9); save the file as UTF-8",
        ),
        ("a: b".encode("utf-16"), "r.yaml:1:1: not UTF-8 but UTF-16; save the file as UTF-8"),
        (b"a" * (MAX_BYTES + 1), "r.yaml: larger than 1048576 bytes, the limit of such a file"),
        ("[" * 40, "r.yaml:1:33: nested deeper than 32 levels"),
    ],
)
def test_what_is_refused_and_how(text, message):
    assert refusal(text) == message


def test_aliases_of_aliases_are_counted_before_they_are_expanded():
    levels = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for above, name in zip("abcdefgh", "bcdefghi", strict=True):
        levels.append(f"{name}: &{name} [{', '.join([f'*{above}'] * 10)}]")
    assert refusal("\n".join(levels)) == (
        f"r.yaml:5:20: more than {MAX_NODES} values, counting aliases in full"
    )


def test_aliases_cannot_nest_deeper_than_brackets():
    levels = [f"a0: &a0 {'[' * 20}x{']' * 20}", f"a1: {'[' * 20}*a0{']' * 20}"]
    assert refusal("\n".join(levels)) == "r.yaml:2:25: nested deeper than 32 levels"


def test_a_long_flat_list_is_read():
    data = parse_yaml(f"a: [{'x, ' * 20_000}]", "r.yaml").data
    assert len(data["a"]) == 20_000


def test_files_that_are_none(tmp_path):
    for path, reason in [
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "this is a folder, not a file"),
        (tmp_path / "a\0b", "cannot be read: embedded null byte"),
    ]:
        with pytest.raises(RecipeError) as caught:
            read_yaml(str(path))
        assert str(caught.value) == f"{path}: {reason}"


def test_a_file_without_permission(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read everything
            os.seteuid(65534)
        with pytest.raises(RecipeError, match=r"r\.yaml: no permission to read this file"):
            read_yaml(str(path))
    finally:
        os.seteuid(user)


def test_an_endless_file_is_not_read_to_its_end():
    with pytest.raises(RecipeError, match="larger than 1048576 bytes"):
        read_yaml("/dev/zero")


_PIECES = [*"{}[],:&*!|>%@`'\"#-?\n ~ae1", "\n  ", "\n- ", ": ", "<<", "---", "\\", "0x", "é"]


@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_any_text_is_read_or_refused(pieces):
    try:
        document = parse_yaml("".join(pieces), "r.yaml")
    except RecipeError as error:
        where = error.where
    else:
        where = f"r.yaml:{document.place(()).line}"
        assert _is_plain(document.data)
    assert where is not None
    assert where.startswith("r.yaml:")


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int) or math.isfinite(value)
