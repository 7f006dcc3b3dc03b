import pytest

from pipeline.contract import Partly as Theirs
from recaption import captions
from recaption.captions import Caption
from recaption.partly import Partly, settled

ROWS = captions.rows([Caption("A dog")])


class Later(Exception):
    retriable = True


def test_what_failed_beside_others_leaves_its_reason():
    found = settled(ROWS, [("es", ValueError("no")), ("ca", OSError("gone"))])
    assert isinstance(found, Partly)
    assert str(found) == "ValueError: es (and 1 more): no"
    assert found.kept == {"captions": ROWS}


@pytest.mark.parametrize(
    ("rows", "failed"),
    [(ROWS, [("es", ValueError("no")), ("ca", Later("soon"))]), ([], [("es", Later("soon"))])],
)
def test_what_may_pass_is_the_whole_rows(rows, failed):
    assert isinstance(settled(rows, failed), Later)


def test_without_a_caption_the_reason_is_that_of_the_first():
    error = ValueError("no")
    assert settled([], [("es", error), ("ca", OSError("gone"))]) is error
    assert settled(ROWS, []) is ROWS
    assert settled([], []) == []


def test_the_harness_has_one_of_the_same_shape():
    assert vars(Theirs("no", {"a": 1})) == vars(Partly("no", {"a": 1})) == {"kept": {"a": 1}}
