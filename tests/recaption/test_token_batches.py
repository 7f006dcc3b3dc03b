"""Texts in batches of fixed shapes, and what is read of them."""

from recaption.token_batches import by_length, readable


def test_batches_hold_each_text_once_in_a_shape_of_its_length():
    counts = [3, 8, 9, 600, 0, 512, *[8] * 70]
    found = list(by_length(counts, (8, 16, 512), "cpu"))
    assert [len(places) for places, _ in found] == [64, 8, 1, 1]
    assert [shape for _, shape in found] == [(64, 8), (64, 8), (32, 16), (1, 512)]
    places = [place for some, _ in found for place in some]
    assert sorted(places) == sorted({*range(len(counts))} - {3, 4})
    assert list(by_length([], (8,), "cuda")) == []


def test_a_text_is_read_in_one_line_and_not_without_end():
    assert readable(" a\0b\n c\ud800 ") == ("a b c?", False)
    text, has_more = readable("a" * 9999)
    assert (len(text), has_more) == (4000, True)
