import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.delimited import BROKEN, csv_header, csv_rows, lines_of


def rows(text, delimiter=","):
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return list(csv_rows(io.BytesIO(data), delimiter))


def bad(line, reason):
    return {BROKEN: f"line {line}: {reason}"}


def test_quotes_line_ends_and_a_byte_order_mark_are_understood():
    text = '\ufeffurl,text\r\nu1,"two\r\nlines, ""quoted"""\r\n\r\nu2,größe\r\nu3,'
    assert rows(text) == [
        {"url": "u1", "text": 'two\r\nlines, "quoted"'},
        {"url": "u2", "text": "größe"},
        {"url": "u3", "text": None},
    ]


def test_ragged_lines_are_rows_with_a_reason():
    assert rows("a,b\n1\n1,2,3\n4,5\n") == [
        bad(2, "1 fields, not 2"),
        bad(3, "3 fields, not 2"),
        {"a": "4", "b": "5"},
    ]


def test_a_quote_that_never_closes_costs_its_own_line():
    text = 'a,b\n1,"open\n' + "".join(f"{i},x\n" for i in range(2, 600))
    found = rows(text)
    assert found[0] == {"a": "1", "b": '"open'}
    assert found[1:] == [{"a": str(i), "b": "x"} for i in range(2, 600)]


def test_an_open_quote_with_commas_behind_it_is_a_reason():
    assert rows('a,b\n1,"x,y\n2,z\n') == [bad(2, "3 fields, not 2"), {"a": "2", "b": "z"}]


def test_letters_after_a_closing_quote_stay():
    assert rows('a,b\n1,"big" dog\n2,5" disk\n') == [
        {"a": "1", "b": "big dog"},
        {"a": "2", "b": '5" disk'},
    ]


def test_tsv_without_quoting_keeps_quotation_marks():
    text = 'url\ttext\nu1\t"Hello\nu2\tworld\nu3\tof 5"\nu4\t"a" b\nu5\t"whole"\n'
    assert [(r["url"], r["text"]) for r in rows(text, "\t")] == [
        ("u1", '"Hello'),
        ("u2", "world"),
        ("u3", 'of 5"'),
        ("u4", '"a" b'),
        ("u5", "whole"),
    ]


def test_tsv_with_quoting_may_have_lines_in_a_field():
    assert rows('a\tb\n1\t"two\nlines"\n', "\t") == [{"a": "1", "b": "two\nlines"}]


def test_nul_and_bytes_that_are_no_utf8_come_through():
    found = rows(b"a,b\n\0x,caf\xe9\n")
    assert found == [{"a": "\0x", "b": "caf\udce9"}]
    assert found[0]["b"].encode("utf-8", "surrogateescape") == b"caf\xe9"


def test_a_carriage_return_inside_a_line_is_a_reason():
    (found,) = rows("a,b\n1,x\ry\n")
    assert "new-line character" in found[BROKEN]


def test_a_huge_line_is_a_reason_and_a_large_one_a_row():
    found = rows("a\n" + "x" * 17_000_000 + "\n" + "y" * 1_000_000 + "\nz\n")
    assert found[0] == bad(2, "more than 16000000 bytes")
    assert [len(row["a"]) for row in found[1:]] == [1_000_000, 1]


def test_a_quoted_field_that_is_too_large_is_a_reason_and_what_follows_is_read():
    text = 'a,b\n1,"' + ("x" * 9_000_000 + "\n") * 3 + "2,y\n"
    found = rows(text)
    assert found[-1] == {"a": "2", "b": "y"}
    assert len(found) == 4


def test_lines_of_an_empty_file_and_its_header():
    assert list(lines_of(io.BytesIO(b""))) == []
    assert csv_header(io.BytesIO(b""), ",") == []
    assert rows("") == rows("a,b\n") == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=4)))
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_what_python_writes_is_read_back(delimiter, table):
    width = len(table[0]) if table else 2
    header = [f"c{i}" for i in range(width)]
    table = [(row * 2)[:width] for row in table]
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([header, *table])
    found = rows(stream.getvalue().encode(), delimiter)
    if delimiter == "\t":  # a field of several lines with tabs in each is beyond telling
        assert len(found) >= len(table)
    else:
        assert found == [dict(zip(header, (v or None for v in row), strict=True)) for row in table]
