"""What token merging costs: the figures by hand, and the verb over a small pool."""

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipeline import merging_cost as cost
from pipeline.errors import CurationError
from tests import pictures
from tests.commands import done, pairmill
from tests.conftest import write_pair
from tests.filters.tiny_models import KINDS, save_model

ROWS = 104


def doubles(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


# Figures


def test_spearman_by_hand():
    rising = doubles(1, 2, 3, 4)
    assert cost.spearman(rising, doubles(10, 20, 30, 1000)) == pytest.approx(1)
    assert cost.spearman(rising, -rising) == pytest.approx(-1)
    assert cost.spearman(rising, doubles(1, 3, 2, 4)) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert cost.spearman(rising, doubles(5, 5, 5, 5)) is None


def test_equal_values_share_their_mean_rank():
    first, second = doubles(1, 2, 2, 3), doubles(1, 2, 3, 4)
    ranks = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1]
    assert cost.spearman(first, second) == pytest.approx(ranks)


@pytest.mark.parametrize(("fraction", "count"), [(0.3, 3), (0.31, 4), (0.01, 1), (0.99, 10)])
def test_as_many_are_kept_as_the_step_top_keeps(fraction, count):
    scores = doubles(*range(10))
    assert np.flatnonzero(cost.kept(scores, fraction)).tolist() == [*range(10 - count, 10)]


def test_of_equal_scores_the_smaller_keys_are_kept():
    assert cost.kept(doubles(1, 1, 1, 0), 0.5).tolist() == [True, True, False, False]


def test_agreement_by_hand():
    before = doubles(0.1, 0.2, 0.3, 0.4)
    after = doubles(0.1, 0.45, 0.3, 0.4)
    found = cost.agreement_of(before, after, 0.5)
    assert found.overlap == pytest.approx(1 / 3)  # {2, 3} and {1, 3}
    assert found.shift == pytest.approx(0.25 / 4)
    assert found.largest == pytest.approx(0.25)
    assert found.spearman == pytest.approx(1 - 6 * (2**2 + 1 + 1) / (4 * 15))
    same = cost.agreement_of(before, before, 0.5)
    assert same == cost.AgreementFigures(pytest.approx(1), 1.0, 0.0, 0.0)


class Grudging:
    """Scores the sum of an image, and fails where it is zero."""

    writes = pa.schema({"score": pa.float32()})

    def __call__(self, batch):
        if any(image.sum() == 0 for image in batch["image"]):
            raise ValueError("a black picture")
        return {"score": [None if i.sum() == 1 else float(i.sum()) for i in batch["image"]]}


def test_a_row_that_cannot_be_scored_costs_itself_alone():
    images = [np.full((1, 1, 3), value) for value in (2, 0, 3, 4)]
    images.append(np.array([[[1, 0, 0]]]))
    found = cost._scores(Grudging(), {"image": images})
    assert np.array_equal(found, doubles(6, np.nan, 9, 12, np.nan), equal_nan=True)


def compared(rank: float | None) -> cost.Compared:
    agreement = cost.AgreementFigures(rank, 0.9, 0.0, 0.1)
    said = {"model": "M", "pretrained": None, "precision": "fp32"}
    return cost.Compared("clip", said, "cpu", "tome:8", 2000, 30.0, 20.0, agreement)


def test_a_limit_is_met_or_named():
    cost.require([compared(0.98)], 0.98)
    with pytest.raises(CurationError, match=r"merge 'tome:8': Spearman 0\.9800 \(limit 0\.99\)"):
        cost.require([compared(1.0), compared(0.98)], 0.99)
    with pytest.raises(CurationError, match="constant scores"):
        cost.require([compared(None)], 0.5)


def test_a_person_reads_speed_and_agreement():
    head, _, row = cost.lines_of([compared(0.98)], 0.3)
    assert head == "clip: M fp32 on cpu, 2,000 rows drawn by key"
    assert row.split() == ["tome:8", "30.0", "20.0", "1.50", "0.9800", "0.900", "0.1000"]


