"""The reward's benchmark: captions of drawings, comparisons of them, and figures by hand."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.reward import learning
from benchmarks.reward.captions import EXCHANGED, LEARNT_FRAMES, TESTED_FRAMES, Row, captions_of
from benchmarks.reward.captions import comparisons_of as compare
from benchmarks.reward.figures import Scores, gain
from benchmarks.reward.numbers import dealt
from filters import embedded, reward_tokens
from filters.clip import ClipScore
from filters.reward_head import SHIPPED, read_head
from tests.benchmarks.small_drawings import COUNT, drawings

NAMES = ("red cat", "blue dog", "old red house", "green tree", "two birds", "a car", "sun", "moon")


def key(name):
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def rows():
    made = (
        captions_of(key(name), (name, ["Wort"], ["animal", name]), TESTED_FRAMES) for name in NAMES
    )
    return [
        Row(key(name), n, texts) for n, (name, texts) in enumerate(zip(NAMES, made, strict=True))
    ]


def test_long_captions_hold_the_short_one_and_no_word_of_it_twice():
    for row in rows():
        assert row.texts["short"] in row.texts["long"]
        assert row.texts["long"].count(row.texts["short"]) == 1
        assert row.texts["translated"] == "Wort"


def test_frames_of_tested_drawings_were_not_learnt_from():
    assert set(LEARNT_FRAMES) & set(TESTED_FRAMES) == {"{}"}


def test_exchanged_captions_are_of_other_drawings_and_share_no_word():
    made = rows()
    near = [[made[(n + 3) % len(made)].texts["short"] for n in range(len(made))]]
    found = [*compare(made, near)]
    assert {one.kind for one in found} >= {"short neighbour", "short other", "long more other"}
    own = {row.key.hex(): row.texts for row in made}
    for one in found:
        assert one.text in own[one.image].values()
        if one.kind.endswith("other"):
            variant = one.kind.partition(" ")[0]
            assert one.other_text in {texts[variant] for texts in own.values()}
            texts = (own[one.image]["short"], one.other_text)
            assert variant != "short" or not set(texts[0].split()) & set(texts[1].split())


def scores(better, worse):
    return Scores(
        {"a": (np.array(better, float), np.array(worse, float)), "b": (np.ones(2), np.zeros(2))},
        {"a": np.arange(len(better)), "b": np.arange(2)},
    )


def test_figures_by_hand():
    one = scores([3, 1, 2, 2], [2, 2, 2, 0])
    assert one.accuracy(["a"]) == 2.5 / 4
    assert one.accuracy(["a", "b"]) == (2.5 / 4 + 1) / 2
    assert one.pooled(["a", "b"]) == 4.5 / 6
    # 3 beats all four; 1 beats 0; each 2 beats 0 and equals three.
    assert one.auc(["a"]) == pytest.approx((4 + 1 + 2 * 2.5) / 16)
    assert one.auc(["a"], np.array([1, 0, 0, 0])) == 1
    assert one.auc(["a"], np.array([0, 2, 1, 0])) == pytest.approx((0 + 0 + 3 * 0.5) / 9)


def test_a_gain_has_an_interval_around_it():
    dice = np.random.default_rng(0)
    better, worse = dice.standard_normal((2, 200))
    one, other = scores(better + 1, worse), scores(better, worse)
    value, low, high = gain(one, other, ["a"])
    assert value == one.accuracy(["a"]) - other.accuracy(["a"])
    assert 0 < low < value < high
    assert gain(one, one, ["a"], "auc") == (0, 0, 0)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of small pictures, each its own concept, under the shipped heads."""
    maker, lessons = drawings(tmp_path_factory.mktemp("drawings"))
    train, held_out = maker.learnt_from(lessons, embedded.read_heads())
    return SimpleNamespace(maker=maker, lessons=lessons, train=train, held_out=held_out)


@pytest.mark.slow
def test_what_is_learnt_from_and_what_stops_are_other_drawings_in_other_frames(tables):
    both = tables.maker.sides(tables.lessons)
    places = [{row.place for row in side} for side in both]
    assert not places[0] & places[1]
    assert places[0] | places[1] == set(range(COUNT))
    assert len(places[0]) > len(places[1]) > 0
    sides = zip(both, (LEARNT_FRAMES, TESTED_FRAMES), strict=True)
    for rows_, frames in sides:
        starts = tuple({frame.partition("{}")[0] for frame in frames} - {""})
        framed = [r.texts["long"] for r in rows_ if r.texts["long"].startswith(starts)]
        assert framed


@pytest.mark.slow
def test_numbers_of_pairs_are_those_of_the_scorer(tables):
    train, head = tables.train, read_head(SHIPPED)
    assert train.numbers is not None
    assert train.numbers.parts == head.parts
    rows_ = tables.maker.sides(tables.lessons)[0]
    drawn = tables.maker.drawn(rows_, embedded.read_heads())
    place_of = {row.key.hex(): row.place for row in rows_}
    keys = sorted(place_of)
    images, texts = train.better[:40].T
    _, found = train.numbers.rows(images, texts)
    paths = [tables.maker.data / f"{place_of[keys[n]]}.png" for n in images]
    said = [drawn.texts[n] for n in texts]
    pixels = [np.asarray(Image.open(path)) for path in paths]
    own, is_read = reward_tokens.tokens_of(ClipScore(), pixels, said, train.numbers.others.words)
    assert is_read.all()
    assert found[:, -reward_tokens.OF_TOKENS :].numpy() == pytest.approx(own, abs=2e-3)


@pytest.mark.slow
def test_the_file_of_a_head_says_what_the_head_says(tables, tmp_path):
    train = tables.train
    head = learning.taught(train, tables.held_out, EXCHANGED)
    torch.manual_seed(0)
    torch.nn.init.normal_(head.out.weight)  # noise has nothing to teach
    arrays = learning.arrays_of(head, train, train.numbers)
    path = tmp_path / "head.safetensors"
    path.write_bytes(learning.file_of(arrays, train.numbers, "digest"))
    read = read_head(str(path))
    side = train.better[:50]
    _, numbers = train.numbers.rows(*side.T)
    tokens = numbers[:, -reward_tokens.OF_TOKENS :].numpy()
    found = read.scores(train.images[side[:, 0]], train.texts[side[:, 1]], tokens)[:, 0]
    with torch.no_grad():
        plain = head(*train.inputs(side)).numpy()[:, 0]
    shift = plain - found
    assert shift == pytest.approx(np.full(50, shift.mean()), abs=1e-2)
    assert np.std(found) > 0.5
    assert read.encoder_digest == "digest"


@pytest.mark.slow
def test_blind_tables_have_the_same_captions_beside_pictures_dealt_out(tables):
    rows_ = tables.maker.sides(tables.lessons)[0]
    drawn = tables.maker.drawn(rows_, embedded.read_heads())
    blind = dealt(drawn)
    assert (blind.table.better == drawn.table.better).all()
    assert blind.texts == drawn.texts
    same = [np.array_equal(a, b) for a, b in zip(blind.patches, drawn.patches, strict=True)]
    assert sum(same) < len(same) / 4
    assert sorted(p.tobytes() for p in blind.patches) == sorted(p.tobytes() for p in drawn.patches)
