"""Export: the same bytes for the same recipe, even shards, a shuffle of keys and seed alone."""

import hashlib
import json
import tarfile

import pytest

from pipeline import cuts, export, exporting, runs
from pipeline.build import Part
from pipeline.errors import CurationError, RecipeError
from pipeline.manifest import check_ledger
from pipeline.verify import check
from tests.conftest import PROMISED, RECIPE, tree, write_pair
from tests.pictures import png, turned_jpeg
from tests.test_promises import start


def exported(build):
    build.ingest()
    build.score()
    build.select()
    return build.export()


def samples(build):
    found = []
    manifest = tree(build.out, "shards/manifest.json")["shards/manifest.json"]
    for shard in json.loads(manifest)["shards"]:
        with tarfile.open(f"{build.out}/shards/{shard['name']}") as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}
        found.append(members)
    return found


def test_every_kept_row_is_written_once_with_its_own_text_and_image(make_build):
    build = make_build()
    manifest = exported(build)
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
    for members in samples(build):
        for name in [n for n in members if n.endswith(".json")]:
            fields = json.loads(members[name])
            stem = name.removesuffix(".json")
            assert fields["key"] == stem
            assert members[f"{stem}.txt"].decode() == fields["caption"]
            assert hashlib.sha256(members[f"{stem}.jpg"]).hexdigest() == fields["sha256"]
            assert None not in fields.values()
            texts.add(fields["caption"])
    assert len(texts) == 13
    check(build.out)