# The verb


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny model of three blocks."""
    kind = KINDS["clip"]
    parts = kind["model_cfg"]
    vision = {**parts["vision_cfg"], "layers": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "deep", {**kind, "model_cfg": {**parts, "vision_cfg": vision}})
        yield save_model(tmp_path_factory.mktemp("deep") / "model", "deep")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, deep: str):
    """A folder with a recipe and its pool of ROWS pictures, one of them cut short, and a mute."""
    folder = tmp_path_factory.mktemp("home")
    words = ("red", "dog", "house", "on", "the", "road", "two")
    for number in range(ROWS):
        text = f"a {words[number % 7]} {words[number % 5]} number {number}"
        write_pair(folder / "photos", f"{number:03d}", pictures.jpeg(number), text)
    whole = pictures.jpeg(ROWS)
    write_pair(folder / "photos", "cut", whole[: len(whole) * 3 // 4], "cut in the middle")
    write_pair(folder / "photos", "mute", pictures.jpeg(ROWS + 1), None)
    write_recipe(folder, f"clip: {{model: '{deep}', batch_size: 8}}")
    done("ingest", folder / "recipe.yaml", "--out", folder / "out")
    return folder


def write_recipe(folder, score: str, name: str = "recipe.yaml"):
    text = f"sources:\n  photos: {{folder: photos/}}\nscore:\n  {score}\n"
    text += "ingest: {rows_per_shard: 20}\n"
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.slow
def test_it_says_what_plans_cost_and_writes_it_down(home):
    plans = ("--merge", "tome:0", "--merge", "tome:4", "--merge", "pitome:0.6")
    text = done("merging", home / "recipe.yaml", "--out", home / "out", *plans)
    lines = text.splitlines()
    assert f"{ROWS} rows drawn by key" in lines[0]
    assert [line.split()[0] for line in lines[2:5]] == ["tome:0", "tome:4", "pitome:0.6"]
    assert "fewer than 2,000 rows" in lines[5]
    found = json.loads((home / "out" / cost.FILE).read_text())
    none, tome, pitome = found["merges"]
    assert none["agreement"]["overlap"] == 1
    assert none["agreement"]["spearman"] > 0.9999
    assert none["agreement"]["largest"] < 1e-5 < tome["agreement"]["largest"]
    assert tome["agreement"] != pitome["agreement"]
    assert tome["parameters"]["merge"].startswith("tome:4 ")
    assert all(one["speed"] > 0 for one in found["merges"])
    assert not (home / "out" / "columns").exists()


@pytest.mark.slow
def test_agreement_is_that_of_the_columns_of_a_build(home, deep, tmp_path):
    both = f"clip: {{model: '{deep}', batch_size: 8}}\n  fast: {{scorer: clip, model: '{deep}',"
    both += " batch_size: 8, merge: tome:4, columns: {clip_score: b, clip_truncated: c}}"
    recipe = write_recipe(home, both, "both.yaml")
    done("merging", recipe, "--out", home / "out")
    (found,) = json.loads((home / "out" / cost.FILE).read_text())["merges"]
    assert found["scorer"] == "fast"
    done("score", recipe, "--out", home / "out")
    from pipeline.build import Build
    from pipeline.recipe import load_recipe

    build = Build(load_recipe(str(recipe)), str(home / "out"))
    made = build.open_pool()
    writers = build.resolve(made)[0].writers
    before, after = (
        np.array([v for s in made.shards for v in writers[n].read(s)[n].to_pylist()], float)
        for n in ("clip_score", "b")
    )
    has_both = ~np.isnan(before) & ~np.isnan(after)
    assert has_both.sum() == ROWS
    expected = cost.agreement_of(before[has_both], after[has_both], 0.3)
    assert found["agreement"]["spearman"] == pytest.approx(expected.spearman)
    assert found["agreement"]["largest"] == pytest.approx(expected.largest, abs=1e-6)


def test_fewer_rows_are_those_with_the_smallest_draws(home):
    from pipeline.keys import draw_bits
    from pipeline.pool import open_pool

    made = open_pool(str(home / "out"))
    assert made is not None
    every = cost.drawn_texts(made, "caption", 1000)
    some = cost.drawn_texts(made, "caption", 10)
    smallest = sorted(every, key=lambda key: draw_bits(bytes.fromhex(key), 0, "merging"))
    assert [*some] == smallest[:10]
    assert all(text.strip() for text in every.values())


def test_a_limit_that_is_not_met_is_exit_1_after_the_table(home):
    at = ("--out", home / "out", "--merge", "tome:9")
    assert pairmill("merging", home / "recipe.yaml", *at, "--at-least", "-1")[0] == 0
    code, text = pairmill("merging", home / "recipe.yaml", *at, "--at-least", "1.1")
    assert code == 1
    assert "scorer 'clip', merge 'tome:9': Spearman" in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--merge", "tome:x"), 2, "merge 'tome:x': expected tome:COUNT"),
        (("--merge", "tome:1,1,1,1"), 2, "4 counts for 3 blocks"),
        ((), 2, "says no `merge:`; give --merge"),
        (("--merge", "tome:1", "--fraction", "0"), 2, "--fraction 0: must be between 0 and 1"),
        (("--merge", "tome:1", "--fraction", "nan"), 2, "must be between 0 and 1"),
        (("--merge", "tome:1", "--rows", "99"), 2, "greater than or equal to 100"),
    ],
)
def test_what_is_wrong_is_said(home, words, code, message):
    found, text = pairmill("merging", home / "recipe.yaml", "--out", home / "out", *words)
    assert (found, message in text) == (code, True), text


def test_no_pool_and_no_clip_and_no_tokens_are_said(home):
    recipe = home / "recipe.yaml"
    code, text = pairmill("merging", recipe, "--out", home / "nowhere", "--merge", "tome:1")
    assert (code, "there is no finished pool" in text) == (1, True)
    assert not (home / "nowhere").exists()
    for score, message in {
        "caption: {}": "has no scorer `clip`",
        "clip: {}": "no tokens to merge",
    }.items():
        recipe = write_recipe(home, score, "other.yaml")
        code, text = pairmill("merging", recipe, "--out", home / "out", "--merge", "tome:1")
        assert (code, message in text) == (2, True), text


def test_weights_that_are_not_there_are_said(home, deep):
    wrong = f"clip: {{model: '{deep}', sha256: '{'0' * 64}'}}"
    recipe = write_recipe(home, wrong, "wrong.yaml")
    code, text = pairmill("merging", recipe, "--out", home / "out", "--merge", "tome:1")
    assert (code, "scorer 'clip': " in text, "pinned is" in text) == (1, True, True)


def test_few_rows_are_said(tmp_path, deep):
    for number in range(8):
        write_pair(tmp_path / "photos", f"{number}", pictures.jpeg(number), f"a dog {number}")
    recipe = write_recipe(tmp_path, f"clip: {{model: '{deep}', merge: tome:2}}")
    done("ingest", recipe, "--out", tmp_path / "out")
    code, text = pairmill("merging", recipe, "--out", tmp_path / "out")
    assert (code, "8 rows have an image, a text and a score (limit 100)" in text) == (1, True)
