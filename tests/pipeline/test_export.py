"""Export: the same bytes for the same recipe, even shards, a shuffle of keys and seed alone."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from pipeline import exporting
from pipeline.build import Build, Part
from pipeline.errors import CurationError, RecipeError
from pipeline.manifest import check_ledger
from pipeline.recipe import parse_recipe
from pipeline.verify import check
from tests.conftest import PROMISED, RECIPE, tree, write_pair
from tests.pictures import jpeg, png, turned_jpeg
from tests.test_promises import start


def exported(build):
    build.ingest()
    build.score()
    build.select()
    return build.export()


def chosen(build):
    """The manifest of a build that is scored."""
    build.select()
    return build.export()


def copy_scored(out, to):
    """Copy what the verbs up to score have left of a build."""
    shutil.copytree(out, to, ignore=shutil.ignore_patterns("verdicts", "shards", "ledger"))


def manifest_of(out):
    return json.loads(Path(out, "shards/manifest.json").read_bytes())


def samples(out):
    found = []
    for shard in manifest_of(out)["shards"]:
        with tarfile.open(f"{out}/shards/{shard['name']}") as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}
        found.append(members)
    return found


@pytest.fixture(scope="module")
def finished(built_once):
    """The build of RECIPE over the photos: to be read."""
    return built_once(RECIPE, "export")


@pytest.fixture(scope="module")
def changed(finished, tmp_path_factory):
    """The same, exported once more in another order, and in one shard: to be read."""
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(finished, folder / "out")
    recipe = RECIPE.replace("samples_per_shard: 4, seed: 0", "samples_per_shard: 100, seed: 1")
    build = Build(parse_recipe(recipe, str(folder / "recipe.yaml")), str(folder / "out"))
    chosen(build)
    return build.out


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A scored pool: a picture turned by EXIF, one that is no JPEG, a common one, a mute one."""
    folder = tmp_path_factory.mktemp("odd")
    write_pair(folder / "photos", "30", turned_jpeg(6, seed=30), "turned by exif")
    write_pair(folder / "photos", "31", png(31, (300, 200)), "a drawing named jpg")
    write_pair(folder / "photos", "32", jpeg(32), "a picture like others")
    write_pair(folder / "photos", "33", jpeg(33), None)
    build = Build(parse_recipe(RECIPE, str(folder / "recipe.yaml")), str(folder / "out"))
    build.ingest()
    build.score()
    return build.out


def test_every_kept_row_is_written_once_with_its_own_text_and_image(finished):
    manifest = manifest_of(finished)
    assert manifest["ledger"] == {
        "rows_in": 17,
        "failed": {"duplicate_key": 1, "not_an_image": 1},
        "dropped": {"readable": 1, "described": 1},
        "kept": 13,
        "copies": 13,
        "not_exported": {},
        "written": 13,
    }
    assert [shard["samples"] for shard in manifest["shards"]] == [3, 3, 3, 4]
    texts = set()
    for members in samples(finished):
        for name in [n for n in members if n.endswith(".json")]:
            fields = json.loads(members[name])
            stem = name.removesuffix(".json")
            assert fields["key"] == stem
            assert members[f"{stem}.txt"].decode() == fields["caption"]
            assert hashlib.sha256(members[f"{stem}.jpg"]).hexdigest() == fields["sha256"]
            assert None not in fields.values()
            texts.add(fields["caption"])
    assert len(texts) == 13
    check(str(finished))


