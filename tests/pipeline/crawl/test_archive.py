import gzip
import random

import fsspec
import pytest
from fastwarc import WarcRecordType

from pipeline.crawl.archive import Tally, records
from tests.pipeline.crawl.archives import members, response

FIVE = [response(f"http://e.org/{i}", f"<p>hello {i}</p>" * 50) for i in range(5)]


def read(tmp_path, data):
    """The last letters of the URLs whose bodies could be read, and the tally."""
    path = tmp_path / "a.warc.gz"
    path.write_bytes(data)
    tally, found = Tally(), ""
    for item in records(str(path), WarcRecordType.response, tally):
        try:
            item.reader.read()
        except OSError:
            continue
        found += item.headers["WARC-Target-URI"][-1]
    return found, tally


def flipped(data, *places):
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0x5A
    return bytes(changed)


@pytest.mark.parametrize(
    "data",
    [b"".join(FIVE), members(*FIVE), gzip.compress(b"".join(FIVE))],
    ids=["plain", "members", "whole"],
)
def test_whole_archives_give_every_record(tmp_path, data):
    assert read(tmp_path, data) == ("01234", Tally(records=5))


@pytest.mark.parametrize("place", [12, 40, -30, -5])
def test_a_damaged_member_costs_itself(tmp_path, place):
    data = members(*FIVE[:2]) + flipped(members(FIVE[2]), place) + members(*FIVE[3:])
    found, tally = read(tmp_path, data)
    assert found.replace("2", "") == "0134"
    assert tally.damaged <= 1


def test_junk_between_records_is_one_damage(tmp_path):
    found, tally = read(tmp_path, members(*FIVE[:2]) + b"junk" * 99 + members(*FIVE[2:]))
    assert (found, tally.damaged) == ("01234", 1)
    found, tally = read(tmp_path, b"".join(FIVE[:2]) + b"junk\r\n\r\n" * 9 + b"".join(FIVE[2:]))
    assert (found, tally.damaged) == ("01234", 1)


def test_a_large_damaged_body_costs_itself(tmp_path):
    dice = random.Random(1)
    large = [response(f"http://e.org/{i}", dice.randbytes(300_000)) for i in range(3)]
    middle = flipped(members(large[1]), *range(100_000, 100_100))
    found, tally = read(tmp_path, members(large[0]) + middle + members(large[2]))
    assert found.replace("1", "") == "02"
    assert tally.damaged <= 1


@pytest.mark.parametrize("at", [0, 2, 5])
@pytest.mark.parametrize("times", [1, 3])
def test_an_empty_member_is_not_the_end(tmp_path, at, times):
    data = members(*FIVE[:at]) + gzip.compress(b"") * times + members(*FIVE[at:])
    assert read(tmp_path, data) == ("01234", Tally(records=5))


@pytest.mark.parametrize("was", [b"\r\n", b"WARC-Type"])
def test_records_that_are_none_are_damage(tmp_path, was):
    data = b"".join(one.replace(was, was.lower().strip(b"\r")) for one in FIVE)
    assert read(tmp_path, data) == ("", Tally(damaged=1))


@pytest.mark.parametrize(
    ("data", "damaged"), [(b"", 0), (b"<html>" * 100, 1), (b"\x1f\x8b\x08", 1)]
)
def test_no_archive_has_no_records(tmp_path, data, damaged):
    found, tally = read(tmp_path, data)
    assert found == ""
    assert tally.damaged <= damaged


def test_an_archive_may_lie_behind_any_file_system():
    url = "memory://archives/a.warc.gz"
    with fsspec.open(url, "wb") as stream:
        stream.write(members(*FIVE[:2]) + b"junk" + members(*FIVE[2:]))
    tally = Tally()
    assert len(list(records(url, WarcRecordType.response, tally))) == 5
    assert tally.damaged == 1


def test_a_file_of_false_starts_ends(tmp_path):
    found, _ = read(tmp_path, b"\x1f\x8b\x08junk" * 200_000)
    assert found == ""
