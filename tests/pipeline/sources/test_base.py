import hashlib

import pytest

from pipeline.sources import base
from pipeline.sources.base import Incoming, caption, captions_of, json_fields, readable


def text_and_flags(text):
    found = caption(text, "alt")
    assert found["origin"] == "alt"
    assert found["kind"] == "raw"
    return found["text"], found["flags"]


def test_captions_are_kept_as_they_came():
    assert text_and_flags("  größe \n") == ("  größe \n", None)
    assert text_and_flags("\ufeffgröße".encode()) == ("größe", None)


def test_what_is_no_unicode_is_replaced_and_flagged():
    assert text_and_flags(b"caf\xe9") == ("caf\ufffd", ["not_utf8"])
    assert text_and_flags("caf\udce9") == ("caf\ufffd", ["not_utf8"])
    assert text_and_flags("x\ud800") == ("x?", ["not_unicode"])
    assert readable("caf\udce9") == "caf\ufffd"


def test_a_cell_may_hold_one_text_or_many():
    texts = [c["text"] for c in captions_of(["a", None, "", b"b", 7, float("nan"), True], "alt")]
    assert texts == ["a", "", "b", "7"]
    assert captions_of(None, "alt") == []
    assert captions_of({"a": 1}, "alt") == []


def test_json_that_is_no_object_says_so():
    assert json_fields(None) == {}
    assert json_fields(b"[1]") == {"json": [1]}
    for data in (b"{", b"\xff", b"[" * 100_000):
        assert json_fields(data) == {"unreadable_json": True}


def test_the_key_is_that_of_the_pair_and_not_of_the_place():
    here = Incoming(source_key="a", image=b"x", captions=captions_of("t", "txt"))
    there = Incoming(source_key="b", image=b"x", captions=captions_of("t", "alt"))
    assert here.key("one") == there.key("two")
    assert here.rank("one") != there.rank("one")
    assert here.key("one") != Incoming(image=b"x").key("one")
    by_url = [Incoming(url="u", image=image).key("s") for image in (b"x", b"y", None)]
    assert len(set(by_url)) == 1


def test_a_row_without_url_and_image_is_named_by_what_it_says():
    keys = {Incoming(source_key=k).key(s) for k in ("a", "b", None) for s in ("one", "two")}
    assert len(keys) == 6
    assert Incoming(uid="1").key("one") == Incoming(uid="1", url="u").key("two")


def test_the_rank_tells_images_of_one_url_apart():
    ranks = {Incoming(url="u", image=image).rank("s") for image in (b"x", b"y", None)}
    ranks.add(Incoming(url="u", image=b"x", parts={"cls": b"1"}).rank("s"))
    assert len(ranks) == 4


def test_the_hash_of_an_image_is_computed_once(monkeypatch):
    hashed = []

    def sha256(data):
        hashed.append(data)
        return hashlib.new("sha256", data)

    monkeypatch.setattr(base.hashlib, "sha256", sha256)
    row = Incoming(image=b"x")
    assert row.key("s") == row.key("s")
    assert row.image_sha256 == hashlib.new("sha256", b"x").digest()
    row.image = b"y"
    assert row.image_sha256 == hashlib.new("sha256", b"y").digest()
    assert hashed == [b"x", b"y"]


@pytest.mark.parametrize("name", ["jpg", "JPEG", "png", "webp", "gif", "tiff", "avif"])
def test_image_extensions(name):
    assert base.image_extension(name)
    assert not base.image_extension("txt")
