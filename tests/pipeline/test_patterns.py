"""Patterns that stand for too much are refused before anything is listed."""

import pytest

from pipeline.errors import RecipeError
from pipeline.storage import expand


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{a,b}" * 2000, "has 2000 braces"),
        ("{" * 3000, "has 3000 braces"),
        ("{" + "9" * 5000 + "..3}.csv", "a number of more than 18 digits"),
        ("{0..99999999999}.csv", "more than 1,000,000 files"),
    ],
)
def test_a_pattern_of_too_many_names_is_refused(pattern, message):
    with pytest.raises(RecipeError, match=message) as error:
        expand(pattern)
    assert len(str(error.value)) < 300
