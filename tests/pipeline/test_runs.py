"""Runs: in the order of the shuffle, whatever they are cut into; nothing unread is believed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import runs
from pipeline.errors import DamagedFile
from pipeline.runs import Rendered, Run, Slice, merge, write_run

KEYS = st.binary(min_size=16, max_size=16)
PLACES = st.integers(0, 2**64 - 1) | st.sampled_from([0, 7, 2**64 - 1])
COPIES = st.lists(st.tuples(PLACES, KEYS), min_size=1, max_size=3)
ROWS = st.lists(st.tuples(COPIES, st.binary(max_size=40)), max_size=20)


def rendered(rows):
    return [Rendered(tuple(places), data, min(2, len(data))) for places, data in rows]


def expected(rows):
    """A slow reference: every copy with its data, sorted by place and key."""
    every = [(*place, data) for places, data in rows for place in places]
    return sorted(every, key=lambda copy: copy[:2])


def found(*slices):
    merged = merge(slices)
    names = ("place", "key", "length", "vectors")
    rows = list(zip(*(merged.index[name].tolist() for name in names), merged.data(), strict=True))
    assert all(length == len(data) for *_, length, _, data in rows)
    assert all(vectors == min(2, len(data)) for *_, vectors, data in rows)
    return [(place, bytes(key), data) for place, key, _, _, data in rows]


def same(one, other):
    """Equal but for the order of equal places and keys."""
    return sorted(one) == sorted(other) and [r[:2] for r in one] == [r[:2] for r in other]


def require_sorted(folder, rows, piece_bytes, read_bytes):
    run = Run(str(folder / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "PIECE_BYTES", piece_bytes)
        patch.setattr(runs, "MERGE_BYTES", read_bytes)
        patch.setattr(runs, "_LEAST_READ", 1)
        assert write_run(run, rendered(rows)) == len(expected(rows))
        assert same(found(Slice(run, run.read_index())), expected(rows))
    assert run.is_written()
    assert sorted(p.name for p in folder.iterdir()) == ["run.copied", "run.members", "run.npy"]


def require_one_order(folder, many, data):
    slices, wanted = [], []
    for number, rows in enumerate(many):
        run = Run(str(folder / str(number)))
        count = write_run(run, rendered(rows))
        start = data.draw(st.integers(0, count))
        stop = data.draw(st.integers(start, count))
        slices.append(Slice(run, run.read_index(start, stop)))
        whole = found(Slice(run, run.read_index()))
        wanted += whole[start:stop]
    assert same(found(*slices), sorted(wanted, key=lambda copy: copy[:2]))


PIECES = given(ROWS, st.integers(0, 200), st.integers(1, 50))
SLICES = given(st.lists(ROWS, max_size=4), st.data())


@settings(max_examples=10, deadline=None)
@PIECES
def test_a_run_is_sorted_whatever_it_is_put_together_from(tmp_path_factory, rows, piece, read):
    require_sorted(tmp_path_factory.mktemp("runs"), rows, piece, read)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@PIECES
def test_many_runs_are_sorted(tmp_path_factory, rows, piece, read):
    require_sorted(tmp_path_factory.mktemp("runs"), rows, piece, read)


@settings(max_examples=10, deadline=None)
@SLICES
def test_slices_of_many_runs_come_in_one_order(tmp_path_factory, many, data):
    require_one_order(tmp_path_factory.mktemp("runs"), many, data)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@SLICES
def test_many_slices_come_in_one_order(tmp_path_factory, many, data):
    require_one_order(tmp_path_factory.mktemp("runs"), many, data)


def test_a_row_of_many_copies_is_stored_once(tmp_path):
    run = Run(str(tmp_path / "run"))
    places = tuple((7 * copy % 1000, bytes([0] * 14) + copy.to_bytes(2)) for copy in range(1000))
    data = b"x" * 50_000
    write_run(run, [Rendered(places, data, 2), Rendered(((3, b"k" * 16),), b"own", 2)])
    assert (tmp_path / "run.copied").stat().st_size == 50_000
    assert (tmp_path / "run.members").read_bytes() == b"own"
    assert [d for *_, d in found(Slice(run, run.read_index()))].count(data) == 1000


def test_what_is_damaged_is_named(tmp_path):
    run = Run(str(tmp_path / "run"))
    write_run(run, [Rendered(((place, bytes([place] * 16)),), b"abc") for place in range(5)])
    whole = (tmp_path / "run.members").read_bytes()
    (tmp_path / "run.members").write_bytes(whole[:-1])
    with pytest.raises(DamagedFile, match=r"run\.members: ends at byte 14; remove it"):
        list(merge([Slice(run, run.read_index())]).data())
    (tmp_path / "run.members").unlink()
    with pytest.raises(DamagedFile, match=r"run\.members: can't be read"):
        list(merge([Slice(run, run.read_index())]).data())
    index = (tmp_path / "run.npy").read_bytes()
    for text in (index[:-1], index[:20], b"", b"no index"):
        (tmp_path / "run.npy").write_bytes(text)
        with pytest.raises(DamagedFile, match=r"run\.npy: can't be read, remove it"):
            run.read_index()
    (tmp_path / "run.npy").write_bytes(index)
    with pytest.raises(DamagedFile, match="has 5 entries"):
        run.read_index(0, 6)
