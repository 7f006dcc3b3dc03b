"""Embeddings beside the shards: in the order of the samples, and back in again unchanged."""

import hashlib
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import cuts, export, pool, runs
from pipeline.build import Build
from pipeline.errors import CurationError, RecipeError
from pipeline.recipe import parse_recipe
from pipeline.subsets import read_subset, uids_of
from pipeline.verify import check
from tests.conftest import RECIPE, tree
from tests.pipeline.test_export import chosen, copy_scored, exported, manifest_of

pytestmark = pytest.mark.slow


def vector(text: str, dims: int = 3) -> list[float]:
    return [byte / 8 for byte in hashlib.md5(text.encode()).digest()[:dims]]


@dataclass(frozen=True)
class Vectors:
    """Numbers that depend on the caption; no vector for that of number 3."""

    ragged: bool = False
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema(
        [("half", pa.list_(pa.float16())), ("single", pa.list_(pa.float32()))]
    )

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch["caption"]
        halves = [np.array(vector(t, 2 + self.ragged * (len(t) % 2)), np.float16) for t in texts]
        return {
            "half": [None if "number 3" in t else h for t, h in zip(texts, halves, strict=True)],
            "single": [vector(text, 2) for text in texts],
        }


WITH = RECIPE.replace(
    "  caption: {}\n",
    "  caption: {}\n  vectors: {scorer: 'tests.pipeline.test_embeddings:Vectors'}\n",
)
BESIDE = WITH.replace("seed: 0", "seed: 0, embeddings: {b32_img: half, single: single}")


@pytest.fixture(scope="module")
def scored(built_once, tmp_path_factory):
    """The photos with their vectors: to be copied."""
    folder = tmp_path_factory.mktemp("scored")
    copy_scored(built_once(RECIPE, "export"), folder / "out")
    build = Build(parse_recipe(WITH, str(folder / "recipe.yaml")), str(folder / "out"))
    build.score()
    return build.out


@pytest.fixture(scope="module")
def finished(scored, tmp_path_factory):
    """The build of BESIDE over the photos: to be read, and copied."""
    folder = tmp_path_factory.mktemp("beside")
    shutil.copytree(scored, folder / "out")
    build = Build(parse_recipe(BESIDE, str(folder / "recipe.yaml")), str(folder / "out"))
    chosen(build)
    return build.out


@pytest.fixture
def beside(make_build, finished, tmp_path):
    """A copy of the finished build, which may be damaged."""
    shutil.copytree(finished, tmp_path / "out")
    return make_build(BESIDE)


