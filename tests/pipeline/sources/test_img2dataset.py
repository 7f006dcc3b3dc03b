import json
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.shards import Sample
from pipeline.sources.img2dataset import Img2datasetOutput
from tests import pictures
from tests.pipeline.sources.server import ok, serving
from tests.tars import write_shard

GONE = "HTTP Error 404: Not Found"
BUSY = "HTTP Error 503: Service Unavailable"


def row(number, status="success", error=None, caption="t", **more):
    key = f"{number:09d}"
    url = f"http://e.org/{number}"
    return {"url": url, "caption": caption, "key": key, "status": status, "error_message": error,
            "width": 9 if error is None else None, **more}  # fmt: skip


def sample(number, text="t"):
    fields = json.dumps({"url": f"http://e.org/{number}", "key": f"{number:09d}", "caption": text})
    parts = {"jpg": b"%d" % number, "txt": text.encode(), "json": fields.encode()}
    return Sample(f"{number:09d}", parts)


def write(root, rows, samples=None, shard="00000"):
    root.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / f"{shard}.parquet", row_group_size=2)
    if samples is not None:
        write_shard(str(root / f"{shard}.tar"), samples)
    (root / f"{shard}_stats.json").write_text("{}")
    return Img2datasetOutput("s", str(root))


def read(source):
    return [row for unit in source.units() for row in source.read(unit)]


def test_every_row_of_the_metadata_comes_with_its_sample_or_a_reason(tmp_path):
    rows = [
        row(2),
        row(0, "failed_to_download", GONE),
        row(1, "failed_to_download", BUSY),
        row(4),
        row(3, "failed_to_resize", "Image decoding error"),
        row(5, caption=None),
        row(6, "strange"),
    ]
    source = write(tmp_path / "out", rows, [sample(2), sample(5, "")])
    found = read(source)
    assert [(r.source_key[-1], r.failed, r.retriable) for r in found] == [
        ("2", None, None),
        ("0", "fetch_failed", False),
        ("1", "fetch_failed", True),
        ("4", "missing_sample", False),
        ("3", "failed_to_resize", False),
        ("5", None, None),
        ("6", "fetch_failed", True),
    ]
    first = found[0]
    assert (first.url, first.image, first.meta) == ("http://e.org/2", b"2", {"width": 9})
    assert sorted(first.parts) == ["json", "txt"]
    assert [(c["origin"], c["text"]) for c in first.captions] == [("caption", "t")]
    assert [found[1].detail, found[3].detail] == [GONE, "there is no such sample in the tar"]
    assert found[5].captions == []


def test_a_txt_that_says_something_else_is_a_caption_too(tmp_path):
    source = write(tmp_path / "out", [row(0)], [sample(0, "recaptioned")])
    (found,) = read(source)
    assert [(c["origin"], c["text"]) for c in found.captions] == [
        ("caption", "t"),
        ("txt", "recaptioned"),
    ]


def test_samples_in_another_order_and_beyond_the_metadata(tmp_path):
    samples = [sample(3), sample(1), sample(0), sample(9, "more")]
    source = write(tmp_path / "out", [row(0), row(1), row(2), row(3)], samples)
    found = read(source)
    assert [(r.source_key[-1], r.image) for r in found] == [
        ("0", b"0"), ("1", b"1"), ("2", None), ("3", b"3"), ("9", b"9"),
    ]  # fmt: skip
    assert (found[4].url, found[4].caption) == ("http://e.org/9", "more")


def test_a_tar_that_was_cut_costs_the_samples_behind_the_cut(tmp_path):
    source = write(tmp_path / "out", [row(i) for i in range(4)], [sample(i) for i in range(4)])
    path = tmp_path / "out" / "00000.tar"
    path.write_bytes(path.read_bytes()[: 2 * 3 * 1024 + 700])
    found = read(source)
    reasons = [None, None, "truncated_sample", "missing_sample"]
    assert [r.failed for r in found] == reasons, "the third has an image, and no more"
    assert found[2].image is None
    assert "the tar can't be read after" in found[3].detail


def test_the_layout_of_files(tmp_path):
    source = write(tmp_path / "out", [row(0), row(1), row(2, "failed_to_download", GONE)])
    folder = tmp_path / "out" / "00000"
    folder.mkdir()
    for made in (sample(0), sample(7)):
        for extension, data in made.parts.items():
            (folder / f"{made.key}.{extension}").write_bytes(data)
    found = read(source)
    assert [(r.source_key[-1], r.image, r.failed) for r in found] == [
        ("0", b"0", None),
        ("1", None, "missing_sample"),
        ("2", None, "fetch_failed"),
        ("7", b"7", None),
    ]
    (folder / f"{sample(7).key}.jpg").unlink()
    assert read(source)[-1].failed == "no_image"


