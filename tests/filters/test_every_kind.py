"""Scores of text and picture over images of every kind that is decoded: a value for each."""

from pathlib import Path

import pytest

from tests.conftest import MakeBuild
from tests.filters.test_clip_builds import columns
from tests.pictures import every_kind

SCORERS = {
    "clip_score": "clip: {model: embedded, embeddings: true}",
    "reward": "reward: {}",
    "filip_score": "filip: {model: embedded, fit_rows: 100}",
    "ot_score": "ot: {model: embedded}",
    "mirrored_score": "mirrored: {model: embedded}",
    "clip_consistency": "consistency: {}",
    "caption_logp": "likelihood: {model: embedded}",
    "itm_score": "itm: {model: embedded}",
    "facet_object": "facets: {}",
    "vqa_score": "vqa_score: {}",
    "mlm_matching": "mlm_filter: {}",
    "unime_score": "unime: {}",
    "watermark_likelihood": "marks: {}",
    "concepts": "concepts: {}",
}


@pytest.mark.slow
def test_every_kind_of_image_has_every_score(make_build: MakeBuild, tmp_path: Path) -> None:
    folder = tmp_path / "kinds"
    folder.mkdir()
    kinds = every_kind()
    for number, (name, data) in enumerate(kinds.items()):
        extension = name.split()[0].replace("jpeg", "jpg")
        (folder / f"{number:02d}.{extension}").write_bytes(data)
        (folder / f"{number:02d}.txt").write_text("a red dog near a house")
    score = "".join(f"  {line}\n" for line in SCORERS.values())
    recipe = f"sources: {{kinds: {{folder: {folder}}}}}\nscore:\n{score}"
    build = make_build(f"{recipe}ingest: {{rows_per_shard: 8}}\n")
    build.ingest()
    build.score()
    found = columns(build, *SCORERS)
    for name, values in found.items():
        missing = [kind for kind, value in zip(kinds, values, strict=True) if value is None]
        assert not missing, name
