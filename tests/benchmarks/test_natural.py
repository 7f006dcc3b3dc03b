"""The natural pairs: what is found beside pictures, which pairs are drawn, and the figures."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.natural import drawing, figures, pages, sheets, table
from benchmarks.natural.packages import PACKAGES, Package
from benchmarks.natural.pages import Pair

# --- agreement and intervals ----------------------------------------------------------------


def test_kappa_by_hand():
    # 20 and 15 agree of 50; chance: .5 * .6 + .5 * .4 = .5; (.7 - .5) / (1 - .5) = .4
    one = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    other = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert figures.kappa(one, other, 2) == pytest.approx(0.4)


def test_weighted_kappa_by_hand():
    # Pairs (0,0), (1,2), (2,2), (2,1): observed steps 0 + 1 + 0 + 1 = 2.
    # Expected |i - j|, rows (1, 1, 2) and columns (1, 1, 2) of 4: (1 + 4 + 1 + 2 + 4 + 2) / 4 = 3.5
    one, other = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    assert figures.kappa(one, other, 3, weighted=True) == pytest.approx(1 - 2 / 3.5)
    # Unweighted: 2 agree of 4; by chance (1 + 1 + 4) / 16 = 6 / 16; (8 - 6) / (16 - 6)
    assert figures.kappa(one, other, 3) == pytest.approx(0.2)


def test_kappa_of_far_verdicts_is_lower_only_when_weighted():
    one = np.array([0, 0, 1, 1, 2, 2])
    near, far = np.array([0, 1, 1, 1, 2, 2]), np.array([0, 2, 1, 1, 2, 2])
    assert figures.kappa(one, far, 3, True) < figures.kappa(one, near, 3, True)


def test_kappa_ends():
    verdicts = np.array([0, 1, 2, 0])
    assert figures.kappa(verdicts, verdicts, 3) == 1.0
    assert figures.kappa(np.array([0, 1]), np.array([1, 0]), 3) == -1.0
    assert math.isnan(figures.kappa(np.array([2, 2]), np.array([2, 2]), 3))


def test_wilson_by_hand():
    # 8 of 10: (.8 + .19207) / 1.38415 -+ 1.95996 * sqrt(.016 + .0096036) / 1.38415
    found = figures.wilson(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.8, 0.490162, 0.943318), abs=1e-6
    )


def test_wilson_stays_within_bounds_at_the_ends():
    # 0 of n: from 0 to z^2 / (n + z^2)
    none, every = figures.wilson(0, 5), figures.wilson(5, 5)
    assert (none.low, none.high) == pytest.approx((0, 3.841459 / 8.841459), abs=1e-6)
    assert (every.low, every.high) == pytest.approx((5 / 8.841459, 1), abs=1e-6)
    with pytest.raises(ValueError, match="nothing"):
        figures.wilson(0, 0)


def test_auc_counts_ties_for_half_and_null_last():
    scores = np.array([0.5, -np.inf, 0.5, 0.1])
    # Good .5 against .5 and .1: 1.5 of 2. Good -inf: none of 2.
    assert figures.auc(scores, np.array([True, True, False, False])) == pytest.approx(1.5 / 4)
    assert math.isnan(figures.auc(scores, np.ones(4, bool)))


def test_draws_without_one_kind_of_row_do_not_count():
    scores, is_good = np.array([3.0, 1.0, 2.0]), np.array([True, False, False])
    found = figures.drawn_again(lambda rows: figures.auc(scores[rows], is_good[rows]), 3)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


# --- what is found --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<img src="a.png" alt=" two\n words ">', [("a.png", "two words")]),
        ('<img src="a.png" alt="" title="said">', [("a.png", "said")]),
        ('<img src="a.png"><p class="big caption">Its <b>text</b></p>', [("a.png", "Its text")]),
        ("<figure><img src=a.png><figcaption>it</figcaption></figure>", [("a.png", "it")]),
        ('<img src="a.png"><img src="b.png"><p class="caption">c</p>', [("b.png", "c")]),
        ('<img src="a.png" alt="x"><p class="caption">c</p>', [("a.png", "x")]),
        ('<img src="a.png"><p>not a caption</p>', []),
        ('<img alt="&quot;q&quot;" src="a.png"/>', [("a.png", '"q"')]),
    ],
)
def test_the_text_of_a_picture_on_a_page(html, found):
    assert pages.page_texts(html) == found


@pytest.mark.parametrize(
    ("name", "words"),
    [("rainDrops_2", "rain Drops 2"), ("DSC_0012", "DSC 0012"), ("a--b.c", "a b c")],
)
def test_a_name_becomes_words(name, words):
    assert pages.name_words(name) == words


def put(path: Path, side: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side + 20), "red").save(path)


def test_pairs_of_a_package(tmp_path, monkeypatch):
    known = {
        "doc": Package("x", pages="html", names=("pics/*",)),
        "wall": Package("x", names=("w/*/*/*/*",), by_folder=True),
    }
    monkeypatch.setattr(pages, "PACKAGES", known)
    put(tmp_path / "doc/html/a b.png")
    put(tmp_path / "doc/html/icon.png", side=63)
    put(tmp_path / "doc/pics/oneFish.png")
    put(tmp_path / "doc/pics/--.png")
    put(tmp_path / "wall/w/Dune/contents/images/640x480.jpg")
    put(tmp_path / "secret.png")
    page = '<img src="a%20b.png?x" alt="fish"><img src="icon.png" alt="small">'
    page += '<img src="../../secret.png" alt="out"><img src="gone.png" alt="gone">'
    page += f'<img src="a%20b.png" alt="again"><img src="../pics/oneFish.png" alt="{"n" * 201}">'
    (tmp_path / "doc/html/index.html").write_text(page)
    assert pages.collect(tmp_path) == [
        Pair("name", "doc", "doc/pics/oneFish.png", "one Fish"),
        Pair("name", "wall", "wall/w/Dune/contents/images/640x480.jpg", "Dune"),
        Pair("page", "doc", "doc/html/a b.png", "fish"),
    ]


def test_every_package_names_its_licence_and_has_something():
    for package in PACKAGES.values():
        assert package.licence
        assert package.pages or package.names


# --- the draw -------------------------------------------------------------------------------


def made(count: int) -> list[Pair]:
    """Pairs of two origins and three packages, each with a text of its own."""
    origins = ("page", "name")
    return [
        Pair(origins[n % 2], f"p{n % 3}", f"p{n % 3}/{n}.png", f"text {n}") for n in range(count)
    ]


def apart(count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)


def test_the_pool_depends_on_content_and_seed_alone():
    pairs = made(60)
    pool = drawing.make_pool(pairs, frozenset(), 0, 5)
    assert pool == drawing.make_pool(pairs[::-1], frozenset(), 0, 5)
    assert pool != drawing.make_pool(pairs, frozenset(), 1, 5)
    assert len(pool) == 2 * 3 * 5


def test_learnt_texts_are_left_out_however_they_are_spelt():
    pairs = [Pair("name", "p", "p/1.png", "The Red Fox."), Pair("name", "p", "p/2.png", "owl")]
    assert drawing.make_pool(pairs, frozenset(["red fox"]), 0, 5) == pairs[1:]


def test_the_sample_has_limits_by_origin_and_package():
    pool = made(60)
    sizes = drawing.Sizes(sample={"page": 4, "name": 2}, origin=5)
    chosen = [pool[n] for n in drawing.make_sample(pool, apart(60), np.zeros((1, 60)), sizes)]
    assert [sum(p.origin == o for p in chosen) for o in ("page", "name")] == [5, 5]
    assert all(
        sum((p.package, p.origin) == (name, origin) for p in chosen) <= most
        for name in ("p0", "p1", "p2")
        for origin, most in (("page", 4), ("name", 2))
    )


def test_no_text_twice_no_similar_picture_and_none_that_was_learnt():
    pool = made(6)
    pool[1] = Pair("name", "p9", "p9/1.png", "Text 0")
    features = apart(6)
    features[3] = drawing.unit(features[[2]] + 0.1 * features[[3]])[0]  # cosine .995 with 2
    features[4] = drawing.unit(features[[2]] + features[[4]])[0]  # .71
    learnt = features[[5]]
    assert drawing.make_sample(pool, features, learnt) == [0, 2, 4]


def test_the_order_of_sheets_is_another_than_that_of_the_draw():
    pool = drawing.make_pool(made(60), frozenset(), 0, 60)
    shown = drawing.in_sheet_order(pool, 0)
    assert shown == drawing.in_sheet_order(pool[::-1], 0)
    assert shown != pool
    assert sorted(shown, key=drawing.key_of) == sorted(pool, key=drawing.key_of)


def test_pairs_survive_their_file(tmp_path):
    pairs = [Pair("page", "p", "p/ä, b.png", 'says "x",\nnot y'), *made(3)]
    drawing.write_pairs(tmp_path / "pairs.csv", pairs)
    assert drawing.read_pairs(tmp_path / "pairs.csv") == pairs


# --- sheets, labels and truth ---------------------------------------------------------------


def test_sheets_and_form(tmp_path):
    pairs = made(12)
    for pair in pairs:
        put(tmp_path / pair.path)
    assert sheets.write_sheets(tmp_path / "out", tmp_path, pairs) == 2
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["labels.csv", "sheet-01.png", "sheet-02.png"]
    form = (tmp_path / "out/labels.csv").read_text().splitlines()
    assert form == ["number,verdict", *(f"{n}," for n in range(1, 13))]
    with Image.open(tmp_path / "out/sheet-01.png") as sheet:
        red = (np.asarray(sheet) == (255, 0, 0)).all(axis=2).sum()
    assert red == pytest.approx(10 * 256 * 205, rel=0.01)


@pytest.mark.parametrize("text", ["W" * 200, "mm " * 66 + "mm"])
def test_the_longest_text_fits_beneath_its_picture(text):
    picture = np.full((256, 256, 3), 255, np.uint8)
    ink = np.asarray(sheets.sheet([picture], [text], 1)).min(axis=2) < 128
    bottom, right = ink[300:, 2:298].any(axis=1), ink[2:-2, :299].any(axis=0)
    assert bottom[10:30].any()
    assert not bottom[-12:-2].any()
    assert not right[-8:].any()


def test_labels_of_all_pairs_are_read_in_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("number,verdict\n2,1\n1,0\n3, 2\n")
    assert sheets.read_labels(path, 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rows", "match"),
    [("1,0\n2,1\n", "1 to 3"), ("1,0\n2,\n3,4\n", r"\[2, 3\]"), ("1,0\n1,0\n", "twice")],
)
def test_labels_must_be_whole(tmp_path, rows, match):
    path = tmp_path / "a.csv"
    path.write_text("number,verdict\n" + rows)
    with pytest.raises(ValueError, match=match):
        sheets.read_labels(path, 3)


def test_truth_is_what_both_say():
    one, other = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 2, 1, 2, 2, 0])
    strict, lenient = table.readings(one, other).values()
    assert strict.tolist() == [0, -1, -1, -1, 1, -1]
    assert lenient.tolist() == [0, -1, 1, 1, 1, -1]


def test_the_part_of_scores_shows_auc_and_precision():
    truth = np.array([1] * 7 + [0] * 3 + [-1])
    perfect = np.arange(11, 0, -1.0)
    shown = table.scores_part("title", {"cosine": perfect, "other": -perfect}, truth).splitlines()
    assert shown[0] == "title: 7 good, 3 bad"
    assert "| cosine | 1.000 (1.000 to 1.000) |  | 1.000 (0.646 to 1.000) |" in shown
    assert shown[-1].startswith(
        "| other | 0.000 (0.000 to 0.000) | -1.0000 (-1.0000 to -1.0000) | 0.571"
    )


def test_nothing_is_measured_without_both_kinds():
    shown = table.scores_part("title", {"cosine": np.ones(2)}, np.array([1, 1]))
    assert shown == "title: 2 good, 0 bad; nothing to measure"
