"""What a scorer of the pool may look like, as far as its gather key goes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from filters.duplicates import Duplicates
from filters.frequency import Frequency
from pipeline.contract import interface


@dataclass(frozen=True)
class Plain:
    """Measures samples one by one."""

    gather_key: Any = None
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("n", pa.int32())])

    def __call__(self, batch: Any) -> Any:
        return batch


@dataclass(frozen=True)
class Whole(Plain):
    """Looks at a pool."""

    def reduce(self, rows: pa.Table) -> pa.Table:
        return rows


@pytest.mark.parametrize(
    "scorer", [Plain(), Whole(), Whole(gather_key=len), Frequency(), Duplicates()]
)
def test_a_gather_key_is_a_method_or_nothing(scorer: Any) -> None:
    assert interface(scorer) == (tuple(scorer.reads), scorer.writes)


@pytest.mark.parametrize("scorer", [Plain(gather_key=len), Whole(gather_key="caption")])
def test_any_other_gather_key_is_refused(scorer: Any) -> None:
    with pytest.raises(ValueError, match="`gather_key` must be a method, of a scorer with"):
        interface(scorer)
