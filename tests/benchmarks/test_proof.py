"""The proof's benchmark: scores by the scorers themselves, what is kept, and figures by hand."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.proof import figures, roc, scores
from benchmarks.proof import tokenwise as proof_tokenwise
from benchmarks.proof.faults import CLEAN, Captions, plant
from benchmarks.proof.scores import Pool
from benchmarks.reward.drawings import Maker
from filters import embedded
from filters.noise import Noise
from filters.reward import RewardScore
from filters.reward_head import SHIPPED, read_head
from filters.tokenwise import TokenWise
from pipeline.reward.bootstrap import Captioned
from tests.benchmarks.small_drawings import drawings
from tests.filters.embedded_rows import key, noisy_pairs
from tests.pictures import photo

TEXTS = ["a red car", "the old house near a lake", "sun", "IMG_0421.jpg", "the", "red red dog"]


@pytest.fixture
def tokenwise(tmp_path):
    """Pictures of several shapes under the shipped heads, with the shipped reward."""
    sizes = [(96, 64), (64, 96), (200, 30), (20, 120), (64, 64), (300, 200)]
    pairs = []
    for n, size in enumerate(sizes):
        Image.fromarray(photo(n, size)).save(tmp_path / f"{n}.png")
        pairs.append(SimpleNamespace(path=f"{n}.png"))
    (tmp_path / "work").mkdir()
    maker = Maker(tmp_path, SimpleNamespace(pairs=pairs))
    arrays = embedded.read_heads()
    return proof_tokenwise.Tokenwise(maker, arrays, read_head(SHIPPED), tmp_path / "work")


def opened(tokenwise):
    folder, pairs = tokenwise.maker.data, tokenwise.maker.bench.pairs
    return [np.asarray(Image.open(folder / pair.path)) for pair in pairs]


@pytest.mark.slow
def test_filip_and_the_reward_are_those_of_the_scorers(tokenwise):
    batch = {"image": opened(tokenwise), "caption": TEXTS}
    rows = np.arange(len(TEXTS))
    scorer = TokenWise()
    no_rows = pa.table({"key": pa.array([], pa.binary(16)), "caption": pa.array([], pa.string())})
    said = scorer(batch, scorer.fit(no_rows))["filip_score"]
    assert tokenwise.filip(rows, TEXTS) == pytest.approx(said, abs=1e-3)
    vectors = embedded.encode_images(batch["image"]), embedded.encode_texts(TEXTS)
    stored = tuple(part.astype(np.float16).astype(np.float32) for part in vectors)
    rewards = RewardScore()(batch)["reward"]
    assert tokenwise.reward(rows, TEXTS, stored) == pytest.approx(rewards, abs=0.05)
    assert np.std(rewards) > 0.5


@pytest.mark.slow
def test_what_took_long_is_kept_for_the_same_pairs_and_heads_alone(tokenwise):
    rows = np.arange(len(TEXTS))
    first = tokenwise.filip(rows, TEXTS)
    for path in tokenwise.maker.data.glob("*.png"):
        path.unlink()
    assert (tokenwise.filip(rows, TEXTS) == first).all()
    assert [path.suffix for path in tokenwise.folder.iterdir()] == [".npy"]
    with pytest.raises(FileNotFoundError):
        tokenwise.filip(rows, TEXTS[::-1])
    tokenwise.arrays["share"] = tokenwise.arrays["share"] / 2
    with pytest.raises(FileNotFoundError):
        tokenwise.filip(rows, TEXTS)


@pytest.mark.slow
def test_the_reward_is_learnt_once(tmp_path):
    maker, lessons = drawings(tmp_path)
    arrays = embedded.read_heads()
    first = proof_tokenwise.learn(maker, lessons, arrays, tmp_path)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    again = proof_tokenwise.learn(maker, lessons, arrays, tmp_path)
    assert (again.head.weights["out"] == first.head.weights["out"]).all()
    with pytest.raises(FileNotFoundError):
        proof_tokenwise.learn(maker, lessons[1:], arrays, tmp_path)
    with pytest.raises(FileNotFoundError):
        proof_tokenwise.learn(maker, lessons, arrays | {"share": np.ones(1, np.float32)}, tmp_path)


def test_every_score_has_its_line_and_the_mix_the_five_that_it_began_with():
    told = {*scores._FITTED, *scores._OF_PAIRS}
    assert {*scores.SCORES, *scores.JUDGES, *scores.NOISE, *scores.BLIND, "text only"} == {
        *told,
        "mix",
    }
    columns = ("cosine", "negCLIPLoss", "anchored", "teacher mass", "linear reward")
    assert columns == scores._MIXED


def test_scores_of_fitted_scorers_are_their_columns():
    images, texts, _ = noisy_pairs(300)
    rows = tuple(Captioned(key(n), str(n)) for n in range(300))
    names = tuple(row.caption for row in rows)
    pool = Pool(np.arange(300), rows, Captions(names, (CLEAN,) * 300), images, texts)
    found = scores._single(None, pool, ("noise", "counted", "cosine"))
    columns = scores._fitted(Noise(), pool)
    assert (found["noise"] == -columns["noise_loss"]).all()
    assert (found["counted"] == columns["noise_probability"]).all()
    own = [float(v.astype(float) @ t.astype(float)) for v, t in zip(images, texts, strict=True)]
    assert found["cosine"] == pytest.approx(own, abs=1e-5)
    assert list(found) == ["noise", "counted", "cosine"]


def test_a_blind_score_is_that_of_the_same_captions_beside_other_pictures():
    images, texts, _ = noisy_pairs(300, 0.0)
    pool = Pool(np.arange(300), (), Captions((), ()), images, texts)
    found = scores._single(None, pool, ("cosine", "blind cosine"))
    cosines = images.astype(np.float32) @ texts.astype(np.float32).T
    near = np.abs(cosines - found["blind cosine"]).argmin(axis=0)  # which picture each stands by
    assert sorted(near.tolist()) == list(range(300))
    assert (near != np.arange(300)).mean() > 0.9
    assert found["cosine"].mean() > 0.3 > 0.1 > abs(found["blind cosine"].mean())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_faults_have_their_share_and_clean_rows_keep_their_captions(share):
    rows = [Captioned(key(n), f"red thing {n}") for n in range(200)]
    features = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    found = plant(rows, np.arange(200), features, share, 0)
    assert (~found.is_clean).sum() == 200 * share
    for row, text, kind in zip(rows, found.texts, found.kinds, strict=True):
        assert (text == row.caption) == (kind == CLEAN)
    assert found == plant(rows, np.arange(200), features, share, 0)


def test_figures_by_hand():
    clean = np.array([True, True, False, False])
    # 3 beats both faults; 1 beats 0 and equals 1.
    assert figures.auc(np.array([3.0, 1, 1, 0]), clean) == (2 + 1.5) / 4
    assert figures.kept(np.array([1.0, 2, 2, 0]), 0.5).tolist() == [False, True, True, False]
    many = [np.tile(part, 20) for part in ([3.0, 1, 1, 0], [0.0, 1, 1, 3], clean)]
    gain = figures.auc_gain(*many)
    assert gain.value == pytest.approx(0.875 - 0.125)
    assert 0 < gain.low < gain.value < gain.high
    # Losing no clean row finds the fault at 0; half of the tie at 1 is a quarter of the clean ones.
    found = roc.found_at(np.array([3.0, 1, 1, 0]), clean, [0.0, 0.25, 0.5, 1.0])
    assert found.tolist() == [0.5, 0.75, 1.0, 1.0]


def test_every_curve_of_the_drawing_has_a_look_of_its_own():
    clean = np.arange(60) % 3 > 0
    names = (*scores.SCORES, "text only")
    drawn = roc.svg(dict.fromkeys(names, np.arange(60.0)), clean, names)
    curves = [line for line in drawn.splitlines() if line.startswith("<polyline")]
    looks = {line.split("fill=")[1] for line in curves}
    assert len(looks) == len(curves) == len(names) + 1
    assert all(f">{name}</text>" in drawn for name in (*names, "chance"))
