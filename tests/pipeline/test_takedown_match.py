"""Which rows a list names: the nearest hashes, many entries, records that only grow."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import pool, takedown_match
from pipeline import takedown_record as record
from pipeline.build import Build
from pipeline.errors import DamagedFile
from pipeline.pool import Pool
from pipeline.recipe import parse_recipe
from pipeline.takedown_match import Listed, bring_up, listed
from pipeline.takedown_record import Entry
from pipeline.urls import host_of
from tests.commands import done
from tests.pipeline.takedowns import key, phash, take_down, write_web


def make_pool(root: Path, rows: int) -> tuple[Build, Pool]:
    """A pool of rows without images, a thousand in a shard."""
    shards = []
    for number in range(0, rows, 1000):
        name = pool.shard_name(number // 1000, rows)
        table = pool.base_table(
            [
                {
                    "key": n.to_bytes(16, "big"),
                    "source": "test",
                    "url": f"https://host{n % 97}.example{n % 13}.com/{n}",
                    "image_sha256": n.to_bytes(32, "big"),
                }
                for n in range(number, min(number + 1000, rows))
            ]
        )
        shards.append(pool.write_base(str(root), name, table, 0, "plan"))
    made = Pool(str(root), "", tuple(shards))
    pool.write_index(made)
    return Build(parse_recipe("pool: .\n", str(root / "recipe.yaml")), str(root)), made


def taken_numbers(root: Path) -> set[int]:
    return {int.from_bytes(k, "big") for k in record.taken_rows(str(root))["key"].to_pylist()}


def test_the_nearest_within_each_distance_is_found_as_by_looking_at_all() -> None:
    rng = random.Random(0)
    base = [rng.getrandbits(64) for _ in range(300)]
    entries: dict[int, dict[int, Entry]] = {0: {}, 4: {}, 12: {}}
    for number, value in enumerate(base):
        distance = (0, 4, 12)[number % 3]
        entries[distance][value] = Entry("phash", f"{value:016x}", distance)
    asked: list[tuple[int, float] | None] = [None, (base[0], 1.9), (base[0], 2.0)]
    for value in base:
        flips = rng.sample(range(64), rng.randrange(0, 16))
        asked.append((value ^ sum(1 << bit for bit in flips), 40.0))
    found = Listed(alike=entries).by_looks(asked)
    assert found[:2] == [None, None]
    assert found[2] == entries[0][base[0]]
    for one, entry in zip(asked[3:], found[3:], strict=True):
        assert one is not None
        within = [
            e
            for distance, listed_ in entries.items()
            for value, e in listed_.items()
            if (value ^ one[0]).bit_count() <= distance
        ]
        assert (entry in within) if within else entry is None
    assert Listed().by_looks(asked) == [None] * len(asked)


@pytest.mark.slow
def test_images_that_look_like_a_listed_one_go_within_its_distance(tmp_path: Path) -> None:
    recipe = write_web(tmp_path)
    done("ingest", recipe, "--out", tmp_path / "out")
    near = phash(5) ^ 0b111
    rows = f"phash,distance\n{near:016x},2\n{phash(6) ^ 1:016x},1\n"
    text = take_down(tmp_path / "out", rows, "--recipe", str(recipe), name="list.csv")
    assert "1 of 12 are taken down (by phash 1)" in text
    text = take_down(tmp_path / "out", f"{near:016x}\n", "--recipe", str(recipe))
    assert "2 of 12 are taken down (by phash 2)" in text
    found = {row["key"].hex() for row in record.taken_rows(str(tmp_path / "out")).to_pylist()}
    assert found == {key(5), key(6)}


@pytest.mark.slow
def test_100_000_entries_over_10_000_rows_take_seconds(tmp_path: Path) -> None:
    _, made = make_pool(tmp_path, 10_000)
    rng = np.random.default_rng(0)
    lines = [f"{n:032x}" for n in range(9_990, 30_000)]
    lines += [f"https://host{n % 97}.example{n % 13}.com/{n}" for n in range(9_980, 30_000)]
    lines += [f"{n:064x}" for n in range(9_970, 30_000)]
    lines += [f"n{n}.example99.com" for n in range(20_000)]
    lines += [f"{n:016x}" for n in rng.integers(0, 1 << 63, 20_000)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    from pipeline.takedown_list import read_list

    started = time.process_time()
    entries = read_list(str(tmp_path / "list.txt"), None, "2026-01-31")
    assert len(entries) > 99_000
    assert len(record.append(str(tmp_path), entries)) == len(entries)
    looked = [(int(n), 40.0) for n in rng.integers(0, 1 << 63, 10_000)]
    assert not any(listed(str(tmp_path)).by_looks(looked))
    rows = takedown_match._matched(made, None)
    spent = time.process_time() - started
    assert {int.from_bytes(k, "big") for k in rows["key"].to_pylist()} == set(range(9_970, 10_000))
    assert spent < 20, f"{spent:.1f} s"


def test_hosts_take_what_is_below_them_and_nothing_beside(tmp_path: Path) -> None:
    build, made = make_pool(tmp_path, 300)
    record.append(str(tmp_path), [Entry("domain", "host5.example5.com")])
    assert bring_up(build, made) is not None
    assert taken_numbers(tmp_path) == {n for n in range(300) if n % 97 == 5 and n % 13 == 5}
    record.append(str(tmp_path), [Entry("domain", "example5.com")])
    bring_up(build, made)
    assert taken_numbers(tmp_path) == {n for n in range(300) if n % 13 == 5}
    record.append(str(tmp_path), [Entry("domain", "ample6.com"), Entry("domain", "5.example6.com")])
    bring_up(build, made)
    assert taken_numbers(tmp_path) == {n for n in range(300) if n % 13 == 5}


def test_a_record_grows_is_chained_and_is_the_same_bytes_for_the_same_lists(tmp_path: Path) -> None:
    entries = [Entry("key", f"{n:032x}", None, "why", "2026-01-31") for n in range(4)]
    for name, order in (("a", entries), ("b", entries[::-1])):
        root = str(tmp_path / name)
        assert len(record.append(root, order[:2] if name == "a" else order[2:])) == 2
        assert len(record.append(root, order)) == 2
        assert record.append(root, order) == []
        assert record.entries(root) == tuple(entries)
    files = [sorted((tmp_path / name / "takedown").iterdir()) for name in ("a", "b")]
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    first, second = files[0][0], files[0][1]
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)
    with pytest.raises(DamagedFile, match="is not the list that was written"):
        record.entries(str(tmp_path / "a"))


def test_a_list_half_recorded_is_not_in_force_and_is_written_again(tmp_path: Path) -> None:
    root = str(tmp_path)
    entries = [Entry("key", f"{n:032x}") for n in range(2)]
    record.append(root, entries[:1])
    (tmp_path / "takedown" / "00001.parquet").write_bytes(b"cut off")
    assert record.entries(root) == tuple(entries[:1])
    record.append(root, entries)
    assert record.entries(root) == tuple(entries)


def test_an_empty_record_costs_nothing_and_hides_nothing(tmp_path: Path) -> None:
    build, made = make_pool(tmp_path, 10)
    assert bring_up(build, made) is None
    assert takedown_match.used_digest(made, None) == made.digest
    table = pa.table({"key": pa.array([b"0" * 16], pa.binary(16))})
    assert record.hidden(str(tmp_path), table) is table
    assert not (tmp_path / "takedown").exists()


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("https://site.org/Page?a=1#top", Entry("url", "http://site.org/Page?a=1")),
        ("https://www.site.org/other", Entry("domain", "site.org")),
        ("https://straße.example.de/", Entry("domain", "xn--strae-oqa.example.de")),
        ("https://other.org/", None),
    ],
)
def test_a_row_is_named_by_its_page_on_its_way_in_and_in_a_pool(
    tmp_path: Path, name: str, entry: Entry | None
) -> None:
    wanted = Entry("domain", "nobody.example.org") if entry is None else entry
    record.append(str(tmp_path), [wanted])
    meta = {"page_url": name, "title": "a page"}
    image = "https://cdn.net/1.jpg"
    assert listed(str(tmp_path)).by_name(bytes(16), image, meta) == entry
    rows = [{"key": bytes(16), "source": "s", "url": image, "meta": json.dumps(meta)}]
    rows.append({"key": b"1" * 16, "source": "s", "url": image, "meta": '{"page_url": [3]}'})
    rows.append({"key": b"2" * 16, "source": "s", "url": image, "meta": None})
    shard = pool.write_base(str(tmp_path), "00000", pool.base_table(rows), 0, "plan")
    made = Pool(str(tmp_path), "", (shard,))
    pool.write_index(made)
    bring_up(Build(parse_recipe("pool: .\n", str(tmp_path / "r.yaml")), str(tmp_path)), made)
    assert taken_numbers(tmp_path) == ({0} if entry is not None else set())


def test_hosts_are_written_as_browsers_write_them() -> None:
    assert host_of("STRASSE.de.") == "strasse.de"
    assert host_of("straße.de") == "xn--strae-oqa.de"
    assert host_of("１２７．０．０．１") == "127.0.0.1"
    assert host_of("i❤.ws") == "xn--i-7iq.ws"
    assert host_of("a..ü") == "a..ü"
