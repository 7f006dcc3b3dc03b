"""Lists of what is to be taken down: read whole, or refused whole with the lines at fault."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.takedown_list import read_list
from pipeline.takedown_record import Entry
from pipeline.urls import canonical

DAY = "2026-01-31"
KEY, SHA, HASH = "0a" * 16, "0B" * 32, "00ff00ff00ff00ff"


def read(folder: Path, data: str | bytes, name: str = "list.txt") -> list[Entry]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_list(str(path), "because", DAY)


def named(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.kind, entry.value) for entry in entries]


def test_a_text_tells_kinds_by_their_form(tmp_path: Path) -> None:
    text = (
        f"\ufeff{KEY}\r\n\n# a remark\n{SHA}  # another\n0x{HASH}\n"
        "http://a.example.com/x#y\n*.Example.COM.\nbücher.example.com\n93.184.216.34\n"
    )
    found = read(tmp_path, text)
    assert named(found) == [
        ("key", KEY),
        ("sha256", SHA.lower()),
        ("phash", HASH),
        ("url", "http://a.example.com/x#y"),
        ("domain", "example.com"),
        ("domain", "xn--bcher-kva.example.com"),
        ("domain", "93.184.216.34"),
    ]
    assert {(entry.reason, entry.date) for entry in found} == {("because", DAY)}
    assert [entry.distance for entry in found] == [None, None, 4, None, None, None, None]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("example.com/page", "may be anything"),
        ("cafe", "may be anything"),
        ("someone@example.com", "may be anything"),
        ("abcdef0123", "may be anything"),
        ("com", "may be anything"),
        ("co.uk", "no domain of its own"),
        ("photo.jpg", "no domain of its own"),
        ("a..com", "is no domain"),
        ("*.com", "no domain of its own"),
        ("two words", "2 words"),
        ("ftp://example.com/x", "no URL of http"),
        ("javascript://example.com/%0aalert", "no URL of http"),
        ("http://", "no URL of http"),
        ("http://[::1/x", "no URL"),
        ("http://example.com:port/", "no URL"),
        ("http://example.com/" + "x" * 5000, "signs (limit 4096)"),
        ("\u202eexample.com", "can't be printed"),
        ("=cmd|'/C", "may be anything"),
    ],
)
def test_a_line_that_is_not_clear_is_refused_with_its_number(
    tmp_path: Path, line: str, why: str
) -> None:
    with pytest.raises(RecipeError) as error:
        read(tmp_path, f"{KEY}\n\n{line}\n{SHA}\n")
    assert "nothing of it counts" in str(error.value)
    assert "  line 3: " in str(error.value)
    assert why in str(error.value)


def test_columns_tell_kinds_and_more(tmp_path: Path) -> None:
    table = (
        "kind,value,distance,reason,date,note\n"
        f"phash,{HASH},12,,2025-12-01,x\n"
        f'PHASH,{HASH},0,"two\n lines are a row",,\n'
        "domain,example.com,,a wish,,\n"
    )
    with pytest.raises(RecipeError, match=r"line 3: .*can't be printed"):
        read(tmp_path, table, "list.csv")
    found = read(tmp_path, table.replace("two\n lines", "one line"), "list.csv")
    assert found == [
        Entry("phash", HASH, 12, "because", "2025-12-01"),
        Entry("phash", HASH, 0, "one line are a row", DAY),
        Entry("domain", "example.com", None, "a wish", DAY),
    ]
    found = read(tmp_path, f"url\tkey\nhttp://a.example.com/\t\n\t{KEY}\n", "list.tsv")
    assert named(found) == [("url", "http://a.example.com/"), ("key", KEY)]
    lines = [{"sha256": SHA}, {"kind": "key", "value": KEY, "date": "2020-02-02"}, {"phash": 255}]
    found = read(tmp_path, "\n".join(map(json.dumps, lines)), "list.jsonl")
    assert named(found) == [("sha256", SHA.lower()), ("key", KEY), ("phash", f"{255:016x}")]
    columns: dict[str, Any] = {"key": [bytes.fromhex(KEY), None], "url": [None, "http://e.org/"]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert named(read_list(str(tmp_path / "list.parquet"), None, DAY)) == [
        ("key", KEY),
        ("url", "http://e.org/"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "", "names nothing"),
        ("a.csv", "name_,x\n1,2\n", "needs a column key, url"),
        ("a.csv", "key,key\n1,2\n", "each once"),
        ("a.csv", f"key\n{KEY},x\n", "line 2: 2 fields, not 1"),
        ("a.csv", f'key\n"{KEY}\n', "line 2: "),
        ("a.csv", "kind,value\nperson,example.com\n", "line 2: no kind 'person'"),
        ("a.csv", f"phash,distance\n{HASH},13\n", "line 2: distance '13': must be 0 to 12"),
        ("a.csv", f"phash,distance\n{HASH},-1\n", "must be 0 to 12"),
        ("a.csv", f"key,date\n{KEY},31.1.2026\n", "line 2: '31.1.2026' is no date"),
        ("a.csv", f"key,date\n{KEY},2026-02-30\n", "is no date"),
        ("a.csv", f"sha256\n{KEY}\n", "line 2: '0a0a"),
        ("a.csv", "key,url\n,\n", "line 2: names nothing"),
        ("a.jsonl", '{"key": 1}\n', "has not 32 hexadecimal digits"),
        ("a.jsonl", '{"url": ["http://a.example.com"]}\n', "line 1: "),
        ("a.jsonl", '{"url": true}\n', "is no text"),
        ("a.jsonl", '{"phash": -1}\n', "has not 16"),
        ("a.jsonl", '{"phash": 1e400}\n', "is no text"),
        ("a.jsonl", '{"url": "http://\\ud800.example.com/"}\n', "can't be printed"),
        ("a.jsonl", "[" * 100_000 + "\n", "line 1: no JSON"),
        ("a.jsonl", "1\n", "line 1: no object"),
        ("a.parquet", "PAR1 and no more", "can't be read"),
        ("a.json", "{}", "a list is a text"),
        ("a.txt.gz", "x", "a list is a text"),
        ("a.txt", "# nothing\n", "names nothing"),
    ],
)
def test_hostile_and_broken_lists_are_refused(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    with pytest.raises(RecipeError) as error:
        read(tmp_path, text, name)
    assert why in str(error.value)
    assert len(str(error.value)) < 2000


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    for data in (b"\xff\xfe\x00", gzip.compress(b"x" * 100), b"\x00" * 100):
        with pytest.raises(RecipeError):
            read(tmp_path, data)
    with pytest.raises(RecipeError, match="no such list"):
        read_list(str(tmp_path / "none"), None, DAY)
    with pytest.raises(RecipeError, match="--date: 'soon' is no date"):
        read_list(str(tmp_path / "none"), None, "soon")
    with pytest.raises(RecipeError, match="and 80 more"):
        read(tmp_path, "nonsense\n" * 100)


@pytest.mark.parametrize(
    "same",
    [
        "http://e.example.org/a/é?q=1",
        "https://E.example.ORG:443/a/%C3%A9?q=1#part",
        " http://user:word@e.example.org.:80/a/%c3%a9?%71=1 ",
    ],
)
def test_urls_are_compared_whatever_way_they_are_written(same: str) -> None:
    assert canonical(same) == ("e.example.org/a/é?q=1", "e.example.org")


def test_urls_that_are_not_the_same_stay_apart() -> None:
    urls = ["http://e.org/a", "http://e.org/A", "http://e.org/a?", "http://e.org/a?x", "//e.org"]
    urls += ["http://e.org:8080/a", "http://e.org/%ff", "http://e.org/%fe", "http://[bad/", "", "a"]
    assert len({canonical(url)[0] for url in urls}) == len(urls) - 1  # an empty query is none
    assert canonical("http://[bad/") == ("http://[bad/", None)
