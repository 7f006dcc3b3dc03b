"""Packs of large pools: the same values and verdicts as from single files."""

import pytest

from pipeline import packs
from pipeline.errors import CurationError
from pipeline.verify import check
from tests.conftest import built, tree

pytestmark = pytest.mark.slow


def test_a_packed_pool_gives_the_same_verdicts_and_shards(make_build, monkeypatch):
    plain = built(make_build(out="plain"))
    monkeypatch.setattr(packs, "PACK_FROM", 3)
    packed = built(make_build(out="packed"))
    assert tree(packed.out, "shards/*") == tree(plain.out, "shards/*")
    assert tree(packed.out, "verdicts/*") == tree(plain.out, "verdicts/*")
    names = {name.rpartition("/")[2] for name in tree(packed.out, "columns/**/*")}
    assert names == {packs.NAME}
    check(packed.out)


def test_a_packed_pool_is_done_when_it_is_run_again(make_build, monkeypatch):
    monkeypatch.setattr(packs, "PACK_FROM", 3)
    build = built(make_build())
    before = tree(build.out, "columns/**/*", "pool/*")
    built(make_build())
    assert tree(build.out, "columns/**/*", "pool/*") == before


def test_a_damaged_pack_is_noticed(make_build, monkeypatch, tmp_path):
    monkeypatch.setattr(packs, "PACK_FROM", 3)
    build = built(make_build())
    path = next((tmp_path / "out" / "columns").rglob(packs.NAME))
    data = bytearray(path.read_bytes())
    data[100:600] = bytes(byte ^ 0xFF for byte in data[100:600])
    path.write_bytes(bytes(data))
    with pytest.raises(CurationError, match=r"packed\.parquet: can't be read"):
        check(build.out)
