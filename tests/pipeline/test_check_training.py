"""check-training: exports load and train as they are, and what vanishes in a loader is named."""

import importlib.util
import json
from pathlib import Path

import pytest

from pipeline import check_training
from pipeline.check_training import check
from pipeline.errors import CurationError
from pipeline.shards import END, member
from tests.conftest import RECIPE, built
from tests.pictures import jpeg

pytestmark = pytest.mark.slow

ODD = "x{0..3}::y z"  # which loaders would take for patterns


def sample(name, **members):
    """The members of one tar entry after another; `txt=None` leaves the text out."""
    fields = {"jpg": jpeg(1), "txt": b"a text", "json": b'{"key": "x"}'} | members
    return [(f"{name}.{kind}", data) for kind, data in fields.items() if data is not None]


@pytest.fixture
def write_export(tmp_path):
    """Writes an export of the given tars with a manifest that promises them whole."""

    def write(**tars):
        folder = tmp_path / "out" / "shards"
        folder.mkdir(parents=True)
        sizes = {}
        for name, samples in tars.items():
            members = [member(*m) for one in samples for m in one]
            (folder / f"{name}.tar").write_bytes(b"".join(members) + END)
            sizes[f"{name}.tar"] = len(samples)
        shards = [{"name": name, "samples": count} for name, count in sizes.items()]
        (folder / "manifest.json").write_text(json.dumps({"shards": shards}))
        (folder / "sizes.json").write_text(json.dumps(sizes))
        return str(tmp_path / "out")

    return write


@pytest.fixture
def webdataset_alone(monkeypatch):
    monkeypatch.setattr(check_training, "READERS", ("webdataset",))


@pytest.mark.slow
@pytest.mark.parametrize("image", ["original", "webp"])
def test_an_export_loads_and_trains(make_build, image):
    recipe = RECIPE.replace("seed: 0", f"seed: 0, image: {image}")
    out = built(make_build(recipe, after="select")).out
    lines = check(out).splitlines()
    assert lines[0] == f"{out}: all 13 samples in 4 shards are read"
    names = [line.split()[0] for line in lines[1:]]
    assert names == ["webdataset", "datasets", "open_clip_train"]
    assert lines[-1].endswith("13 samples, and one epoch trained")
    if importlib.util.find_spec("datasets"):
        assert lines[2].endswith(": 13 samples")
    shards = Path(out) / "shards"
    assert {p.name for p in shards.iterdir() if p.suffix != ".tar"} == {
        "README.md",
        "croissant.json",
        "manifest.json",
        "sizes.json",
    }


@pytest.mark.slow
def test_one_sample_in_one_shard_trains(write_export):
    assert "open_clip_train" in check(write_export(a=[sample("1")]))


@pytest.mark.slow
def test_what_every_loader_loses_is_named(write_export):
    pytest.importorskip("datasets")
    good = [sample(f"{i}", jpg=jpeg(i)) for i in range(6)]
    out = write_export(a=good, b=[*good[:2], sample("8", txt=None), sample("9.v1")])
    with pytest.raises(CurationError) as error:
        check(out)
    first, *lines = str(error.value).splitlines()
    assert first == f"{out}: this export does not train as it is"
    for reader in ("webdataset", "datasets", "open_clip_train"):
        found = next(line for line in lines if f"in {reader} " in line)
        assert found.strip().startswith("2 of 10 samples vanish in")
        assert found.endswith("(b.tar: 2)")


@pytest.mark.slow
def test_what_is_skipped_with_a_word_in_a_log_is_named(write_export):
    cut = jpeg(2)[:300]
    out = write_export(a=[sample("1"), sample("2", jpg=cut), sample("3", npy=b"no array")])
    with pytest.raises(
        CurationError, match=r"2 of 3 samples vanish in open_clip_train .*a\.tar: 2"
    ):
        check(out)


@pytest.mark.slow
@pytest.mark.usefixtures("webdataset_alone")
def test_an_export_is_read_in_a_folder_with_any_name(write_export, tmp_path):
    out = write_export(a=[sample("1")], b=[sample("2")])
    assert "all 2 samples in 2 shards" in check(str(Path(out).rename(tmp_path / ODD)))


@pytest.mark.slow
@pytest.mark.usefixtures("webdataset_alone")
def test_a_tar_that_holds_more_or_less_than_promised_is_named(write_export, tmp_path):
    out = write_export(a=[sample("1"), sample("2")], b=[sample("3")])
    shards = tmp_path / "out" / "shards"
    shards.joinpath("a.tar").write_bytes(shards.joinpath("b.tar").read_bytes())
    twice = [member(*m) for name in "34" for m in sample(name)]
    shards.joinpath("b.tar").write_bytes(b"".join(twice) + END)
    with pytest.raises(CurationError) as error:
        check(out)
    assert "1 of 3 samples vanish in webdataset" in str(error.value)
    assert "1 of 3 samples too many appear in webdataset" in str(error.value)


@pytest.mark.usefixtures("webdataset_alone")
def test_broken_pictures_and_cut_tars_are_named(write_export, tmp_path):
    out = write_export(a=[sample("1", jpg=b"no picture")], b=[sample(f"{i}") for i in range(9)])
    odd = Path(out).rename(tmp_path / ODD)
    tar = odd / "shards" / "b.tar"
    tar.write_bytes(tar.read_bytes()[: 4 * len(b"".join(member(*m) for m in sample("1")))])
    with pytest.raises(CurationError, match=r"6 of 10 samples vanish in .*\(a\.tar: 1, b\.tar: 5"):
        check(str(odd))


def test_a_loader_that_fails_is_named_with_its_last_words(write_export, monkeypatch):
    monkeypatch.setattr(check_training, "READERS", ("json",))  # no reader, but installed
    with pytest.raises(CurationError, match="json fails: KeyError: 'json'"):
        check(write_export(a=[sample("1")]))


def test_sizes_that_are_not_those_of_the_tars_are_named(write_export, tmp_path, monkeypatch):
    monkeypatch.setattr(check_training, "READERS", ())  # the sizes are looked at without them
    out = write_export(a=[sample("1")])
    (tmp_path / "out" / "shards" / "sizes.json").write_text('{"a.tar": 2}')
    with pytest.raises(CurationError, match=r"sizes\.json: does not say"):
        check(out)


def test_a_loader_that_is_not_there_is_passed_over_and_that_is_said(write_export, monkeypatch):
    monkeypatch.setattr(check_training, "READERS", ("nothing_of_this_name",))
    assert "nothing_of_this_name: not checked, it is not installed" in check(
        write_export(a=[sample("1")])
    )


def test_a_loader_that_hangs_is_ended(write_export, monkeypatch, webdataset_alone):
    monkeypatch.setattr(check_training, "START_S", 0.01)
    monkeypatch.setattr(check_training, "SAMPLE_S", 0.0)
    with pytest.raises(CurationError, match="webdataset is not done after 0 s"):
        check(write_export(a=[sample("1")]))


def test_an_export_without_shards_is_refused(write_export, tmp_path):
    with pytest.raises(CurationError, match="there is no finished export; run `pairmill export`"):
        check(str(tmp_path / "nowhere"))
    with pytest.raises(CurationError, match="no shards, so there is nothing to train on"):
        check(write_export())
    with pytest.raises(CurationError, match="copy it there"):
        check("s3://bucket/out")


def test_a_missing_tar_is_named(write_export, tmp_path):
    out = write_export(a=[sample("1")], b=[sample("2")])
    (tmp_path / "out" / "shards" / "b.tar").unlink()
    with pytest.raises(CurationError, match=r"b\.tar of the manifest are missing"):
        check(out)
