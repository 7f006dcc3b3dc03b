"""Outcomes on disk: what was put is there again, whatever end the file has."""

import resource
from pathlib import Path

import pytest

from pipeline.fetch.outcome import Outcome
from pipeline.fetch.spool import Spool

WHOLE = Outcome(
    data=b"\x00bytes\xff",
    attempts=2,
    redirects=("http://a.b/c",),
    final_url="http://a.b/c",
    status=200,
    content_type="image/png",
    size_bytes=7,
    sha256=b"s" * 32,
    signals={"x-robots-tag": "noai ü"},
    date="2020-01-02T03:04:05Z",
)
LOST = Outcome(failed="dns", detail="no such host", retriable=True, attempts=1)
EMPTY = Outcome(data=b"", attempts=1)


def filled(path: Path, label: str = "a") -> Spool:
    spool = Spool(str(path), label)
    for name, outcome in {"one ü": WHOLE, "two": LOST, "three": EMPTY}.items():
        spool.put(name, outcome)
    return spool


def test_what_was_put_is_there_now_and_after_opening_again(tmp_path):
    spool = filled(tmp_path / "deep" / "spool")
    for _ in range(2):
        assert list(spool.names()) == ["one ü", "two", "three"]
        assert spool.get("one ü") == WHOLE
        assert spool.get("two") == LOST
        assert spool.get("three") == EMPTY
        assert spool.get("four") is None
        assert "four" not in spool
        spool.close()
        spool = Spool(spool.path, "a")


def test_of_a_name_the_last_counts(tmp_path):
    spool = filled(tmp_path / "spool")
    spool.put("two", WHOLE)
    assert spool.get("two") == WHOLE
    spool.close()
    assert Spool(spool.path, "a").get("two") == WHOLE


def test_another_label_begins_anew(tmp_path):
    filled(tmp_path / "spool").close()
    spool = Spool(str(tmp_path / "spool"), "b")
    assert not spool.names()
    spool.put("x", LOST)
    spool.close()
    assert list(Spool(spool.path, "b").names()) == ["x"]


def test_any_end_costs_the_torn_record_alone(tmp_path):
    """Cut anywhere, and gone on with, everything that was whole is there."""
    spool = filled(tmp_path / "spool")
    spool.close()
    data = (tmp_path / "spool").read_bytes()
    seen = set()
    for cut in range(len(data)):
        (tmp_path / "spool").write_bytes(data[:cut])
        again = Spool(spool.path, "a")
        names = list(again.names())
        seen.add(len(names))
        assert names == ["one ü", "two", "three"][: len(names)]
        again.put("new", WHOLE)
        again.close()
        last = Spool(spool.path, "a")
        assert list(last.names()) == [*names, "new"]
        assert last.get("new") == WHOLE
        last.close()
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("place", [30, -5])
def test_damage_costs_what_lies_behind_it(tmp_path, place):
    spool = filled(tmp_path / "spool")
    spool.close()
    data = bytearray((tmp_path / "spool").read_bytes())
    data[place] ^= 0xFF
    (tmp_path / "spool").write_bytes(data)
    again = Spool(spool.path, "a")
    assert list(again.names()) == ([] if place == 30 else ["one ü", "two"])


def test_a_disk_that_takes_no_more_is_named_and_costs_the_last_alone(tmp_path):
    spool = filled(tmp_path / "spool")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "spool").stat().st_size + 9, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*spool"):
            spool.put("four", WHOLE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    spool.close()
    assert list(Spool(spool.path, "a").names()) == ["one ü", "two", "three"]


def test_removed_is_gone(tmp_path):
    spool = filled(tmp_path / "spool")
    spool.remove()
    assert not (tmp_path / "spool").exists()
