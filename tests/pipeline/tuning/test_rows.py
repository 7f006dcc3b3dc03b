"""Which pairs are chosen: by a condition, by files of keys, or what the build kept."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import CurationError, DamagedFile
from pipeline.subsets import write_subset
from pipeline.tuning.config import PairOptions
from pipeline.tuning.rows import choose_pairs, read_keys
from tests.conftest import RECIPE, built


@pytest.fixture
def root(make_build):
    return built(make_build()).out


def chosen(root, keys=None, **options):
    pairs = choose_pairs(root, PairOptions(pool=root, **options), keys)
    return sorted(row.text for row in pairs.rows)


@pytest.mark.slow
def test_by_a_condition_over_the_builds_columns(root):
    assert chosen(root, where="caption = 'picture number 3 größe'") == ["picture number 3 größe"]
    assert len(chosen(root, where="caption_words = 4 and caption like 'pic%'")) == 12
    with pytest.raises(CurationError, match="none of 17 rows"):
        chosen(root, where="caption_words = 99")


@pytest.mark.slow
def test_without_both_what_the_build_kept(root, make_build):
    recipe = RECIPE.replace("between 2 and 64", "= 4")
    some = chosen(built(make_build(recipe, out="some"), "select").out)
    assert set(some) < set(chosen(root))
    assert "the picture of two, again" not in some
    bare = built(make_build(out="bare"), "ingest").out
    assert set(chosen(root)) <= set(chosen(bare))


@pytest.mark.slow
def test_by_keys_of_every_kind(root, tmp_path):
    rows = choose_pairs(root, PairOptions(pool=root), None).rows[:3]
    keys = [row.key for row in rows]
    (tmp_path / "k.txt").write_text("\n".join(keys) + "\n")
    write_subset(str(tmp_path / "k.npy"), keys)
    pq.write_table(pa.table({"uid": keys}), tmp_path / "k.parquet")
    column = pa.array([bytes.fromhex(key) for key in keys], pa.binary(16))
    pq.write_table(pa.table({"key": column}), tmp_path / "b.parquet")
    for name in ("k.txt", "k.npy", "k.parquet", "b.parquet"):
        found = read_keys(str(tmp_path / name))
        assert chosen(root, found) == sorted(row.text for row in rows)


def test_what_is_no_list_of_keys_is_refused(tmp_path):
    (tmp_path / "k.txt").write_text("0123\n")
    with pytest.raises(CurationError, match=r"k\.txt: '0123' is no key of 32 hexadecimal digits"):
        read_keys(str(tmp_path / "k.txt"))
    (tmp_path / "k.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedFile, match="can't be read"):
        read_keys(str(tmp_path / "k.parquet"))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "o.parquet")
    with pytest.raises(CurationError, match="no column 'key' or 'uid'"):
        read_keys(str(tmp_path / "o.parquet"))
    np.save(tmp_path / "k.npy", np.zeros(3))
    with pytest.raises(DamagedFile, match="expected a list of"):
        read_keys(str(tmp_path / "k.npy"))
