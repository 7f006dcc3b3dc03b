"""A row with a reason beside values that it has all the same."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from pipeline.contract import Partly
from tests.pipeline.user_scorers import Length, column, recipe

LACKING = {"picture number 3 größe": "TimeoutError: es: 60 s", "a": "OSError: " + "x" * 900}


@dataclass(frozen=True)
class Halves(Length):
    """Has both halves of most rows, one of some."""

    writes: ClassVar[pa.Schema] = pa.schema(  # type: ignore[assignment]
        [("one", pa.list_(pa.int32())), ("other", pa.int32()), ("third", pa.int32())]
    )

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch["caption"]
        one = [
            Partly(LACKING[t], {"one": [len(t)], "other": 7}) if t in LACKING else [len(t), 2]
            for t in texts
        ]
        return {"one": one, "other": [1] * len(texts), "third": [3] * len(texts)}


def test_what_is_kept_stands_beside_the_reason(make_build):
    line = f"  mine: {{scorer: '{__name__}:Halves', columns: {{one: first}}}}\n"
    build = make_build(recipe(line), after="ingest")
    build.score()
    names = ("first", "other", "third", "mine_error")
    first, other, third, errors = (column(build, name) for name in names)
    assert (first["03.jpg"], other["03.jpg"], third["03.jpg"]) == ([22], 7, None)
    assert errors["03.jpg"] == "TimeoutError: es: 60 s"
    assert (first["04.jpg"], other["04.jpg"], errors["04.jpg"]) == ([22, 2], 1, None)
    said = build.record("score-mine", "00000")["stats"]["scorers"]["mine"]
    assert said["failed"]["TimeoutError"] == 1
    assert said["scored"] == sum(value is not None for value in first.values())
