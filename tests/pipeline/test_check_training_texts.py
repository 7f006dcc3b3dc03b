"""Exports with texts beside the text, and captions in the json, train as they are."""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.check_training import check
from recaption import captions
from recaption.captions import Caption
from tests.conftest import SCORED, MakeBuild, built

HERE = "tests.pipeline.test_check_training_texts"
RECIPE = (
    SCORED
    + f"""\
  long: {{scorer: '{HERE}:Told'}}
captions:
  txt: {{draw: {{caption: 0.5, long: 0.5}}}}
  files: {{long: long, es: {{from: long, language: es}}}}
  json: [long]
select:
  - described: {{where: caption_words between 2 and 64}}
export: {{samples_per_shard: 4, seed: 0}}
ingest: {{rows_per_shard: 5}}
"""
)


@dataclass(frozen=True)
class Told:
    """A long caption of two lines, and for every second row one in Spanish."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = []
        for text in batch["caption"]:
            found = [Caption(f"{text}.\nIt is long.", "en", kind="long")]
            found += [Caption(f"größe: {text}", "es")] * ("2" in text)
            rows.append(captions.rows(found))
        return {captions.COLUMN: rows}


@pytest.mark.slow
def test_an_export_with_a_file_for_each_caption_is_read_by_all_and_trains(
    make_build: MakeBuild,
) -> None:
    out = built(make_build(RECIPE)).out
    kinds = set()
    for path in (Path(out) / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            kinds |= {member.name.partition(".")[2] for member in tar}
    assert kinds == {"jpg", "txt", "json", "long.txt", "es.txt"}
    lines = check(out).splitlines()
    assert "all 13 samples" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["webdataset", "datasets", "open_clip_train"]
    assert lines[-1].endswith("13 samples, and one epoch trained")
