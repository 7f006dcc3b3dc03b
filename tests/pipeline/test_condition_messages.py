"""What a person reads about a condition that is no expression."""

import pyarrow as pa
import pytest

from pipeline.conditions import check_condition
from pipeline.errors import RecipeError

COLUMNS = {"width": pa.int32(), "language": pa.string()}
ONE = "must be one expression and nothing else, such as width >= 256"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("true; attach 'x'", f"more than one statement; {ONE}"),
        ("true; select 1", f"more than one statement; {ONE}"),
        ("true; create table t (a int)", f"more than one statement; {ONE}"),
        ("where width > 3", ONE),
        ("width > 3 limit 1", ONE),
        ("", "condition '': is empty"),
        ("width > 3 and", ONE),
        ("group > 3", "is written in double quotes"),
        ('language = "en"', "unknown column 'en'"),
        ('language = "en"', "a text is written 'en', in single quotes"),
        ("width => 3", "the operator => (did you mean >=?)"),
        ("width === 3", "(did you mean =?)"),
        ("width > 3 /* wide\n", "unterminated /* comment"),
    ],
)
def test_the_problem_is_said_in_words_in_one_line(text, message):
    with pytest.raises(RecipeError) as error:
        check_condition(text, COLUMNS)
    assert message in str(error.value)
    assert "Only SELECT statements" not in str(error.value)
    assert "\n" not in str(error.value)
