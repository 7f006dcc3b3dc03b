"""DataComp's baselines as recipes: on metadata of its shape, the uids that its own rules choose."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.build import Build
from pipeline.recipe import load_recipe
from pipeline.subsets import read_subset, uids_of

pytestmark = pytest.mark.slow
CONFIGS = Path(__file__).parent.parent / "configs" / "datacomp"
TEXTS = [
    "a b",
    "a b c",
    "a b cd",
    "a photo of a dog on the beach",
    "un chien court sur la plage en été",
    "ein Hund am Strand mit einem Ball",
    "two\nlines of english text here",
    "",
    "12345 67890 123",
    "one two  three four five",
    "   padded with spaces   ",
    "短い 説明 です",
]


def metadata(folder: Path, rows: int = 600) -> dict[str, np.ndarray]:
    """Two Parquet files with edge cases of every rule, and what is in them."""
    rng = np.random.default_rng(7)
    uids = [hashlib.md5(str(i).encode()).hexdigest() for i in range(rows)]
    sizes = [(200, 200), (200, 600), (200, 601), (199, 199), (600, 200), (1024, 768), (640, 199)]
    width, height = np.array([sizes[i % len(sizes)] for i in rng.permutation(rows)]).T
    table = {
        "uid": np.array(uids),
        "url": np.array([f"http://host{i % 9}.example.com/{i // 2}.jpg" for i in range(rows)]),
        "text": np.array([TEXTS[i % len(TEXTS)] for i in range(rows)]),
        "original_width": width.astype(np.int32),
        "original_height": height.astype(np.int32),
        # few distinct values, so that the threshold has ties
        "clip_b32_similarity_score": rng.integers(100, 400, rows).astype(np.float32) / 1000,
        "clip_l14_similarity_score": rng.integers(100, 200, rows).astype(np.float32) / 1000,
        "sha256": np.array([hashlib.sha256(uid.encode()).hexdigest() for uid in uids]),
    }
    folder.mkdir(parents=True)
    for part in range(2):
        piece = {name: values[part::2] for name, values in table.items()}
        pq.write_table(pa.table(piece), folder / f"{part:08d}.parquet")
    return table


def english(text: str) -> bool:
    """The published rule: fastText's top label of the text with line breaks as spaces."""
    from filters.language import Language

    scorer = Language(model="fasttext")
    return scorer({"caption": [text]})["language"] == ["en"]


def basic(table: dict[str, np.ndarray]) -> np.ndarray:
    known = {text: english(text) for text in TEXTS}
    text = table["text"]
    width, height = table["original_width"], table["original_height"]
    small, large = np.minimum(width, height), np.maximum(width, height)
    return np.array(
        [
            known[t] and len(t.split()) > 2 and len(t) > 5 and s >= 200 and b / s <= 3.0
            for t, s, b in zip(text, small, large, strict=True)
        ]
    )


def clip(table: dict[str, np.ndarray], column: str, fraction: float) -> np.ndarray:
    """The published rule: everything that reaches the score at int(n * fraction), descending."""
    scores = table[column]
    threshold = np.sort(scores)[::-1][min(int(len(scores) * fraction), len(scores) - 1)]
    return scores >= threshold


L14, B32 = "clip_l14_similarity_score", "clip_b32_similarity_score"
BASELINES = {
    "no_filter": lambda t: np.ones(len(t["uid"]), bool),
    "basic": basic,
    "clip_l14_30": lambda t: clip(t, L14, 0.3),
    "clip_b32_30": lambda t: clip(t, B32, 0.3),
    "basic_and_clip_l14_30": lambda t: basic(t) & clip(t, L14, 0.3),
}


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_chooses_the_uids_of_the_published_rules(tmp_path, name):
    table = metadata(tmp_path / "metadata")
    shutil.copy(CONFIGS / f"{name}.yaml", tmp_path)
    build = Build(load_recipe(str(tmp_path / f"{name}.yaml")), str(tmp_path / "out"))
    build.ingest()
    build.score()
    build.select()
    manifest = build.export()
    expected = sorted(table["uid"][BASELINES[name](table)])
    chosen = uids_of(read_subset(str(tmp_path / "out" / "shards" / "subset.npy")))
    assert chosen == expected
    assert manifest["ledger"]["written"] == len(expected)
    assert expected


def test_every_recipe_here_is_read(tmp_path):
    for path in sorted(CONFIGS.glob("*.yaml")):
        recipe = load_recipe(str(path))
        assert recipe.export.format == "uids"
