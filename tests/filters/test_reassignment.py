"""Reassignment finds a planted permutation, equals a plain loop, and counts what comes where."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters import reassignment
from filters.reassignment import Reassignment, assigned, nearest
from tests.filters.embedded_rows import directions, table


def rows_of(seen: Any, read: Any, **others: Any) -> pa.Table:
    captions = others.pop("caption", [f"caption {n}" for n in range(len(seen))])
    return table(clip_image=seen, clip_text=read, caption=captions, **others)


def reference(seen: Any, read: Any, said: Any, images: int, captions: int) -> list[tuple[int, Any]]:
    """The slow reference, after the steps of the paper's code."""
    found = []
    seen, read, said = (rows.astype(float) for rows in (seen, read, said))
    seen, read, said = (r / np.linalg.norm(r, axis=1, keepdims=True) for r in (seen, read, said))
    for caption in range(len(read)):
        near = sorted(range(len(seen)), key=lambda i: (-read[caption] @ seen[i], i))[:images]
        scores = []
        for image in near:
            voices = sorted(range(len(read)), key=lambda c, i=image: (-seen[i] @ read[c], c))
            scores.append(max(said[caption] @ said[voice] for voice in voices[:captions]))
        best = max(range(len(near)), key=lambda place: (round(scores[place], 6), -place))
        found.append((near[best], scores[best]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("images", "captions"), [(1, 1), (4, 2), (15, 3), (99, 99)])
def test_equals_the_reference(images: int, captions: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(reassignment, "_BLOCK", 7)
    seen, read, said = directions(40), directions(40, seed=1), directions(40, 24, seed=2)
    to, scores = assigned(seen, read, said, images, captions)
    expected = reference(seen, read, said, images, captions)
    assert scores == pytest.approx([score for _, score in expected], abs=1e-5)
    assert to.tolist() == [image for image, _ in expected]


def test_a_permutation_is_recovered() -> None:
    """Image j shows what caption p(j) says: each caption goes there with a score of 1."""
    permutation = [2, 0, 3, 1]
    read = np.eye(4, dtype=np.float16)
    rows = rows_of(read[permutation], read)
    keys = rows["key"].to_pylist()
    found = Reassignment().reduce(rows)
    shown = np.array(rows["clip_image"].to_pylist()).argmax(axis=1).tolist()
    said = np.array(rows["clip_text"].to_pylist()).argmax(axis=1).tolist()
    for place, what in enumerate(shown):
        source = said.index(what)
        assert found["reassigned_from"][place].as_py() == keys[source]
        assert found["reassigned_caption"][place].as_py() == rows["caption"][source].as_py()
        assert found["reassigned_to"][source].as_py() == keys[place]
    assert found["reassigned_score"].to_pylist() == pytest.approx([1.0] * 4)
    assert found["reassigned_count"].to_pylist() == [1] * 4


def test_many_captions_may_come_to_one_image() -> None:
    seen = np.eye(3, dtype=np.float16)
    read = seen[[0, 0, 0]]  # all speak of the first thing
    rows = rows_of(seen, read)
    found = Reassignment(images=1).reduce(rows)
    shows = np.array(rows["clip_image"].to_pylist()).argmax(axis=1).tolist()
    count = found["reassigned_count"].to_pylist()
    assert sorted(zip(shows, count, strict=True)) == [(0, 3), (1, 0), (2, 0)]
    place = shows.index(0)
    assert found["reassigned_from"][place].as_py() == rows["key"][0].as_py()  # the smallest key
    assert found["reassigned_caption"].null_count == found["reassigned_score"].null_count == 2


def test_every_caption_goes_somewhere_once() -> None:
    rows = rows_of(directions(200), directions(200, seed=1))
    found = Reassignment().reduce(rows)
    assert sum(found["reassigned_count"].to_pylist()) == 200
    assert found["reassigned_to"].null_count == 0
    went = found["reassigned_to"].to_pylist()
    for key, source in zip(
        rows["key"].to_pylist(), found["reassigned_from"].to_pylist(), strict=True
    ):
        if source is not None:
            assert went[rows["key"].to_pylist().index(source)] == key


def test_rows_that_lack_something_take_no_part() -> None:
    whole = rows_of(directions(30), directions(30, seed=1))
    expected = Reassignment().reduce(whole.slice(0, 25)).to_pylist()
    columns = {name: whole[name].to_pylist() for name in whole.column_names}
    for place in range(25, 30):
        columns[("clip_image", "clip_text", "caption")[place % 3]][place] = None
    holed = pa.table(columns, schema=whole.schema)
    found = Reassignment().reduce(holed).to_pylist()
    assert found[:25] == expected
    assert all(value is None for row in found[25:] for value in row.values())


def test_nearest_breaks_ties_by_place(monkeypatch: Any) -> None:
    monkeypatch.setattr(reassignment, "_BLOCK", 3)
    pool = directions(1)[[0] * 10]
    assert nearest(pool[:2], pool, 4).tolist() == [[0, 1, 2, 3]] * 2
    assert nearest(pool[:1], pool[:2], 4).tolist() == [[0, 1]]


@pytest.mark.parametrize("block", [1, 5, 1024])
def test_blocks_make_no_difference(block: int, monkeypatch: Any) -> None:
    rows = rows_of(directions(60), directions(60, seed=1))
    expected = Reassignment().reduce(rows)
    monkeypatch.setattr(reassignment, "_BLOCK", block)
    assert Reassignment().reduce(rows).equals(expected)


def test_other_vectors_for_sentences() -> None:
    scorer = Reassignment(sentences="sentence")
    assert scorer.reads == ("clip_image", "clip_text", "sentence", "caption")
    rows = rows_of(directions(20), directions(20, seed=1), sentence=directions(20, 8, seed=2))
    assert scorer.reduce(rows) != Reassignment().reduce(rows)


def test_empty_and_refused() -> None:
    rows = rows_of(directions(3), directions(3, seed=1))
    assert Reassignment().reduce(rows.slice(3)).schema == Reassignment.writes
    assert len(Reassignment().reduce(rows.slice(3))) == 0
    assert Reassignment().reduce(rows.slice(2))["reassigned_count"].to_pylist() == [1]
    with pytest.raises(
        ValueError, match=r"3 captions and images to compare \(limit most_rows: 2\)"
    ):
        Reassignment(most_rows=2).reduce(rows)
    with pytest.raises(ValueError, match="images 0 and captions 2 must be above 0"):
        Reassignment(images=0)