def test_members_are_in_the_order_that_training_code_needs(make_build):
    build = make_build()
    exported(build)
    for members in samples(build):
        endings = [name.partition(".")[2] for name in members]
        assert endings == ["jpg", "txt", "json"] * (len(endings) // 3)


def test_two_builds_and_a_second_run_are_the_same_bytes(make_build):
    first, second = make_build(out="first"), make_build(out="second")
    exported(first)
    exported(second)
    once = tree(first.out, *PROMISED)
    assert once == tree(second.out, *PROMISED)
    exported(make_build(out="first"))
    assert tree(first.out, *PROMISED) == once


def test_shards_do_not_depend_on_how_the_pool_is_cut(make_build):
    coarse = make_build(RECIPE.replace("rows_per_shard: 5", "rows_per_shard: 500"), "coarse")
    fine = make_build(out="fine")
    exported(coarse)
    exported(fine)
    assert tree(coarse.out, "shards/*.tar") == tree(fine.out, "shards/*.tar")


def test_another_seed_is_another_order_of_the_same_samples(make_build):
    one, two = make_build(out="one"), make_build(RECIPE.replace("seed: 0", "seed: 1"), "two")
    exported(one)
    exported(two)
    orders = [[n for members in samples(b) for n in members] for b in (one, two)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_a_changed_export_leaves_nothing_of_the_one_before(make_build):
    build = make_build()
    exported(build)
    changed = make_build(RECIPE.replace("samples_per_shard: 4", "samples_per_shard: 100"))
    manifest = exported(changed)
    assert sorted(tree(build.out, "shards/*")) == [
        "shards/00000.tar",
        "shards/README.md",
        "shards/croissant.json",
        "shards/manifest.json",
        "shards/sizes.json",
    ]
    assert manifest["shards"][0]["samples"] == 13
    check(build.out)


def test_an_original_jpeg_keeps_its_pixels_data_and_loses_its_metadata(make_build, photos):
    write_pair(photos, "30", turned_jpeg(6, seed=30), "turned by exif")
    build = make_build()
    exported(build)
    members = {n: d for m in samples(build) for n, d in m.items()}
    turned = next(n for n, d in members.items() if n.endswith(".txt") and d == b"turned by exif")
    fields = json.loads(members[turned.replace(".txt", ".json")])
    assert (fields["width"], fields["height"]) == (64, 96)
    assert b"Exif" not in members[turned.replace(".txt", ".jpg")]


def test_images_can_be_made_smaller_and_encoded_anew(make_build, photos):
    write_pair(photos, "30", png(30, (300, 200)), "a drawing named jpg")
    recipe = RECIPE.replace("seed: 0", "seed: 0, image: webp, max_side: 48, quality: 70")
    build = make_build(recipe)
    manifest = exported(build)
    assert manifest["ledger"]["written"] == 14
    for members in samples(build):
        for name, data in members.items():
            if name.endswith(".json"):
                assert max(json.loads(data)["width"], json.loads(data)["height"]) == 48
            assert name.partition(".")[2] in ("webp", "txt", "json")


def test_zero_kept_samples_make_an_export_without_shards(make_build):
    build = make_build(RECIPE.replace("caption_words between 2 and 64", "caption_words > 1000"))
    manifest = exported(build)
    assert manifest["shards"] == []
    assert manifest["ledger"]["written"] == 0
    check(build.out)


def test_copies_have_keys_of_their_own(make_build):
    recipe = RECIPE.replace("export:", "  - twice: {draw: 2, repeat: true}\nexport:")
    build = make_build(recipe)
    manifest = exported(build)
    assert manifest["ledger"]["copies"] == manifest["ledger"]["written"] == 26
    names = [n for members in samples(build) for n in members if n.endswith(".json")]
    assert len(set(names)) == 26
    check(build.out)


def test_small_runs_pieces_and_tasks_of_many_shards_give_the_same_bytes(make_build, monkeypatch):
    recipe = RECIPE.replace("export:", "  - more: {draw: 2.5, repeat: true}\nexport:")
    expected, cut = make_build(recipe, "expected"), make_build(recipe, "cut")
    exported(expected)
    monkeypatch.setattr(export, "RUN_BYTES", 1)
    monkeypatch.setattr(runs, "PIECE_BYTES", 1)
    monkeypatch.setattr(runs, "MERGE_BYTES", 1)
    monkeypatch.setattr(runs, "_LEAST_READ", 1)
    monkeypatch.setattr(cuts, "RANGE_SAMPLES", 3)
    monkeypatch.setattr(cuts, "READS", 14)
    exported(cut)
    assert tree(cut.out, "shards/*") == tree(expected.out, "shards/*")
    tasks = len(tree(cut.out, "ledger/export-*/*"))
    assert len(tree(cut.out, "ledger/render-*/*")) == 4
    assert 1 < tasks < len(tree(cut.out, "shards/*.tar"))


def test_an_export_begun_is_gone_on_with(make_build, tmp_path):
    build = make_build()
    exported(build)
    expected = tree(build.out, "shards/*")
    (tmp_path / "out" / "shards" / "manifest.json").unlink()
    (tmp_path / "out" / "shards" / "00001.tar").unlink()
    before = (tmp_path / "out" / "shards" / "00002.tar").stat().st_mtime_ns
    make_build().export()
    assert tree(build.out, "shards/*") == expected
    assert (tmp_path / "out" / "shards" / "00002.tar").stat().st_mtime_ns == before


def test_what_parts_left_in_the_working_folder_is_removed(make_build, tmp_path):
    build = make_build()
    manifest = exported(build)
    work = tmp_path / "out" / "work" / f"export-{manifest['export']}"
    for options in ({}, {"part": Part(1, 2, poll_s=0.01)}):
        work.mkdir()
        (work / "000000.members").write_bytes(b"left")
        assert make_build(**options).export() == manifest
        assert not work.exists()


def test_a_part_that_comes_last_and_finds_the_runs_gone_takes_what_is_finished(make_build):
    build = make_build()
    manifest = exported(build)
    part = make_build(part=Part(1, 2, wait_s=1, poll_s=0.01))
    made = part.open_pool()
    resolved, plan = part.resolve(made)
    verdicts = plan.open()
    job = exporting._job(part, made, exporting.render_options(part, resolved), verdicts)
    written = exporting._shared(part, made, verdicts, job)
    assert [name for name, _ in written.shards] == ["00000", "00001", "00002", "00003"]
    assert part.export() == manifest


def test_a_kept_row_without_a_text_is_counted_not_written_empty(make_build):
    recipe = RECIPE.replace("  - described: {where: caption_words between 2 and 64}\n", "")
    manifest = exported(make_build(recipe))
    assert manifest["ledger"]["kept"] == 14
    assert manifest["ledger"]["not_exported"] == {"no_caption": 1}
    assert manifest["ledger"]["written"] == 13


def test_columns_asked_for_are_in_the_json(make_build):
    build = make_build(RECIPE.replace("seed: 0", "seed: 0, json: [caption_words, width]"))
    exported(build)
    fields = [json.loads(d) for m in samples(build) for n, d in m.items() if n.endswith("json")]
    assert all(set(json.loads(f["columns"])) == {"caption_words", "width"} for f in fields)


def test_an_unknown_column_for_the_json_is_refused_with_its_place(make_build):
    build = make_build(RECIPE.replace("seed: 0", "seed: 0, json: [nope]"))
    build.ingest()
    build.score()
    build.select()
    with pytest.raises(RecipeError, match="no column 'nope'; known are"):
        build.export()


def test_exporting_before_selecting_says_what_to_do(make_build):
    build = make_build()
    build.ingest()
    build.score()
    with pytest.raises(CurationError, match="run `pairmill select`"):
        build.export()


def test_verify_names_what_was_changed(make_build, tmp_path):
    build = make_build()
    exported(build)
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
