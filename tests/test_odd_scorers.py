"""Scorers of users that break promises, and columns whose names need care."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from tests.commands import done, pairmill
from tests.conftest import write_pair
from tests.pictures import jpeg

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Odd:
    """Writes columns whose names need care, and long texts; fails for one caption."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema(
        [("group", pa.int32()), ('a "b" c', pa.float32()), ("it's <b>", pa.string())]
    )

    def __call__(self, batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        if "picture 1" in batch["caption"]:
            raise ValueError("\x1b[31mnot this one\x1b[0m")
        count = len(batch["caption"])
        return {"group": [1] * count, 'a "b" c': [0.5] * count, "it's <b>": ["x" * 100_000] * count}


@dataclass(frozen=True)
class Whole:
    """Looks at all rows, and answers as `answer` says."""

    answer: str = "well"
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("whole", pa.float64())])
    gathers_by: ClassVar[str | None] = None

    def reduce(self, rows: pa.Table) -> Any:
        answers: dict[str, Any] = {
            "short": pa.table({"whole": [1.0]}),
            "other": pa.table({"other": [1.0] * len(rows)}),
            "nothing": None,
            "nan": pa.table({"whole": [float("nan")] * len(rows)}),
        }
        return answers[self.answer]


SCORED = """\
sources: {photos: {folder: photos/}}
score:
  odd: {scorer: "tests.test_odd_scorers:Odd"}
  image: {only: odd_error is null and "group" = 1}
select:
  - sound: {where: odd_error is null}
  - best:  {top: 'a "b" c', fraction: 1.0, per: group}
  - named: {where: '"it''s <b>" like ''x%'' and "a ""b"" c" < 1'}
export: {json: ["it's <b>", odd_error, 'a "b" c']}
"""


@pytest.fixture
def three(tmp_path):
    for number in range(3):
        write_pair(tmp_path / "photos", f"{number}", jpeg(number), f"picture {number}")
    return tmp_path


def test_columns_may_have_any_name_and_reasons_are_columns_too(three):
    (three / "recipe.yaml").write_text(SCORED)
    text = done("build", three / "recipe.yaml", "--out", three / "out")
    assert "2 samples" in text
    done("verify", "--out", three / "out")
    story = done("explain", "1.jpg", "--out", three / "out")
    assert "dropped by sound" in story
    assert "\\x1b[31mnot this one" in story
    assert "width=NULL" in story
    page = (three / "out" / "report.html").read_text()
    assert "it's <b>" not in page


def test_forty_scorers_in_one_pass_have_a_ledger(three):
    scorers = "".join(
        f"  mine_{n}: {{scorer: '{__name__}:Odd', columns: {{group: g{n}, 'a \"b\" c': a{n},"
        f' "it\'s <b>": i{n}}}}}\n'
        for n in range(40)
    )
    (three / "recipe.yaml").write_text(f"sources: {{p: {{folder: photos/}}}}\nscore:\n{scorers}")
    done("ingest", three / "recipe.yaml", "--out", three / "out")
    done("score", three / "recipe.yaml", "--out", three / "out")
    assert len(list((three / "out" / "columns").iterdir())) == 40


ANSWERS = {
    "short": "returned 1 rows for 3",
    "other": "returned no column 'whole'",
    "nothing": "returned NoneType, expected a table",
    "nan": "holds NaN or infinity",
    "unheard of": "KeyError: 'unheard of'",
}


def test_a_global_scorer_that_breaks_its_promise_writes_nothing(three):
    for answer, message in ANSWERS.items():
        scorer = f"{{scorer: '{__name__}:Whole', answer: {answer}}}"
        recipe = f"sources: {{p: {{folder: photos/}}}}\nscore: {{whole: {scorer}}}\n"
        (three / "recipe.yaml").write_text(recipe)
        done("ingest", three / "recipe.yaml", "--out", three / "out")
        code, text = pairmill("score", three / "recipe.yaml", "--out", three / "out")
        assert code == 1
        assert message in text
        assert not list((three / "out" / "columns").rglob("*.parquet"))