def rows_of(out: str) -> list[tuple[str, str, Any, Any]]:
    """Key, caption, and both vectors of every sample, by its tar and the npz beside it."""
    rows = []
    for path in sorted(Path(out, "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            jsons = [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            assert [f["key"].encode() for f in jsons] == arrays["key"].tolist()
            half, single = (
                [None if m else v for m, v in zip(mask.tolist(), values.tolist(), strict=True)]
                for mask, values in (
                    (arrays[f"{name}_missing"], arrays[name]) for name in ("b32_img", "single")
                )
            )
            assert arrays["b32_img"].dtype == np.float16
            assert arrays["single"].dtype == np.float32
            assert not arrays["b32_img"][arrays["b32_img_missing"]].any()
        names = [(fields["key"], fields["caption"]) for fields in jsons]
        rows += [(*name, h, s) for name, h, s in zip(names, half, single, strict=True)]
    return rows


def test_every_sample_has_its_vectors_in_the_order_of_its_tar(finished):
    manifest = manifest_of(finished)
    rows = rows_of(finished)
    assert len(rows) == 13
    for _, caption, half, single in rows:
        assert half == (None if "number 3" in caption else vector(caption, 2))
        assert single == vector(caption, 2)
    assert [row[1] for row in rows if row[2] is None] == ["picture number 3 größe"]
    arrays = manifest["embeddings"]["arrays"]
    assert arrays["b32_img"] == {"column": "half", "dims": 2, "type": "float16"}
    assert arrays["single"]["type"] == "float32"
    files = {file["name"]: file["sha256"] for file in manifest["embeddings"]["files"]}
    assert sorted(files) == ["00000.npz", "00001.npz", "00002.npz", "00003.npz"]
    for name, digest in files.items():
        data = Path(finished, "shards", name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
    assert "| `b32_img` | `half` | 2 | float16 |" in Path(finished, "shards/README.md").read_text()
    check(finished)


def test_the_same_bytes_again_and_the_same_tars_as_without(beside, built_once):
    first = tree(beside.out, "shards/*")
    assert beside.export() == json.loads(first["shards/manifest.json"])
    assert tree(beside.out, "shards/*") == first
    shutil.rmtree(Path(beside.out, "shards"))
    beside.export()
    assert tree(beside.out, "shards/*") == first
    without = built_once(RECIPE, "export")
    assert tree(without, "shards/*.tar") == tree(beside.out, "shards/*.tar")
    assert not tree(without, "shards/*.npz")


def test_copies_have_their_own_keys_and_the_vectors_of_their_row_however_the_work_is_cut(
    make_build, scored, tmp_path, monkeypatch
):
    shutil.copytree(scored, tmp_path / "out")
    recipe = BESIDE.replace("export:", "  - more: {draw: 2.5, repeat: true}\nexport:")
    build = make_build(recipe)
    manifest = chosen(build)
    assert manifest["ledger"]["copies"] == manifest["ledger"]["written"] == 32
    rows = rows_of(build.out)
    assert len({key for key, *_ in rows}) == len(rows) == 32
    assert all(single == vector(caption, 2) for _, caption, _, single in rows)
    check(build.out)
    shutil.copytree(build.out, tmp_path / "cut", ignore=shutil.ignore_patterns("shards", "ledger"))
    cut = make_build(recipe, "cut")
    monkeypatch.setattr(export, "RUN_BYTES", 1)
    monkeypatch.setattr(runs, "PIECE_BYTES", 1)
    monkeypatch.setattr(runs, "MERGE_BYTES", 1)
    monkeypatch.setattr(runs, "_LEAST_READ", 1)
    monkeypatch.setattr(cuts, "RANGE_SAMPLES", 3)
    monkeypatch.setattr(cuts, "READS", 14)
    cut.export()
    assert tree(cut.out, "shards/*") == tree(build.out, "shards/*")
    tasks = len(tree(cut.out, "ledger/export-*/*"))
    assert len(tree(cut.out, "ledger/render-*/*")) == 4
    assert 1 < tasks < len(tree(cut.out, "shards/*.tar"))


def test_verify_names_what_was_changed_and_export_writes_what_was_cut(beside):
    expected = tree(beside.out, "shards/*")
    shards = Path(beside.out, "shards")
    good = (shards / "00001.npz").read_bytes()
    (shards / "00001.npz").write_bytes((shards / "00002.npz").read_bytes())
    (shards / "00002.npz").write_bytes(b"no npz")
    (shards / "00009.npz").write_bytes(good)
    with pytest.raises(CurationError) as error:
        check(beside.out)
    for message in (
        "00001.npz: has another sha256",
        "00001.npz: its rows are not in the order of the samples of its tar",
        "00002.npz: can't be read as npz",
        "00009.npz: is not in the manifest",
    ):
        assert message in str(error.value)
    (shards / "00001.npz").unlink()
    (shards / "00009.npz").unlink()
    beside.export()
    assert tree(beside.out, "shards/*") == expected


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ("[nope]", "no column of vectors 'nope'; known are half, single"),
        ("[width]", "no column of vectors 'width'"),
        ("{key: half}", "an array can't be called 'key'"),
        ("{a: half, a_missing: single}", "'a_missing': that is the mask of another one"),
        ("{a/b: half}", "an array can't be called 'a/b'"),
    ],
)
def test_what_is_no_vector_is_refused_before_anything_runs(make_build, embeddings, message):
    build = make_build(WITH.replace("seed: 0", f"seed: 0, embeddings: {embeddings}"))
    with pytest.raises(RecipeError, match=message) as error:
        build.check()
    assert "recipe.yaml:10:" in str(error.value)


def test_vectors_of_two_lengths_are_an_error_that_names_them(make_build, scored, tmp_path):
    shutil.copytree(scored, tmp_path / "out")
    recipe = BESIDE.replace("embeddings:Vectors'", "embeddings:Vectors', ragged: true")
    build = make_build(recipe)
    build.score()
    with pytest.raises(CurationError, match="'half' holds vectors of 2 and 3 numbers"):
        chosen(build)


def test_nothing_kept_is_no_file(make_build, scored, tmp_path):
    shutil.copytree(scored, tmp_path / "out")
    recipe = BESIDE.replace("caption_words between 2 and 64", "caption_words > 1000")
    build = make_build(recipe)
    manifest = chosen(build)
    assert manifest["embeddings"]["files"] == manifest["shards"] == []
    assert manifest["ledger"]["written"] == 0
    check(build.out)


def columns_by_key(build, *names):
    """Columns of the pool by key, of the rows that have an image."""
    made = build.open_pool()
    resolved, _ = build.resolve(made)
    found = {}
    for shard in made.shards:
        base = pool.read_base(build.root, shard).to_pylist()
        table = {n: resolved.writers[n].read(shard, [n])[n].to_pylist() for n in names}
        for row, fields in enumerate(base):
            if fields["failed"] is not None:
                continue
            found[fields["key"].hex()] = tuple(table[name][row] for name in names)
    return found


def test_what_lies_beside_tars_comes_in_again_by_key(make_build, beside, tmp_path):
    back = RECIPE.replace(
        "score:",
        "columns:\n"
        "  back: {import: out/shards/*.npz, on: key, take: {h: b32_img, s: single}}\n"
        "  every: {import: out/shards/*.npz, on: key}\n"
        "score:",
    ).replace("seed: 0", "seed: 0, embeddings: {b32_img: h, single: s}")
    copy_scored(beside.out, tmp_path / "again")
    again = make_build(back, "again")
    again.score()
    chosen(again)
    assert tree(again.out, "shards/*.npz") == tree(beside.out, "shards/*.npz")
    found = columns_by_key(again, "b32_img", "single")
    wanted = {key: (half, single) for key, _, half, single in rows_of(beside.out)}
    assert {key: found[key] for key in wanted} == wanted


UIDS = [hashlib.md5(str(i).encode()).hexdigest() for i in range(30)]
METADATA = """\
sources:
  meta: {{datacomp: {folder}}}
columns:
  published: {{import: {folder}, on: source_key, take: [b32_img, l14_txt]}}
select:
  - some: {{where: "source_key < 'c'"}}
  - again: {{draw: 2, repeat: true}}
export: {{format: uids, samples_per_shard: 8, embeddings: [b32_img, l14_txt]}}
ingest: {{rows_per_shard: 7}}
"""


def metadata(folder: Path) -> None:
    """DataComp's metadata: two tables with their npz; one vector is not a number."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for shard in range(2):
        uids = UIDS[15 * shard : 15 * shard + 15]
        urls = [f"http://a.example/{uid}.jpg" for uid in uids]
        table = {"uid": uids, "url": urls, "text": [f"größe {uid}" for uid in uids]}
        pq.write_table(pa.table(table), folder / f"{shard:08d}.parquet")
        b32, l14 = rng.normal(size=(15, 4)), rng.normal(size=(15, 6))
        b32[3, 1] = np.nan
        np.savez(folder / f"{shard:08d}.npz", b32_img=b32.astype("f2"), l14_txt=l14.astype("f4"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with metadata, and the build of it in `out`: to be copied."""
    folder = tmp_path_factory.mktemp("metadata")
    metadata(folder / "dc")
    recipe = parse_recipe(METADATA.format(folder="dc"), str(folder / "recipe.yaml"))
    exported(Build(recipe, str(folder / "out")))
    return folder


def by_uid(folder: Path) -> dict[str, tuple[Any, ...]]:
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        rows = pq.read_table(path).to_pylist()
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            b32, l14 = arrays["b32_img"].tolist(), arrays["l14_txt"].tolist()
            masks = arrays.get("b32_img_missing", [False] * 15)
        for row, x, y, is_missing in zip(rows, b32, l14, masks, strict=True):
            x = None if is_missing or any(v != v for v in x) else x
            found[row["uid"]] = (row["url"], row["text"], x, y)
    return found


def test_datacomps_layout_goes_out_as_it_came_in(tables):
    manifest = manifest_of(tables / "out")
    given = by_uid(tables / "dc")
    wanted = {uid: row for uid, row in given.items() if uid < "c"}
    assert by_uid(tables / "out" / "shards") == wanted
    assert any(row[2] is None for row in wanted.values())
    listed = uids_of(read_subset(str(tables / "out" / "shards" / "subset.npy")))
    assert listed == sorted([*wanted, *wanted])
    assert manifest["ledger"]["written"] == 2 * len(wanted)
    assert manifest["shards"] == []
    names = [file["name"] for file in manifest["embeddings"]["files"]]
    assert names[:2] == ["00000.npz", "00000.parquet"]
    check(str(tables / "out"))


@pytest.mark.slow  # what goes out is laid out as what came in
def test_what_went_out_in_datacomps_layout_comes_in_again(make_build, tables, tmp_path):
    shutil.copytree(tables, tmp_path, dirs_exist_ok=True)
    again = make_build(METADATA.format(folder="out/shards"), "again")
    exported(again)
    assert tree(again.out, "shards/*.npz", "shards/*.parquet") == tree(
        tables / "out", "shards/*.npz", "shards/*.parquet"
    )


def test_a_table_that_was_changed_is_named(tables, tmp_path):
    out = shutil.copytree(tables / "out", tmp_path / "out")
    path = out / "shards" / "00000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(CurationError, match=r"00000\.parquet: has not the \d rows"):
        check(str(out))
