"""The scoring harness: what one shard's columns hold, whatever the samples and the scorers do."""

import dataclasses

import pytest

from pipeline.errors import CurationError, DamagedFile, RecipeError, ShardsFailed
from tests.conftest import tree
from tests.pipeline.user_scorers import Area, Batched, column, mine, recipe


def test_a_scorer_of_a_user_is_named_by_its_class_and_needs_nothing_else(make_build):
    build = make_build(
        recipe(mine("Length", ", factor: 2")),
        after="ingest",
    )
    build.score()
    values = column(build, "length")
    assert values["03.jpg"] == 2 * len("picture number 3 größe")
    assert values["22_mute.jpg"] is None
    assert values["21_html.jpg"] is None  # it failed at ingest
    assert values["20_cut.jpg"] == 2 * len("cut in the middle")


def test_a_poison_sample_costs_itself_alone(make_build):
    build = make_build(recipe(mine("Poisoned", name="bad")), after="ingest")
    build.score()
    values, errors = column(build, "length"), column(build, "bad_error")
    assert values["03.jpg"] is None
    assert errors["03.jpg"] == "RuntimeError: poison"
    assert values["04.jpg"] == len("picture number 4 größe")
    assert [key for key, error in errors.items() if error is not None] == ["03.jpg"]


def test_batches_are_full_whatever_the_chunks_and_the_missing_rows(make_build, monkeypatch):
    monkeypatch.setattr("pipeline.score_input.CHUNK", 3)
    monkeypatch.setattr("pipeline.score_input.CHUNK_PIXELS", 3 * 96 * 64)
    build = make_build(
        recipe(mine("Area", name="area") + mine("Batched")),
        after="ingest",
    )
    Batched.seen.clear()
    build.score()
    assert Batched.seen == ["loaded", 4, 4, 4, 2]  # of 16 rows one has no caption, one no image
    assert column(build, "length")["24_same_image.jpg"] == len("the picture of two, again")
    assert column(build, "area")["24_same_image.jpg"] == 96 * 64


def test_a_scorer_may_read_what_another_of_its_pass_writes(make_build, monkeypatch):
    monkeypatch.setattr("pipeline.score_input.CHUNK", 3)
    after = mine("AfterLength", name="after")
    build = make_build(recipe(mine("Batched", ", batch_size: 5") + after), after="ingest")
    build.score()
    lengths, twice = column(build, "length"), column(build, "twice")
    lengths["20_cut.jpg"] = None  # its picture can't be decoded
    assert twice == {key: length and 2 * length for key, length in lengths.items()}


def test_a_model_is_not_loaded_for_a_shard_that_asks_nothing_of_it(make_build):
    build = make_build(recipe(mine("Batched", ", only: \"caption = 'nobody'\"")), after="ingest")
    Batched.seen.clear()
    build.score()
    assert Batched.seen == []


def test_a_model_that_cannot_be_loaded_fails_the_shard(make_build):
    build = make_build(recipe(mine("Weightless")), after="ingest")
    with pytest.raises(ShardsFailed, match="no weights"):
        build.score()
    assert tree(build.out, "columns/**/*") == {}


def test_too_little_memory_makes_batches_smaller_and_no_value_missing(make_build):
    build = make_build(recipe(mine("Hungry")), after="ingest")
    build.score()
    assert sum(value is not None for value in column(build, "length").values()) == 14
    none = make_build(recipe(mine("Hungry", ", room: 0")))
    with pytest.raises(ShardsFailed, match="MemoryError"):
        none.score()


def test_an_image_that_cant_be_decoded_is_null_with_a_reason(make_build):
    build = make_build(recipe("  image: {}\n"), after="ingest")
    build.score()
    assert column(build, "width")["20_cut.jpg"] is None
    assert "truncated" in column(build, "image_error")["20_cut.jpg"]
    assert column(build, "width")["22_mute.jpg"] == 96


