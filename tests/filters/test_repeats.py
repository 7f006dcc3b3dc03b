"""Repeats: counts equal those of sets, whole or in parts that meet by key."""

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.repeats import Repeats

SCHEMA = pa.schema(
    {
        "key": pa.binary(16),
        "image_sha256": pa.binary(32),
        "domain": pa.large_string(),
        "url": pa.large_string(),
        "final_url": pa.large_string(),
        "page_url": pa.large_string(),
    }
)
Row = tuple[int | None, str | None, str | None, str | None, str | None]
CASES = [Repeats(), Repeats(page="page_url"), Repeats(of="final_url")]


def table(rows: list[Row]) -> pa.Table:
    images = [None if image is None else bytes([image]) * 32 for image, *_ in rows]
    keys = [number.to_bytes(16, "big") for number in range(len(rows))]
    others = ([row[place] for row in rows] for place in range(1, 5))
    return pa.table([keys, images, *others], schema=SCHEMA)


def counts(rows: list[Row], scorer: Repeats) -> list[tuple[int | None, ...]]:
    result = scorer.reduce(table(rows))
    assert result.schema == scorer.writes
    result.validate(full=True)
    return list(zip(*(column.to_pylist() for column in result.columns), strict=True))


def reference(rows: list[Row], scorer: Repeats) -> list[tuple[int | None, ...]]:
    """The slow reference."""
    by = 3 if scorer.of == "final_url" else 0
    counted = {"image_urls": 2, "image_domains": 1, "image_pages": 4, "final_url_sources": 2}
    found = []
    for row in rows:
        same = [other for other in rows if other[by] == row[by] is not None]
        sets = [{r[counted[name]] for r in same} - {None} for name in scorer.writes.names]
        found.append(tuple(len(some) or None for some in sets))
    return found


TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "A", "", "猫"]))
ROWS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 2)), TEXTS, TEXTS, TEXTS, TEXTS), max_size=25
)


@given(ROWS, st.sampled_from(CASES))
@settings(max_examples=120, deadline=None)
def test_agrees_with_the_reference(rows: list[Row], scorer: Repeats) -> None:
    assert counts(rows, scorer) == reference(rows, scorer)
    assert counts(rows[::-1], scorer)[::-1] == counts(rows, scorer)


@given(ROWS, st.sampled_from(CASES), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_parts_that_meet_by_key_count_like_the_whole(
    rows: list[Row], scorer: Repeats, parts: int
) -> None:
    whole = table(rows)
    keys = scorer.gather_key(whole)
    assert keys.type == pa.uint64()
    part = [-1 if key is None else key % parts for key in keys.to_pylist()]
    found: dict[bytes, Any] = {}
    for number in range(-1, parts):
        some = whole.filter(pa.array([at == number for at in part], pa.bool_()))
        found |= dict(zip(some["key"].to_pylist(), scorer.reduce(some).to_pylist(), strict=True))
    assert [found[key] for key in whole["key"].to_pylist()] == scorer.reduce(whole).to_pylist()


def test_golden_of_images() -> None:
    rows: list[Row] = [
        (1, "a.org", "http://a.org/1.jpg", None, "http://p.org/x"),
        (1, "a.org", "http://i.a.org/1.jpg", None, "http://p.org/x"),
        (1, "b.org", "http://b.org/1.jpg", None, None),
        (1, "b.org", "http://b.org/1.jpg", None, "http://p.org/y"),  # another caption
        (2, "a.org", "http://a.org/2.jpg", None, "http://p.org/x"),
        (3, None, None, None, None),  # of a folder: nothing is known
        (None, "a.org", "http://a.org/3.jpg", None, None),  # of a table without images
    ]
    expected = [(3, 2, 2)] * 4 + [(1, 1, 1), (None, None, None), (None, None, None)]
    assert counts(rows, Repeats(page="page_url")) == expected
    assert counts(rows, Repeats()) == [row[:2] for row in expected]


def test_golden_of_redirects() -> None:
    gone = "https://i.imgur.com/removed.png"
    rows: list[Row] = [
        (1, None, "http://i.imgur.com/a.jpg", gone, None),
        (1, None, "http://i.imgur.com/b.jpg", gone, None),
        (1, None, "http://i.imgur.com/b.jpg", gone, None),
        (2, None, "http://a.org/1.jpg", "http://a.org/1.jpg", None),
        (3, None, None, "http://a.org/2.jpg", None),
        (1, None, "http://a.org/3.jpg", None, None),  # not fetched by us: not known
    ]
    assert counts(rows, Repeats(of="final_url")) == [(2,), (2,), (2,), (1,), (None,), (None,)]


@pytest.mark.parametrize("scorer", CASES)
def test_no_rows_and_rows_of_nothing(scorer: Repeats) -> None:
    for empty in (SCHEMA.empty_table(), pa.Table.from_batches([], SCHEMA)):
        assert scorer.reduce(empty).schema == scorer.writes
        assert len(scorer.reduce(empty)) == len(scorer.gather_key(empty)) == 0
    nothing: Row = (None, None, None, None, None)
    assert set(counts([nothing] * 3, scorer)) == {(None,) * len(scorer.writes)}


@pytest.mark.parametrize("scorer", CASES)
def test_chunks_and_slices_make_no_difference(scorer: Repeats) -> None:
    whole = table([(n % 3, f"{n % 4}", f"{n % 5}", f"{n % 2}", f"{n % 7}") for n in range(20)])
    chunked = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 0), whole.slice(3)])
    assert scorer.reduce(chunked).to_pylist() == scorer.reduce(whole).to_pylist()
    assert scorer.gather_key(chunked).equals(scorer.gather_key(whole))
    assert len(scorer.reduce(whole.slice(7, 5))) == 5


def test_keys_are_the_same_in_every_process() -> None:
    program = (
        "import pyarrow as pa; from filters.repeats import Repeats;"
        "rows = pa.table({'final_url': ['http://a.org/é', None], 'image_sha256': [b'a' * 32, None]}"
        ");"
        "print([Repeats(of=of).gather_key(rows).to_pylist() for of in ('image', 'final_url')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == KEYS, done.stderr


KEYS = "[[7016996765293437281, None], [3385571438189771935, None]]"


def test_refuses_parameters() -> None:
    with pytest.raises(ValueError, match="of is image or final_url, got 'url'"):
        Repeats(of="url")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pages are counted of images alone"):
        Repeats(of="final_url", page="page_url")
