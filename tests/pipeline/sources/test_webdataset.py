import gzip
import io
import json
import tarfile
import uuid

import fsspec
import pytest

from pipeline.errors import DamagedFile, RecipeError
from pipeline.sources.webdataset import WebDataset, samples_of


def tar(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            data = data if isinstance(data, bytes) else data.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def rows(source):
    return [row for unit in source.units() for row in source.read(unit)]


def texts(row):
    return [(c["origin"], c["text"]) for c in row.captions]


def test_members_become_image_captions_url_meta_and_parts(tmp_path):
    fields = {"caption": "c", "text": ["t1", "t2"], "url": "http://e.org/x", "n": float("nan")}
    members = [
        ("a/1.mask.png", b"mask"),
        ("a/1.jpg", b"image"),
        ("a/1.txt", "größe"),
        ("a/1.json", json.dumps(fields)),
        ("a/1.cls", b"7"),
        ("a/2.png", b"other"),
    ]
    (tmp_path / "0.tar").write_bytes(tar(members))
    one, two = rows(WebDataset("s", str(tmp_path)))
    assert (one.source_key, one.image, one.url) == ("a/1", b"image", "http://e.org/x")
    assert texts(one) == [
        ("txt", "größe"),
        ("json.caption", "c"),
        ("json.text", "t1"),
        ("json.text", "t2"),
    ]
    assert one.meta == {"caption": "c", "text": ["t1", "t2"], "n": None}
    assert sorted(one.parts) == ["cls", "json", "mask.png", "txt"]
    assert (two.source_key, two.image, two.captions, two.url) == ("a/2", b"other", [], None)


def test_captions_are_where_the_recipe_says(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar([("1.jpg", b""), ("1.alt", "a"), ("1.txt", "t")]))
    (row,) = rows(WebDataset("s", str(tmp_path / "0.tar"), ("alt", "txt", "json.title")))
    assert texts(row) == [("alt", "a"), ("txt", "t")]


def test_an_empty_member_is_no_caption_and_bad_bytes_are_flagged(tmp_path):
    members = [("1.jpg", b""), ("1.txt", b""), ("2.jpg", b""), ("2.txt", b"caf\xe9")]
    (tmp_path / "0.tar").write_bytes(tar(members))
    one, two = rows(WebDataset("s", str(tmp_path)))
    assert one.caption is None
    assert two.captions[0]["flags"] == ["not_utf8"]


def test_what_is_no_sample_is_a_row_with_a_reason(tmp_path):
    members = [
        ("1.txt", "alone"),
        ("2.jpg", b"1"),
        ("2.jpg", b"2"),
        ("3.jpg", b"3"),
        ("3.json", "{"),
        ("4", b"no extension"),
    ]
    (tmp_path / "0.tar").write_bytes(tar(members) + b"")
    (tmp_path / "1.tar").write_bytes(tar([("5.jpg", b"x" * 600)])[:700])
    found = rows(WebDataset("s", str(tmp_path)))
    assert [(r.source_key, r.failed) for r in found] == [
        ("1", "no_image"),
        ("2", "duplicate_member"),
        ("3", None),
        ("4", "no_image"),
        ("", "truncated_archive"),
    ]
    assert found[0].detail == "members: txt"
    cut = tar([("5.jpg", b"x"), ("6.jpg", b"x"), ("6.txt", b"x" * 600)])[:2600]
    (tmp_path / "1.tar").write_bytes(cut)
    assert [(r.source_key, r.failed) for r in rows(WebDataset("s", str(tmp_path)))[-3:]] == [
        ("5", None),
        ("6", "truncated_sample"),
        ("", "truncated_archive"),
    ]
    assert found[2].meta == {"unreadable_json": True}
    assert all(r.retriable is False for r in found if r.failed)


def test_keys_that_are_no_utf8(tmp_path):
    archive = tar([("caf\udce9.x/1.jpg", b"1"), ("caf\udce9.x/1.txt", "t")])
    (tmp_path / "0.tar").write_bytes(archive)
    (row,) = rows(WebDataset("s", str(tmp_path)))
    assert (row.source_key, row.image, row.caption) == ("caf\ufffd.x/1", b"1", "t")


def test_no_tar_and_a_missing_tar_are_errors(tmp_path):
    with pytest.raises(RecipeError, match=r"source 's': there is no \.tar at"):
        WebDataset("s", str(tmp_path)).units()
    (tmp_path / "0.tar").write_bytes(tar([]))
    with pytest.raises(RecipeError, match=r"1 of the 2 files .* are missing"):
        WebDataset("s", str(tmp_path / "{0..1}.tar")).units()
    assert rows(WebDataset("s", str(tmp_path))) == []


def test_a_tar_that_can_not_be_opened_is_named(tmp_path):
    with pytest.raises(DamagedFile, match=r"0\.tar: can't be read: No such file"):
        list(samples_of(str(tmp_path / "0.tar")))


def test_compressed_tars_and_object_stores():
    root = f"memory://{uuid.uuid4().hex}"
    with fsspec.open(f"{root}/0.tar.gz", "wb") as stream:
        stream.write(gzip.compress(tar([("1.jpg", b"1")])))
    with fsspec.open(f"{root}/sub/1.tar", "wb") as stream:
        stream.write(tar([("2.jpg", b"2")]))
    assert [r.image for r in rows(WebDataset("s", root))] == [b"1", b"2"]
    assert [r.image for r in rows(WebDataset("s", f"{root}/sub/*.tar"))] == [b"2"]
