"""What the picture says of a translation: its score with each, and ranks by it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from recaption import captions
from recaption.captions import Caption
from tests.conftest import MakeBuild, write_pair
from tests.filters.test_clip_builds import columns
from tests.pictures import jpeg

HERE = "tests.recaption.test_translations_seen"
SAID = {"de": "Bild Nummer {n}", "es": "imagen número {n}"}
COUNT = 25
RECIPE = f"""\
sources: {{photos: {{folder: FOLDER}}}}
score:
  both: {{scorer: '{HERE}:Made'}}
  seen:
    scorer: clip
    model: embedded
    text: both
    columns: {{clip_score: seen_score, clip_truncated: seen_truncated}}
  translation_quality: {{of: both}}
  ranked:
    {{scorer: translation_ranks, of: both, numbers: [seen_score], both_ends: [], share: 0.25}}
"""


@dataclass(frozen=True)
class Made:
    """Translations of `picture number N` into two languages."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = []
        for text in batch["caption"]:
            number = text.split()[-1]
            found = [
                Caption(said.format(n=number), tag, captions.TRANSLATED, "raw")
                for tag, said in SAID.items()
            ]
            rows.append(captions.rows(found))
        return {captions.COLUMN: rows}


@pytest.mark.slow
def test_each_translation_has_the_score_of_its_picture_and_a_rank_by_it(
    make_build: MakeBuild, tmp_path: Path
) -> None:
    for number in range(COUNT):
        write_pair(tmp_path / "many", f"{number:02d}", jpeg(number), f"picture number {number}")
    build = make_build(RECIPE.replace("FOLDER", str(tmp_path / "many")))
    build.ingest()
    build.score()
    found = columns(build, "seen_score", "quality_rank", "ranked", "direction")
    assert {tuple(row) for row in found["direction"]} == {("en>de", "en>es")}
    for place in range(2):
        scores = [row[place] for row in found["seen_score"]]
        ranks = [row[place] for row in found["quality_rank"]]
        assert None not in scores
        assert len(set(scores)) > COUNT / 2
        assert [r for _, r in sorted(zip(scores, ranks, strict=True))] == sorted(ranks)
        low = [row[place]["flags"] == ["low_quality"] for row in found["ranked"]]
        assert low == [rank <= 0.25 for rank in ranks]
        assert 0 < sum(low) <= 0.25 * COUNT
    first, *_ = found["seen_score"]
    assert first[0] != first[1]  # of the text in each language
