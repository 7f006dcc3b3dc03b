import io
import tarfile

import pytest

from pipeline.shards import Sample, read_shard
from tests.tars import write_shard


def tar_of(path, members, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def test_what_is_written_is_read_back_and_python_reads_it_too(tmp_path):
    samples = [
        Sample("a" * 32, {"jpg": b"\xff" * 600, "txt": "größe".encode()}),
        Sample("b" * 32, {"png": b"", "very.long.extension" + "x" * 120: b"1"}),
    ]
    path = str(tmp_path / "00000.tar")
    assert write_shard(path, samples) == 2
    assert list(read_shard(path)) == samples
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 4


def test_bytes_are_a_function_of_the_samples(tmp_path):
    samples = [Sample(str(i), {"txt": b"x" * i}) for i in range(5)]
    for name in ("a.tar", "b.tar"):
        write_shard(str(tmp_path / name), samples)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_empty_shard_is_a_tar(tmp_path):
    path = str(tmp_path / "00000.tar")
    assert write_shard(path, []) == 0
    assert list(read_shard(path)) == []


def test_keys_end_at_the_first_dot_of_the_base_name(tmp_path):
    path = tar_of(tmp_path / "x.tar", [("a.b/c.d.JPG", b"1"), ("a.b/c.txt", b"2")])
    assert list(read_shard(path)) == [Sample("a.b/c", {"d.jpg": b"1", "txt": b"2"})]


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1500, 2100])
def test_a_truncated_tar_keeps_its_whole_samples_and_says_where_it_ends(tmp_path, cut):
    path = tmp_path / "x.tar"
    tar_of(path, [(f"{i}.txt", b"x" * 600) for i in range(3)])
    path.write_bytes(path.read_bytes()[:cut])
    *whole, last = read_shard(str(path))
    assert all(sample.failed is None for sample in whole)
    assert len(whole) == (cut + 1536 - 1112) // 1536  # a sample is 512 + 600, then padding
    assert last.failed == "truncated_archive"
    assert "can't be read after" in last.detail


def test_an_empty_file_is_a_reason(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"")
    assert [s.failed for s in read_shard(str(tmp_path / "x.tar"))] == ["truncated_archive"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_a_reason(tmp_path, kind):
    path = tmp_path / "x.tar"
    tar_of(path, [("a.jpg", b"")], kind)
    assert [s.failed for s in read_shard(str(path))] == ["not_a_file"]


def test_duplicate_members_are_a_reason(tmp_path):
    path = tar_of(tmp_path / "x.tar", [("a.jpg", b"1"), ("a.jpg", b"2")])
    assert [s.failed for s in read_shard(path)] == ["duplicate_member"]


def test_names_outside_the_tar_are_only_names(tmp_path):
    path = tar_of(tmp_path / "x.tar", [("/etc/evil.txt", b"1"), ("../../evil.txt", b"2")])
    assert [s.key for s in read_shard(path)] == ["/etc/evil", "../../evil"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


def test_gzipped_tars_are_read(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))
    assert [s.key for s in read_shard(str(tmp_path / "x.tar.gz"))] == ["a"]