def test_equal_images_of_a_shard_are_measured_once(make_build):
    Area.seen.clear()
    build = make_build(recipe(mine("Area", name="area")), after="ingest")
    build.score()
    areas = column(build, "area")
    assert areas["24_same_image.jpg"] == areas["02.jpg"] == 96 * 64
    assert sum(Area.seen) == 13  # twelve and the mute one


def test_a_column_does_not_depend_on_its_companions(make_build):
    alone = make_build(recipe("  caption: {}\n"), "alone", after="ingest")
    together = make_build(recipe("  image: {}\n  caption: {}\n"), "together", after="ingest")
    for build in (alone, together):
        build.score()
    assert tree(alone.out, "columns/caption/**/*") == tree(together.out, "columns/caption/**/*")


def test_a_changed_scorer_recomputes_itself_alone(make_build, tmp_path):
    score = "  caption: {}\n" + mine("Length", ", factor: 1")
    build = make_build(recipe(score), after="ingest")
    build.score()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("columns/**/*.parquet")}
    make_build(recipe(score.replace("factor: 1", "factor: 2"))).score()
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("columns/**/*.parquet")}
    assert {p: after[p] for p in before} == before
    assert {p.parent.parent.name for p in after.keys() - before.keys()} == {"mine"}


def test_a_scorer_that_loses_count_fails_its_shard_and_writes_nothing(make_build):
    build = make_build(recipe(mine("Short", name="bad")), after="ingest")
    with pytest.raises(ShardsFailed, match=r"values of 'length'"):
        build.score()
    assert tree(build.out, "columns/**/*") == {}


def test_a_value_that_its_column_cant_hold_costs_its_sample_alone(make_build):
    build = make_build(recipe(mine("Wild", name="bad")), after="ingest")
    build.score()
    errors = {key: error for key, error in column(build, "bad_error").items() if error}
    assert sorted(errors) == ["03.jpg", "04.jpg", "05.jpg"]
    assert "bad value: length" in errors["03.jpg"]
    assert "bad value: ratio: NaN or infinity" in errors["04.jpg"]
    assert "bad value: vector: NaN or infinity" in errors["05.jpg"]
    lengths = column(build, "length")
    assert [lengths[f"0{i}.jpg"] for i in (3, 4, 5)] == [None] * 3
    assert lengths["06.jpg"] == 22


def test_another_cap_on_pixels_is_another_column(make_build):
    """A pool of another recipe may be scored with another limit; its columns are not taken over."""
    build = make_build(recipe("  image: {}\n"), after="ingest")
    build.score()
    tight = recipe("  image: {}\n").replace("rows_per_shard: 50", "max_pixels: 1000")
    other = make_build("pool: out\n" + "score:" + tight.partition("score:")[2], "other")
    other.score()
    assert set(column(other, "width").values()) == {None}
    assert column(build, "width")["00.jpg"] == 96


def test_only_asks_about_the_rows_of_its_condition_and_widening_computes_only_new_rows(make_build):
    def asking(condition):
        area = mine("Area", f', only: "caption_chars {condition}"', name="area")
        return recipe("  caption: {}\n" + area)

    narrow = make_build(asking("= 22"), after="ingest")  # numbers of one digit
    Area.seen.clear()
    narrow.score()
    asked = {key for key, value in column(narrow, "area").items() if value is not None}
    assert asked == {f"0{i}.jpg" for i in range(10)}
    assert sum(Area.seen) == 10
    assert set(column(narrow, "area_error").values()) == {None}
    Area.seen.clear()
    wide = make_build(asking("> 1"))
    wide.score()
    assert sum(Area.seen) == 2  # 10 and 11; the copy of 02 has the value of its image
    fresh = make_build(asking("> 1"), "fresh", after="ingest")
    fresh.score()
    instances = fresh.resolve(fresh.open_pool())[0].instances
    folder = next(one.columns.folder_name for one in instances if one.name == "area")
    pattern = f"columns/area/{folder}/*"
    assert tree(wide.out, pattern) == tree(fresh.out, pattern) != {}