def test_the_layout_of_parquet(tmp_path):
    rows = [row(0, jpg=b"0", txt="t"), row(1, "failed_to_download", GONE, jpg=None, txt=None)]
    rows.append(row(2, jpg=None, txt="t"))
    found = read(write(tmp_path / "out", rows))
    assert [(r.image, r.failed, r.caption) for r in found] == [
        (b"0", None, "t"),
        (None, "fetch_failed", "t"),
        (None, "missing_sample", "t"),
    ]
    assert found[0].parts == {"txt": b"t"}


def test_shards_are_units_and_changes_are_noticed(tmp_path):
    write(tmp_path / "out", [row(0)], [sample(0)])
    source = write(tmp_path / "out", [row(10_000)], [sample(10_000)], shard="00001")
    units = source.units()
    assert [u.path.rpartition("/")[2] for u in units] == ["00000.parquet", "00001.parquet"]
    assert [(u.start, u.stop) for u in units] == [(0, 1), (0, 1)]
    write_shard(str(tmp_path / "out" / "00001.tar"), [])
    assert [a == b for a, b in zip(units, source.units(), strict=True)] == [True, False]


def test_a_shard_without_metadata_is_an_error_that_says_what_to_do(tmp_path):
    source = write(tmp_path / "out", [row(0)], [sample(0)])
    write_shard(str(tmp_path / "out" / "00001.tar"), [])
    with pytest.raises(RecipeError, match=r"00001\.tar has no 00001\.parquet .*`webdataset:`"):
        source.units()
    (tmp_path / "out" / "00001.tar").unlink()
    (tmp_path / "out" / "00002").mkdir()
    (tmp_path / "out" / "00002" / "000020000.jpg").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"00002 has no 00002\.parquet .*`folder:`"):
        source.units()


def test_folders_without_output_and_unfinished_shards_are_errors(tmp_path):
    with pytest.raises(RecipeError, match="there is no folder"):
        Img2datasetOutput("s", str(tmp_path / "nowhere")).units()
    with pytest.raises(RecipeError, match="holds no output of img2dataset"):
        Img2datasetOutput("s", str(tmp_path)).units()
    source = write(tmp_path / "out", [row(0)], [])
    (tmp_path / "out" / "00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecipeError, match=r"can't be read as Parquet.*img2dataset was stopped"):
        source.units()
    pq.write_table(pa.table({"url": ["u"]}), tmp_path / "out" / "00000.parquet")
    with pytest.raises(RecipeError, match="no column 'key'; its columns are 'url'"):
        source.units()


def test_output_in_an_object_store(tmp_path):
    write(tmp_path / "out", [row(0)], [sample(0)])
    root = f"memory://{uuid.uuid4().hex}"
    for path in (tmp_path / "out").iterdir():
        with fsspec.open(f"{root}/{path.name}", "wb") as stream:
            stream.write(path.read_bytes())
    assert [r.image for r in read(Img2datasetOutput("s", root))] == [b"0"]


PROGRAM = """
import sys
from importlib import import_module
from pipeline.sources import fetch_img2dataset as ours
program = import_module("img2dataset.main")
program.LoggerProcess = ours._NoLogger
program.multiprocessing_distributor = ours._in_this_process
for layout in ("webdataset", "files", "parquet"):
    program.download(
        sys.argv[1], input_format="csv", caption_col="alt", save_additional_columns=["id"],
        output_folder=f"{sys.argv[2]}/{layout}", output_format=layout, resize_mode="no",
        number_sample_per_shard=3, thread_count=2, timeout=2,
    )
"""


@pytest.mark.slow
def test_what_img2dataset_itself_writes_is_read_in_every_layout(tmp_path):
    answers = {f"{i}": ok(pictures.jpeg(i)) for i in range(4)} | {"html": ok(pictures.HTML)}
    with serving(answers) as server:
        lines = [f"{server.url(path)},caption {path},{path}" for path in [*answers, "missing"]]
        (tmp_path / "in.csv").write_text("\n".join(["url,alt,id", *lines]) + "\n")
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "in.csv"), str(tmp_path)],
            cwd=Path(__file__).parents[3],
            check=True,
            capture_output=True,
        )
    for layout in ("webdataset", "files", "parquet"):
        source = Img2datasetOutput("s", str(tmp_path / layout))
        assert len(source.units()) == 2
        found = {r.url.rpartition("/")[2]: r for r in read(source)}
        assert {name: r.failed for name, r in found.items()} == {
            **dict.fromkeys("0123"),
            "html": "failed_to_resize",
            "missing": "fetch_failed",
        }
        assert all([c["text"] for c in r.captions] == [f"caption {n}"] for n, r in found.items())
        assert found["1"].image.startswith(b"\xff\xd8")
        assert found["missing"].detail == GONE
