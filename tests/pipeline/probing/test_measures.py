"""Every measure beside a slow and plain reading of its definition."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.probes.drawn_pairs import pair_questions
from pipeline.probes.measures import ONE, TWO, binding, by_kind, chosen, counting, winoground
from pipeline.probes.questions import Answer, Question, choices, count, few

VALUES = st.sampled_from([None, 0.0, 0.25, 0.5, 1.0])


@dataclass(frozen=True)
class Named:
    name: str

    def read(self) -> bytes:
        raise AssertionError("a measure looks at no picture")


A, B = Named("a"), Named("b")


def question(options: int, right: int = 0, **more: object) -> Question:
    return Question(tuple((A, str(n)) for n in range(options)), right, **more)  # type: ignore[arg-type]


def item(name: str, s00: float | None, s01: float | None, s10: float | None, s11: float | None):
    """Scores of picture and caption: s01 is that of the first picture with the second caption."""
    scores = {("a", "0"): s00, ("a", "1"): s01, ("b", "0"): s10, ("b", "1"): s11}
    questions = pair_questions(name, "kind", (A, "0"), (B, "1"))
    return [(q, Answer(tuple(scores[p.name, text] for p, text in q.pairs))) for q in questions]


def values(measured) -> dict[str, float | None]:
    return {figure.label: figure.value for figure in measured.figures}


@given(st.lists(st.tuples(*[VALUES] * 4), min_size=1, max_size=8))
def test_winoground_s_scores_are_those_of_the_paper(rows):
    asked = [one for n, row in enumerate(rows) for one in item(str(n), *row)]
    text, image, group = winoground(asked).figures
    whole = [row for row in rows if None not in row]
    is_text = [a > b and d > c for a, b, c, d in whole]
    is_image = [a > c and d > b for a, b, c, d in whole]
    assert (text.right, image.right) == (sum(is_text), sum(is_image))
    assert group.right == sum(t and i for t, i in zip(is_text, is_image, strict=True))
    assert text.n == len(whole) or any(None in row for row in rows)
    assert (group.n, group.unanswered) == (len(whole), len(rows) - len(whole))


def test_chance_is_what_scores_by_chance_get():
    found = [0, 0, 0]
    orders = [*permutations((1.0, 2.0, 3.0, 4.0))]
    for row in orders:
        for n, figure in enumerate(winoground(item("x", *row)).figures):
            found[n] += figure.right
    figures = winoground(item("x", *orders[0])).figures
    assert [n / len(orders) for n in found] == pytest.approx([f.chance for f in figures], abs=1e-6)


def test_a_tie_is_wrong_and_counted():
    text, image, group = winoground(item("x", 1, 1, 0, 1)).figures
    assert (text.right, text.ties, image.right, group.right) == (0, 1, 0, 0)
    assert count([(question(3), Answer((1.0, 1.0, 0.0)))]).ties == 1
    assert count([(question(3), Answer((0.0, 1.0, 1.0)))]).ties == 0


def test_what_has_no_value_is_not_wrong():
    counts = count([(question(2), Answer((1.0, None))), (question(2), Answer((1.0, 0.0)))])
    assert (counts.right, counts.n, counts.unanswered) == (1, 1, 1)


def test_kinds_stand_beside_all_of_them():
    asked = [
        (question(2, kind="x"), Answer((1.0, 0.0))),
        (question(4, kind="y"), Answer((0.0,) * 4)),
    ]
    assert values(chosen(asked)) == {"all": 0.5, "x": 1.0, "y": 0.0}
    assert [figure.chance for figure in chosen(asked).figures] == [0.375, 0.5, 0.25]
    assert [*values(by_kind(asked))] == ["x", "y"]


def test_counting_is_exact_near_and_a_table():
    said = [(1, 1), (2, 3), (3, 1), (3, None)]
    asked = []
    for true, best in said:
        scores = [0.0, 0.0, 0.0] if best is None else [float(n + 1 == best) for n in range(3)]
        asked.append((question(3, true - 1), Answer(tuple(scores))))
    asked.append((question(3, 0), Answer((None, 0.0, 0.0))))
    exact, near = counting(asked).figures
    assert (exact.right, near.right, exact.n, near.n) == (1, 2, 4, 4)
    assert (exact.unanswered, near.unanswered, near.ties) == (1, 1, 1)
    assert counting(asked).tables["confusion"] == [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]


def test_one_off_by_chance_is_counted_out():
    most = 10
    near = counting([(question(most), Answer((1.0,) + (0.0,) * 9))]).figures[1]
    pairs = [*product(range(most), repeat=2)]
    assert near.chance == pytest.approx(sum(abs(a - b) <= 1 for a, b in pairs) / len(pairs))


def bound(alone: tuple[float, ...], beside: tuple[float, ...], right: int, other: int):
    return [
        (question(len(scores), right, side=side, other=other), Answer(scores))
        for side, scores in ((ONE, alone), (TWO, beside))
    ]


def test_a_bag_of_concepts_has_all_the_bias_and_a_binder_none():
    bag = bound((1, 0, 0), (1, 1, 0), 0, 1) * 30
    binder = bound((1, 0, 0), (1, 0, 0), 0, 1) * 30
    assert values(binding(bag))["association bias"] == 1
    assert values(binding(binder)) == {
        "association bias": 0,
        "colour of a thing alone": 1,
        "colour of one of two things": 1,
        "colour of the other thing instead": 0,
    }


@given(st.permutations(range(4)), st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 8)))
def test_other_names_for_colours_change_nothing(order, rows):
    asked, renamed = [], []
    for n, row in enumerate(rows):
        right, other = n % 4, (n + 1) % 4
        asked += bound(row[:4], row[4:], right, other)
        mixed = [tuple(half[order.index(k)] for k in range(4)) for half in (row[:4], row[4:])]
        renamed += bound(*mixed, order[right], order[other])
    if rows:
        assert binding(asked) == binding(renamed)


def test_a_bias_without_sight_of_colours_says_so():
    blind = bound((0, 1, 0), (0, 1, 0), 0, 1) * 30
    assert binding(blind).figures[0].note
    assert not binding(bound((1, 0, 0), (0, 1, 0), 0, 1) * 30).figures[0].note


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, np.nan])] * 3), min_size=1), st.data())
def test_a_grid_counts_as_its_questions_do(rows, data):
    right = [data.draw(st.integers(0, 2)) for _ in rows]
    scores = np.array(rows, np.float64)
    asked = [
        (question(3, place), Answer(tuple(None if np.isnan(s) else s for s in row)))
        for row, place in zip(rows, right, strict=True)
    ]
    assert choices(scores, np.array(right)) == count(asked)


def test_one_class_is_always_right():
    assert choices(np.zeros((4, 1)), np.zeros(4, np.int64)).right == 4


@given(st.permutations(range(3)))
def test_the_order_of_classes_does_not_matter(order):
    scores = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.2, 0.9]])
    right = np.array([0, 1, 2])
    places = np.array([order.index(n) for n in range(3)])
    assert choices(scores[:, order], places[right]) == choices(scores, right)


def test_fewer_items_are_among_all_of_them():
    items = [*range(50)]
    assert few(items, None) == items
    assert set(few(items, 5)) <= set(few(items, 10))
    assert few(items, 10) == sorted(few(items, 10))
    assert few([], 3) == []