def test_only_survivors_of_a_step(make_build):
    build = make_build(
        recipe(
            "  caption: {}\n" + mine("Area", ", only: {survivors_of: digit}", name="area"),
            "  - digit: {where: caption_chars = 22}\n  - big: {where: area > 1}\n",
        ),
        after="ingest",
    )
    build.score()
    asked = {key for key, value in column(build, "area").items() if value is not None}
    assert asked == {f"0{i}.jpg" for i in range(10)}
    assert build.select().summary["kept"] == 10


def test_only_survivors_for_which_a_condition_holds(make_build):
    """It is tried on survivors alone: others have no digit there, and the cast would fail."""
    digit = "cast(substr(caption, 16, 1) as int)"
    steps = "  - digit: {where: caption_chars = 22}\n"
    score = "  caption: {}\n"
    for limit in (4, 7):
        only = f'only: {{survivors_of: digit, where: "{digit} < {limit}"}}'
        name = f"area_{limit}"
        score += mine("Area", f", columns: {{area: {name}}}, {only}", name=name)
    build = make_build(recipe(score, steps), after="ingest")
    build.score()
    for limit in (4, 7):
        asked = {k for k, value in column(build, f"area_{limit}").items() if value is not None}
        assert asked == {f"0{i}.jpg" for i in range(limit)}
    only = [one.only for one in build.resolve(build.open_pool())[0].instances[1:]]
    assert len({one.survivors for one in only}) == 1
    assert len({one.digest for one in only}) == 2
    wrong = recipe(score.replace("caption, 16", "captoin, 16"), steps)
    with pytest.raises(RecipeError, match="unknown column 'captoin'"):
        make_build(wrong).resolve()


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("  nothing: {}\n", "no scorer 'nothing'"),
        ("  caption: {wrds: 3}\n", "no parameter 'wrds'; known are english, text"),
        ("  objects: {}\n", "scorer 'objects' needs `model`"),
        ("  x: {scorer: 'no.such:Thing'}\n", "no module 'no.such'"),
        (mine("Nope"), "no class 'Nope'"),
        ("  caption: {}\n  again: {scorer: caption}\n", "both write 'caption_chars'"),
        ("  clip: {model: ViT-B-32}\n", "needs `pretrained`"),
        ("  caption: {columns: {nope: x}}\n", "writes no column 'nope'"),
        ("  caption: {only: width > 3}\n", "width"),
    ],
)
def test_what_is_wrong_with_scorers_is_said_before_anything_is_read(make_build, score, message):
    with pytest.raises(RecipeError, match=message) as error:
        make_build(recipe(score)).resolve()
    assert error.value.where is not None
    assert error.value.where.split(":")[1].isdigit()


def test_columns_can_be_renamed(make_build):
    score = "  caption: {}\n" + mine("Length", ", columns: {length: n}")
    build = make_build(recipe(score), after="ingest")
    build.score()
    assert column(build, "n")["00.jpg"] == 22


def test_a_damaged_column_file_is_made_again(make_build, tmp_path):
    build = make_build(after="score")
    good = tree(build.out, "columns/**/*")
    file = sorted((tmp_path / "out" / "columns").rglob("*.parquet"))[0]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CurationError, match=r"1 of 4 shards are not\s+scored"):
        build.select()
    build.score()
    assert tree(build.out, "columns/**/*") == good


def test_a_pool_that_lost_its_tar_is_named(make_build, tmp_path):
    build = make_build(after="ingest")
    (tmp_path / "out" / "pool" / "00001.tar").write_bytes(b"")
    with pytest.raises(ShardsFailed, match=r"00001: DamagedFile.*00001\.tar: expected sample"):
        build.score()
    assert len(tree(build.out, "columns/image/**/*")) == 3


def test_reading_columns_of_another_pool_is_refused(make_build):
    build = make_build(after="score")
    made = build.open_pool()
    resolved, _ = build.resolve(made)
    columns = resolved.instances[0].columns
    other = dataclasses.replace(made.shards[0], keys="0" * 32)
    with pytest.raises(DamagedFile, match="describes other rows"):
        columns.read(other)
