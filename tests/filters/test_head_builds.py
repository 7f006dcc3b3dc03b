"""Scorers over stored embeddings in builds: fitted on the pool, the same in shards of any size."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.build import Build
from pipeline.errors import RecipeError
from pipeline.recipe import parse_recipe
from tests.conftest import tree, write_pair
from tests.pictures import jpeg

SMALL = """\
  norm: {scorer: "filters.norm_sim:NormSim", split: train, targets: targets.npy}
  of_encoder: {scorer: "filters.teacher:TeacherMass", teacher: encoder,
    columns: {teacher_mass: encoder_mass, teacher_image_mass: ei, teacher_text_mass: et}}
"""
SILENT_BELOW_64 = ("teacher_mass", "agreement_min", "mix_score")  # the last two read the first
RECIPE = """\
sources: {{photos: {{folder: photos/}}}}
ingest: {{rows_per_shard: {size}}}
score:
  clip: {{scorer: "tests.filters.test_head_builds:Meaning"}}
{score}
select:
  - all: {{where: key is not null}}
{select}"""
SCORERS = """\
  neg: {scorer: "filters.neg_clip:NegClip", batches: 2, batch: 20}
  mass: {scorer: "filters.teacher:TeacherMass", queue: 30, temperatures: [0.05, 0.1]}
  noise: {scorer: "filters.noise:Noise", units: 8, negatives: 20}
  alip: {scorer: "filters.alip:AlipWeights", synthetic: clip_text}
  agree: {scorer: "filters.agreement:Agreement", of: [clip_score, neg_clip_score, teacher_mass]}
  mix: {scorer: "filters.mix:Mix", weights: {clip_score: 0.65, teacher_mass: 0.35}}
  learned: {scorer: "filters.mix:Mix", of: [clip_score, neg_clip_score], label: is_own,
    columns: {mix_score: learned_score}}
  sync: {scorer: "filters.reassignment:Reassignment"}
"""
COLUMNS = (
    "neg_clip_score",
    "teacher_mass",
    "noise_probability",
    "alip_sample_weight",
    "agreement_min",
    "mix_score",
    "learned_score",
    "reassigned_score",
    "reassigned_to",
)
PAIRS = 160


class Meaning:
    """Vectors of a caption's number, for the image's a little off; every fourth pair is wrong."""

    version = 1
    reads = ("caption",)

    @property
    def writes(self) -> Any:
        import pyarrow as pa

        vector = pa.list_(pa.float16())
        return pa.schema(
            {
                "clip_image": vector,
                "clip_text": vector,
                "clip_score": pa.float32(),
                "is_own": pa.bool_(),
            }
        )

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        numbers = [int(caption.split()[-1]) for caption in batch["caption"]]
        read = np.stack([_direction(number) for number in numbers])
        own = [number % 4 > 0 for number in numbers]
        shown = [n if good else n + 1000 for n, good in zip(numbers, own, strict=True)]
        seen = np.stack([_direction(n) + 0.7 * _direction(n + 5000) for n in shown])
        seen /= np.linalg.norm(seen, axis=1, keepdims=True)
        scores = (seen * read).sum(axis=1)
        return {
            "clip_image": [None if n == 3 else v for n, v in zip(numbers, seen, strict=True)],
            "clip_text": list(read),
            "clip_score": scores.tolist(),
            "is_own": [bool(good) for good in own],
        }


def _direction(number: int) -> Any:
    row = np.random.default_rng(number).normal(size=24)
    return row / np.linalg.norm(row)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    for number in range(PAIRS):
        write_pair(folder / "photos", f"{number:03d}", jpeg(number, (24, 24)), f"number {number}")
    return folder


def build(folder: Path, out: str, score: str = SCORERS, size: int = 1000) -> Build:
    select = "  - sure: {top: noise_loss, fraction: 0.5, lowest: true}\n" if SMALL in score else ""
    text = RECIPE.format(size=size, score=score.rstrip(), select=select)
    made = Build(parse_recipe(text, str(folder / "recipe.yaml")), str(folder / out))
    made.ingest()
    made.score()
    return made


def columns(made: Build) -> dict[str, list[Any]]:
    pool = made.open_pool()
    writers = made.resolve(pool)[0].writers
    return {
        name: [
            v for shard in pool.shards for v in writers[name].read(shard, [name])[name].to_pylist()
        ]
        for name in (*COLUMNS, "is_own")
    }


@pytest.mark.slow
def test_all_in_one_recipe_and_shards_of_any_size(photos: Path) -> None:
    whole = build(photos, "whole")
    found = columns(whole)
    assert columns(build(photos, "parts", size=90)) == found
    for name in COLUMNS[:-2]:  # of the row without a vector there is none
        assert sum(value is None for value in found[name]) == 1, name
    own = np.array(found["is_own"], bool)
    known = np.array([value is not None for value in found["noise_probability"]])
    odds = np.array([value for value in found["noise_probability"] if value is not None])
    assert odds[own[known]].mean() < odds[~own[known]].mean()


@pytest.mark.slow
def test_scoring_again_is_the_same_bytes(photos: Path) -> None:
    once, again = build(photos, "once"), build(photos, "again")
    assert tree(once.out, "columns/**/*") == tree(again.out, "columns/**/*") != {}


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [1, 2, 20])
def test_a_few_pairs_go_through_every_scorer(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture, pairs: int
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(4, 4 + pairs):
        for end in ("jpg", "txt"):
            shutil.copy(photos / "photos" / f"{number:03d}.{end}", tmp_path / "photos")
    np.save(tmp_path / "targets.npy", np.eye(24, dtype=np.float16))
    made = build(tmp_path, "few", SCORERS + SMALL)
    found = columns(made)
    silent = {name for name in COLUMNS if set(found[name]) == {None}}
    if pairs == 1:
        assert silent == {*COLUMNS} - {"alip_sample_weight", "reassigned_score", "reassigned_to"}
    else:
        known = {"learned_score"} if pairs == 20 else set()
        assert silent == {"noise_probability", *SILENT_BELOW_64, "learned_score"} - known
    warned = [text for text in caplog.messages if "too few to learn from" in text]
    assert any("'noise'" in text and "needs 32 rows in each half" in text for text in warned)
    verdicts = made.select()
    assert verdicts.summary["kept"] == 0
    assert caplog.messages[-1].endswith(": 'noise_loss' is NULL in all of them")


def test_evaluation_targets_are_an_error_of_the_recipe(photos: Path) -> None:
    np.save(photos / "coco_val.npy", np.ones((2, 24)))
    score = (
        '  norm: {scorer: "filters.norm_sim:NormSim", split: train,'
        f" targets: {photos}/coco_val.npy}}\n"
    )
    with pytest.raises(RecipeError, match="names an evaluation split"):
        build(photos, "targets", score)
