"""How rows find who fetches them: by site, evenly, and the same for any number of workers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import routing
from pipeline.fetch.options import FetchOptions
from pipeline.sources.base import Incoming, captions_of

OPTIONS = FetchOptions(contact="mailto:a@b.org")


def said(url, number=0, **more):
    row = Incoming(f"k{number}", url, captions_of(f"text {number}", "alt"), **more)
    return row.key("s"), row.said, row


def written(root, *units):
    for number, urls in enumerate(units):
        rows = [said(url, n) for n, url in enumerate(urls)]
        routing.write_rows(routing.rows_path(str(root), number), rows, OPTIONS, "plan")


def read(root, partition, units):
    return routing.read_partition(str(root), units, partition)


def test_rows_come_back_as_they_were(tmp_path):
    rows = [
        said("http://a.org/1", 1, meta={"page": "ü", "n": 3}, hashes={"md5": "ab"}),
        said(None, 2, failed="no_url", detail="x", retriable=False),
        said("http://\ud800.org/", 3, held="file\udcff.jpg"),
    ]
    routing.write_rows(routing.rows_path(str(tmp_path), 0), rows, OPTIONS, "plan")
    (part,) = routing.partitions(str(tmp_path), {0: "s"}, 1000)
    found = dict(routing.incoming(read(tmp_path, part, [0])))
    assert set(found) == {key for key, _, _ in rows}
    for key, _, row in rows[:2]:
        again = found[key]
        assert (again.url, again.captions, again.meta) == (row.url, row.captions, row.meta)
        assert (again.failed, again.detail, again.hashes) == (row.failed, row.detail, row.hashes)
    assert found[rows[2][0]].url == "http://?.org/"
    assert found[rows[2][0]].held == "file\udcff.jpg"


def test_rows_that_say_much_are_sorted_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(routing, "_GROUP_ROWS", 3)
    monkeypatch.setattr(routing, "_BYTES_TOGETHER", 300)
    rows = [said(f"http://h{n}.org/", n, meta={"text": "x" * 99}) for n in range(20)]
    path = routing.rows_path(str(tmp_path), 0)
    routing.write_rows(path, rows, OPTIONS, "plan")
    assert pq.ParquetFile(path).metadata.num_row_groups == 7
    parts = routing.partitions(str(tmp_path), {0: "s"}, 1)
    found = [key for part in parts for key, _ in routing.incoming(read(tmp_path, part, [0]))]
    assert sorted(found) == sorted(key for key, _, _ in rows)


@pytest.mark.parametrize(
    "urls",
    [
        ["http://img.example.co.uk/1", "https://EXAMPLE.co.uk:8080/2?x", "http://example.co.uk./"],
        ["http://bücher.de/1", "http://xn--bcher-kva.de/2", "HTTP://BÜCHER.de/3"],
        ["http://10.0.0.1/a", "http://0x0a000001/b"],
        ["  http://a.org/1", "http://a.org/2#x"],
    ],
)
def test_a_site_lies_in_one_partition_however_its_host_is_written(tmp_path, urls):
    others = [f"http://site{number}.org/{number}" for number in range(400)]
    written(tmp_path, [*urls, *others])
    options = FetchOptions(contact="mailto:a@b.org", allow_hosts=frozenset({"10.0.0.1"}))
    rows = [said(url, n) for n, url in enumerate([*urls, *others])]
    routing.write_rows(routing.rows_path(str(tmp_path), 0), rows, options, "plan")
    parts = routing.partitions(str(tmp_path), {0: "s"}, 2)
    assert len(parts) > 10
    homes = [
        {part.first for url in read(tmp_path, part, [0])["url"].to_pylist() if url in urls}
        for part in parts
    ]
    assert len(set().union(*homes)) == 1


def test_partitions_hold_every_row_once_and_know_how_many(tmp_path):
    units = [[f"http://h{n % 97}.org/{u}/{n}" for n in range(500)] for u in range(3)]
    written(tmp_path, *units)
    parts = routing.partitions(str(tmp_path), {0: "a", 1: "b", 2: "a"}, 10)
    rows = []
    for part in parts:
        for source, numbers in (("a", [0, 2]), ("b", [1])):
            table = read(tmp_path, part, numbers)
            assert len(table) == dict(part.rows).get(source, 0)
            rows += table["url"].to_pylist()
    assert sorted(rows) == sorted(url for unit in units for url in unit)
    assert [part.end for part in parts[:-1]] == [part.first for part in parts[1:]]
    sizes = [sum(count for _, count in part.rows) for part in parts[:-1]]
    assert min(sizes) >= routing.SHARDS_TOGETHER * 10


def test_equal_urls_are_neighbours_and_sites_are_spread(tmp_path):
    busy = [f"http://busy.org/{n}" for n in range(300)]
    calm = [f"http://calm{n}.org/x" for n in range(300)]
    written(tmp_path, [*busy, *busy[:50], *calm])
    (part,) = routing.partitions(str(tmp_path), {0: "s"}, 1000)
    table = read(tmp_path, part, [0])
    table = table.take(pa.array(routing.spread(table)))
    urls = table["url"].to_pylist()
    places = {url: [i for i, found in enumerate(urls) if found == url] for url in set(urls)}
    assert all(max(at) - min(at) == len(at) - 1 for at in places.values())
    is_busy = np.array(["busy" in url for url in urls])
    shares = is_busy.reshape(-1, 65).mean(axis=1)
    assert shares.min() > 0.4
    assert shares.max() < 0.7


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.data())
def test_cuts_hold_every_row_and_no_shard_is_empty(values, data):
    address = np.array(sorted(values), np.int64)
    shards = data.draw(st.integers(1, len(values)))
    ends = routing.cuts(address, shards)
    assert ends[-1] == len(values)
    assert all(a < b for a, b in zip([0, *ends], ends, strict=False))


def test_a_url_of_two_rows_is_never_cut():
    address = np.repeat(np.arange(30), 2)
    assert all(end % 2 == 0 for end in routing.cuts(address, 9))


def test_a_file_of_another_plan_or_a_torn_one_is_not_taken(tmp_path):
    written(tmp_path, ["http://a.org/1"])
    path = routing.rows_path(str(tmp_path), 0)
    assert routing.has_rows(path, "plan")
    assert not routing.has_rows(path, "other")
    with open(path, "r+b") as stream:
        stream.truncate(100)
    assert not routing.has_rows(path, "plan")
    assert not routing.has_rows(routing.rows_path(str(tmp_path), 1), "plan")