def test_members_are_in_the_order_that_training_code_needs(finished):
    for members in samples(finished):
        endings = [name.partition(".")[2] for name in members]
        assert endings == ["jpg", "txt", "json"] * (len(endings) // 3)


@pytest.mark.slow
def test_two_builds_and_a_second_run_are_the_same_bytes(make_build, finished):
    build = make_build()
    exported(build)
    once = tree(build.out, *PROMISED)
    assert once == tree(finished, *PROMISED)
    exported(make_build())
    assert tree(build.out, *PROMISED) == once


@pytest.mark.slow
def test_shards_do_not_depend_on_how_the_pool_is_cut(make_build, finished):
    coarse = make_build(RECIPE.replace("rows_per_shard: 5", "rows_per_shard: 500"))
    exported(coarse)
    assert len(tree(coarse.out, "pool/*.tar")) == 1 < len(tree(finished, "pool/*.tar"))
    assert tree(coarse.out, "shards/*.tar") == tree(finished, "shards/*.tar")


def test_another_seed_is_another_order_of_the_same_samples(finished, changed):
    orders = [[n for members in samples(out) for n in members] for out in (finished, changed)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_a_changed_export_leaves_nothing_of_the_one_before(changed):
    assert sorted(tree(changed, "shards/*")) == [
        "shards/00000.tar",
        "shards/README.md",
        "shards/croissant.json",
        "shards/manifest.json",
        "shards/sizes.json",
    ]
    assert manifest_of(changed)["shards"][0]["samples"] == 13
    check(changed)


def test_an_original_jpeg_keeps_its_pixels_data_and_loses_its_metadata(make_build, tmp_path, odd):
    shutil.copytree(odd, tmp_path / "out")
    build = make_build()
    assert chosen(build)["ledger"]["written"] == 3
    members = {n: d for m in samples(build.out) for n, d in m.items()}
    turned = next(n for n, d in members.items() if n.endswith(".txt") and d == b"turned by exif")
    fields = json.loads(members[turned.replace(".txt", ".json")])
    assert (fields["width"], fields["height"]) == (64, 96)
    assert b"Exif" not in members[turned.replace(".txt", ".jpg")]


@pytest.fixture(scope="module")
def anew(odd, tmp_path_factory):
    """The odd pictures as an export may ask for them: to be read."""
    folder = tmp_path_factory.mktemp("anew")
    shutil.copytree(odd, folder / "out")
    options = "image: webp, max_side: 48, quality: 70, json: [caption_words, width]"
    recipe = RECIPE.replace("seed: 0", f"seed: 0, {options}")
    recipe = recipe.replace("  - described: {where: caption_words between 2 and 64}\n", "")
    build = Build(parse_recipe(recipe, str(folder / "recipe.yaml")), str(folder / "out"))
    chosen(build)
    return build.out


def test_images_can_be_made_smaller_and_encoded_anew(anew):
    assert manifest_of(anew)["ledger"]["written"] == 3
    for members in samples(anew):
        for name, data in members.items():
            if name.endswith(".json"):
                assert max(json.loads(data)["width"], json.loads(data)["height"]) == 48
            assert name.partition(".")[2] in ("webp", "txt", "json")


@pytest.mark.slow  # with embeddings, too, nothing kept is nothing written
def test_zero_kept_samples_make_an_export_without_shards(make_build):
    recipe = RECIPE.replace("caption_words between 2 and 64", "caption_words > 1000")
    build = make_build(recipe, after="score")
    manifest = chosen(build)
    assert manifest["shards"] == []
    assert manifest["ledger"]["written"] == 0
    check(build.out)


def test_an_export_begun_is_gone_on_with(make_build, tmp_path):
    build = make_build(after="export")
    expected = tree(build.out, "shards/*")
    (tmp_path / "out" / "shards" / "manifest.json").unlink()
    (tmp_path / "out" / "shards" / "00001.tar").unlink()
    before = (tmp_path / "out" / "shards" / "00002.tar").stat().st_mtime_ns
    build.export()
    assert tree(build.out, "shards/*") == expected
    assert (tmp_path / "out" / "shards" / "00002.tar").stat().st_mtime_ns == before


def test_what_parts_left_in_the_working_folder_is_removed(make_build, tmp_path):
    build = make_build(after="export")
    manifest = manifest_of(build.out)
    work = tmp_path / "out" / "work" / f"export-{manifest['export']}"
    for options in ({}, {"part": Part(1, 2, poll_s=0.01)}):
        work.mkdir()
        (work / "000000.members").write_bytes(b"left")
        assert make_build(**options).export() == manifest
        assert not work.exists()


def test_a_part_that_comes_last_and_finds_the_runs_gone_takes_what_is_finished(make_build):
    manifest = manifest_of(make_build(after="export").out)
    part = make_build(part=Part(1, 2, wait_s=1, poll_s=0.01))
    made = part.open_pool()
    resolved, plan = part.resolve(made)
    verdicts = plan.open()
    job = exporting._job(part, made, exporting.render_options(part, resolved), verdicts)
    written = exporting._shared(part, made, verdicts, job)
    assert [name for name, _ in written.shards] == ["00000", "00001", "00002", "00003"]
    assert part.export() == manifest


def test_a_kept_row_without_a_text_is_counted_not_written_empty(anew):
    ledger = manifest_of(anew)["ledger"]
    assert ledger["kept"] == 4
    assert ledger["not_exported"] == {"no_caption": 1}
    assert ledger["written"] == 3


def test_columns_asked_for_are_in_the_json(anew):
    fields = [json.loads(d) for m in samples(anew) for n, d in m.items() if n.endswith("json")]
    assert len(fields) == 3
    assert all(set(json.loads(f["columns"])) == {"caption_words", "width"} for f in fields)


def test_an_unknown_column_for_the_json_is_refused_with_its_place(make_build):
    make_build(after="export")
    build = make_build(RECIPE.replace("seed: 0", "seed: 0, json: [nope]"))
    with pytest.raises(RecipeError, match="no column 'nope'; known are"):
        build.export()


def test_exporting_before_selecting_says_what_to_do(make_build, finished, tmp_path):
    copy_scored(finished, tmp_path / "out")
    build = make_build()
    with pytest.raises(CurationError, match="run `pairmill select`"):
        build.export()


def test_verify_names_what_was_changed(make_build, tmp_path):
    build = make_build(after="export")
    tar = tmp_path / "out" / "shards" / "00001.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(bytes(data))
    (tmp_path / "out" / "shards" / "sizes.json").write_text("{}")
    (tmp_path / "out" / "pool" / "00002.tar").unlink()
    with pytest.raises(CurationError) as error:
        check(build.out)
    said = str(error.value)
    assert "00001.tar: has another sha256" in said
    assert "sizes.json: has another" in said
    assert "00002.tar: is missing" in said


def test_a_ledger_that_does_not_add_up_is_refused():
    good = {"rows_in": 3, "kept": 1, "dropped": {"a": 1}, "failed": {"b": 1}, "copies": 2}
    check_ledger(good | {"written": 1, "not_exported": {"x": 1}})
    with pytest.raises(CurationError, match="3 rows in, 0 kept"):
        check_ledger(good | {"kept": 0, "written": 2, "not_exported": {}})
    with pytest.raises(CurationError, match="2 copies chosen, 1 written"):
        check_ledger(good | {"written": 1, "not_exported": {}})


@pytest.mark.slow
def test_parts_leave_nothing_in_the_working_folder(make_build, tmp_path):
    recipe = RECIPE.replace("seed: 0", "seed: 5")
    (tmp_path / "recipe.yaml").write_text(recipe)
    arguments = ("build", "recipe.yaml", "--out", "shared", "--engine", "local", "--part")
    parts = [start(tmp_path, *arguments, f"{part}/5") for part in range(5)]
    for part in parts:
        output, _ = part.communicate(timeout=280)
        assert part.returncode == 0, output
    alone = make_build(recipe, "alone")
    exported(alone)
    assert tree(tmp_path / "shared", "shards/*") == tree(alone.out, "shards/*")
    assert not list((tmp_path / "shared" / "work").glob("export-*"))
