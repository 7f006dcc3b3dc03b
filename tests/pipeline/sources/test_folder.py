import json
import os
import pickle
import uuid

import fsspec
import pytest

from pipeline.errors import RecipeError
from pipeline.sources.folder import Folder
from tests.privileges import permissions_hold


def fill(root, files):
    for name, data in files.items():
        path = os.path.join(os.fsencode(root), name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(data if isinstance(data, bytes) else data.encode())
    return str(root)


def rows(source):
    units = pickle.loads(pickle.dumps(source.units()))
    return [row for unit in units for row in source.read(unit)]


def texts(row):
    return [(c["origin"], c["text"]) for c in row.captions]


def test_captions_stand_beside_images(tmp_path):
    root = fill(
        tmp_path / "photos",
        {
            "a.jpg": b"1",
            "a.txt": "a dog\n",
            "b.PNG": b"2",
            "b.json": json.dumps({"caption": ["x", "y"], "url": "http://e.org/b", "n": [1]}),
            "b.txt": "from txt",
            "sub.dir/c.v2.webp": b"3",
            "sub.dir/c.v2.txt": "größe",
            "d.gif": b"4",
            "d.txt": " \n",
            "notes.md": b"no row",
            ".hidden.jpg": b"no row",
        },
    )
    a, b, d, c = rows(Folder("s", root))
    assert (a.source_key, a.image, texts(a)) == ("a.jpg", b"1", [("txt", "a dog")])
    assert texts(b) == [("txt", "from txt"), ("json.caption", "x"), ("json.caption", "y")]
    assert (b.url, b.meta) == ("http://e.org/b", {"n": [1]})
    assert (c.source_key, texts(c)) == ("sub.dir/c.v2.webp", [("txt", "größe")])
    assert (d.caption, d.failed) == (None, None)


def test_a_caption_without_an_image_and_broken_json(tmp_path):
    root = fill(tmp_path, {"a.txt": "alone", "b.jpg": b"", "b.json": "{", "c.json": "[1]"})
    a, b, c = rows(Folder("s", root))
    assert (a.failed, a.retriable, texts(a)) == ("no_image", False, [("txt", "alone")])
    assert (b.failed, b.image, b.meta) == (None, b"", {"unreadable_json": True})
    assert (c.failed, c.meta) == ("no_image", {"json": [1]})


def test_two_images_of_one_name_share_their_caption(tmp_path):
    root = fill(tmp_path, {"a.jpg": b"1", "a.png": b"2", "a.txt": "t"})
    assert [(r.source_key, r.caption) for r in rows(Folder("s", root))] == [
        ("a.jpg", "t"),
        ("a.png", "t"),
    ]


def test_names_and_captions_that_are_no_utf8(tmp_path):
    root = fill(tmp_path, {b"caf\xe9.jpg": b"1", b"caf\xe9.txt": b"caf\xe9", "ß ü.jpg": b"2"})
    cafe, other = sorted(rows(Folder("s", root)), key=lambda r: r.image)
    assert (cafe.source_key, cafe.image, cafe.caption) == ("caf\ufffd.jpg", b"1", "caf\ufffd")
    assert cafe.captions[0]["flags"] == ["not_utf8"]
    assert other.source_key == "ß ü.jpg"
    assert cafe.key("s") != other.key("s")


def test_a_missing_and_an_empty_folder_are_errors(tmp_path):
    with pytest.raises(RecipeError, match=r"there is no folder .*nowhere"):
        Folder("s", str(tmp_path / "nowhere")).units()
    with pytest.raises(RecipeError, match="there are no images"):
        Folder("s", str(tmp_path)).units()


def test_a_folder_inside_without_permission_is_named(tmp_path):
    root = fill(tmp_path, {"a.jpg": b"1", "closed/b.jpg": b"2"})
    (tmp_path / "closed").chmod(0)
    message = r"closed can't be read: Permission denied"
    with permissions_hold(), pytest.raises(RecipeError, match=message):
        Folder("s", root).units()
    (tmp_path / "closed").chmod(0o700)


def test_a_file_that_can_not_be_read_costs_its_own_row(tmp_path):
    root = fill(tmp_path, {"a.jpg": b"1", "b.jpg": b"2"})
    os.symlink(tmp_path / "nowhere", tmp_path / "c.jpg")
    os.symlink(tmp_path / "d.jpg", tmp_path / "d.jpg")
    a, b, c, d = rows(Folder("s", root))
    assert [a.image, b.image] == [b"1", b"2"]
    assert (c.failed, c.detail, c.retriable) == (
        "unreadable_file",
        "No such file or directory",
        True,
    )
    assert d.failed == "unreadable_file"


@pytest.mark.slow
def test_units_hold_a_thousand_rows_and_notice_changes(tmp_path):
    root = fill(tmp_path, {f"{i:04d}.jpg": b"x" for i in range(1500)})
    units = Folder("s", root).units()
    assert [len(u.names) for u in units] == [1000, 500]
    (tmp_path / "0001.jpg").write_bytes(b"xx")
    changed = Folder("s", root).units()
    assert [a.stamp == b.stamp for a, b in zip(units, changed, strict=True)] == [False, True]


def test_a_table_of_captions(tmp_path):
    root = fill(
        tmp_path / "photos",
        {"a.jpg": b"1", "sub/b.jpg": b"2", "c.jpg": b"3", "c.txt": "not read", "d.heif": b"4"},
    )
    table = tmp_path / "photos" / "captions.csv"
    table.write_text(
        "file,caption\n./a.jpg,one\nsub/b.jpg,größe\na.jpg,two\nd.heif,named\n"
        "gone.jpg,lost\n../outside.jpg,evil\nragged\n,nameless\n"
    )
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    found = rows(Folder("s", root, str(table)))
    assert [(r.source_key, r.image, [c["text"] for c in r.captions], r.failed) for r in found] == [
        ("a.jpg", b"1", ["one", "two"], None),
        ("c.jpg", b"3", [], None),
        ("d.heif", b"4", ["named"], None),
        ("sub/b.jpg", b"2", ["größe"], None),
        ("../outside.jpg", None, ["evil"], "missing_file"),
        ("gone.jpg", None, ["lost"], "missing_file"),
        ("", None, [], "bad_row"),
        ("", None, [], "bad_row"),
    ]
    assert [r.detail for r in found[-2:]] == [
        "line 8: 1 fields, not 2",
        "a row without a file name",
    ]
    assert {c["origin"] for r in found for c in r.captions} == {"caption"}


def test_a_table_as_hugging_face_names_its_columns(tmp_path):
    root = fill(tmp_path, {"a.jpg": b"1", "metadata.jsonl": '{"file_name": "a.jpg", "text": "t"}'})
    (row,) = rows(Folder("s", root, str(tmp_path / "metadata.jsonl")))
    assert texts(row) == [("text", "t")]


def test_a_table_without_its_columns_is_an_error(tmp_path):
    root = fill(tmp_path, {"a.jpg": b"1", "t.csv": "name,words\n"})
    with pytest.raises(RecipeError, match=r"needs a column `file`.*its columns are name, words"):
        Folder("s", root, str(tmp_path / "t.csv")).units()


def test_a_changed_table_is_read_again_and_changes_the_units(tmp_path):
    root = fill(tmp_path, {"a.jpg": b"1", "t.csv": "file,caption\na.jpg,one\n"})
    source = Folder("s", root, str(tmp_path / "t.csv"))
    before = source.units()
    fill(tmp_path, {"t.csv": "file,caption\na.jpg,three\n"})
    assert source.units() != before
    assert rows(source)[0].caption == "three"


def test_a_folder_of_an_object_store():
    root = f"memory://{uuid.uuid4().hex}"
    for name, data in {
        "a/1.jpg": b"1",
        "a/1.txt": b"t",
        "t.csv": b"file,caption\na/1.jpg,x\n",
    }.items():
        with fsspec.open(f"{root}/{name}", "wb") as stream:
            stream.write(data)
    (row,) = rows(Folder("s", root))
    assert (row.source_key, row.image, row.caption) == ("a/1.jpg", b"1", "t")
    assert rows(Folder("s", root, f"{root}/t.csv"))[0].caption == "x"
