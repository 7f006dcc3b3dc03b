import bisect
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CurationError, DamagedFile
from pipeline.subsets import SubsetWriter, copies_in, read_subset, uids_of, write_subset

A, B, C = "0" * 31 + "1", "0" * 15 + "1" + "0" * 16, "f" * 32
UIDS = st.lists(st.sampled_from([A, B, C, "0" * 32, "7f" * 16, "80" + "0" * 30]), max_size=20)


def test_a_file_is_sorted_pairs_of_64_bits(tmp_path: Path) -> None:
    path = str(tmp_path / "subset.npy")
    assert write_subset(path, [C, B, A], [1, 2, 0]) == 3
    loaded = np.load(path)
    assert loaded.dtype == np.dtype("u8,u8")
    assert loaded.tolist() == [(1, 0), (1, 0), (2**64 - 1, 2**64 - 1)]
    assert uids_of(read_subset(path)) == [B, B, C]


@pytest.mark.slow
@given(UIDS, st.lists(st.sampled_from([A, B, C, None, "x", A.upper(), C.upper()]), max_size=9))
def test_copies_are_what_the_published_search_gives(
    tmp_path_factory: pytest.TempPathFactory, uids: list[str], asked: list[str | None]
) -> None:
    path = str(tmp_path_factory.mktemp("subset") / "subset.npy")
    assert write_subset(path, uids) == len(uids)
    subset = read_subset(path)
    assert uids_of(subset) == sorted(uids)
    found = copies_in(subset, pa.array(asked, pa.string())).tolist()
    assert found == [published(sorted(uids), uid) for uid in asked]


def published(uids: list[str], uid: str | None) -> int:
    """The resharder's rule: right end less left end of a binary search in the sorted list."""
    if uid is None or len(uid) != 32:
        return 0
    return bisect.bisect_right(uids, uid.lower()) - bisect.bisect_left(uids, uid.lower())


def test_an_empty_list_is_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "subset.npy")
    assert write_subset(path, []) == 0
    assert copies_in(read_subset(path), pa.array([A, None])).tolist() == [0, 0]


@pytest.mark.parametrize("uid", ["", "1", "g" * 32, "0" * 33, " " + "0" * 31])
def test_what_is_no_uid_is_not_written(uid: str, tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="is no uid of 32 hex digits"):
        write_subset(str(tmp_path / "subset.npy"), [A, uid])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_subset_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "subset.npy"
    for array, message in [
        (np.array([1, 2], np.uint64), "holds uint64"),
        (np.array([(2, 0), (1, 0)], "u8,u8"), "not sorted, from entry 1 on"),
        (np.array([(1, 2), (1, 3), (1, 1)], "u8,u8"), "not sorted, from entry 2 on"),
        (np.zeros((2, 2), "u8,u8"), "expected a list"),
    ]:
        np.save(path, array)
        with pytest.raises(DamagedFile, match=message):
            read_subset(str(path))
    np.save(path, np.array([object()]), allow_pickle=True)
    with pytest.raises(DamagedFile, match="not an npy file"):
        read_subset(str(path))
    path.write_bytes(b"")
    with pytest.raises(DamagedFile, match="not an npy file"):
        read_subset(str(path))


def test_uids_come_in_parts_and_all_that_were_chosen(tmp_path: Path) -> None:
    path = str(tmp_path / "subset.npy")
    writer = SubsetWriter(path, 4)
    writer.add(pa.array([C, None, "no uid"]), np.array([1, 0, 0]))
    writer.add(pa.chunked_array([[B.upper()], [A, None]]), np.array([1, 2, 0]))
    assert writer.finish() == 4
    assert uids_of(read_subset(path)) == [A, A, B, C]
    few, many = (SubsetWriter(str(tmp_path / "other.npy"), chosen) for chosen in (1, 5))
    with pytest.raises(CurationError, match="more than 1 entries"):
        few.add(pa.array([A, B]), np.array([2, 2]))
    many.add(pa.array([A, B]), np.array([2, 2]))
    with pytest.raises(CurationError, match="5 entries were chosen, 4 are there"):
        many.finish()
    assert not (tmp_path / "other.npy").exists()
