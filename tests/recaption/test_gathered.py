"""All captions of an image: those of every row with its bytes, in every language, told once."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.large import large
from recaption.captions import CAPTION, Caption
from recaption.gathered import GatheredCaptions
from tests.commands import done
from tests.conftest import write_pair
from tests.outputs import exported
from tests.pictures import jpeg

SCHEMA = pa.schema(
    {
        "key": pa.binary(16),
        "image_sha256": pa.binary(32),
        "captions": pa.list_(CAPTION),
        "tongue": pa.string(),
    }
)
# The number of an image, captions as text and language, and the language of the row.
Row = tuple[int | None, list[tuple[str | None, str | None] | None] | None, str | None]


def table(rows: list[Row]) -> pa.Table:
    columns: list[list[Any]] = [[], [], [], []]
    for number, (image, captions, tongue) in enumerate(rows):
        told: list[Any] | None = captions and [
            None if one is None else Caption("", language=one[1]).row | {"text": one[0]}
            for one in captions
        ]
        digest = None if image is None else bytes([image]) * 32
        values = number.to_bytes(16, "big"), digest, told, tongue
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return large(pa.table(columns, schema=SCHEMA))


def gathered(rows: list[Row], **options: Any) -> list[list[tuple[str, str | None]] | None]:
    found = GatheredCaptions(**options).reduce(table(rows))
    found.validate(full=True)
    return [
        None if row is None else [(one["text"], one["language"]) for one in row]
        for row in found["captions"].to_pylist()
    ]


def reference(rows: list[Row], language: str | None, most: int) -> list[Any]:
    """The slow reference."""
    found: dict[int, list[tuple[str, str | None]]] = {}
    for image, captions, tongue in rows:
        if image is None:
            continue
        told = found.setdefault(image, [])
        for text, own in (one for one in captions or [] if one is not None):
            pair = text, own if own is not None or language is None else tongue
            if text is None or pair in told:
                continue
            if sum(other == pair[1] for _, other in told) < most:
                told.append((text, pair[1]))
    return [None if image is None else found[image] for image, _, _ in rows]


TONGUES = st.sampled_from([None, "en", "es"])
CAPTIONS = st.one_of(st.none(), st.tuples(st.sampled_from([None, "a", "b", "", "猫"]), TONGUES))
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 2)),
        st.one_of(st.none(), st.lists(CAPTIONS, max_size=3)),
        TONGUES,
    ),
    max_size=15,
)


@given(ROWS, st.sampled_from([None, "tongue"]), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_agrees_with_the_reference(rows: list[Row], language: str | None, most: int) -> None:
    assert gathered(rows, language=language, most=most) == reference(rows, language, most)


@given(ROWS, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_parts_that_meet_by_key_are_like_the_whole(rows: list[Row], parts: int) -> None:
    scorer, whole = GatheredCaptions("tongue"), table(rows)
    keys = scorer.gather_key(whole)
    assert keys.type == pa.uint64()
    part = [-1 if key is None else key % parts for key in keys.to_pylist()]
    found: dict[bytes, Any] = {}
    for number in range(-1, parts):
        some = whole.filter(pa.array([at == number for at in part], pa.bool_()))
        found |= dict(zip(some["key"].to_pylist(), scorer.reduce(some).to_pylist(), strict=True))
    assert [found[key] for key in whole["key"].to_pylist()] == scorer.reduce(whole).to_pylist()


def test_a_caption_stays_as_it_is_but_for_its_language() -> None:
    row = Caption("a", kind="region", box=(0, 0, 0.5, 1), model="m@1", flags=("cut",)).row
    rows = pa.table(
        [[b"k" * 16], [b"i" * 32], [[row]], ["es"]], schema=SCHEMA
    )  # fmt: skip
    found = GatheredCaptions("tongue").reduce(large(rows))
    assert found["captions"].to_pylist() == [[{**row, "language": "es"}]]


def test_columns_in_pieces_are_read_as_one() -> None:
    rows: list[Row] = [(0, [("a", None)], "en"), (0, [("b", None)], "es")]
    whole = pa.concat_tables([table(rows[:1]), table(rows)[1:]])
    found = GatheredCaptions("tongue").reduce(whole)["captions"].to_pylist()
    assert [[one["text"] for one in row] for row in found] == [["a", "b"]] * 2


def test_at_least_one_caption_is_wanted() -> None:
    with pytest.raises(ValueError, match="most is 1 or more, got 0"):
        GatheredCaptions(most=0)


RECIPE = """\
sources:
  en: {folder: en}
  es: {folder: es}
score:
  gathered: {language: source}
select:
  - first: {where: source = 'en'}
captions: {txt: caption, json: [gathered], files: {es: {from: gathered, language: es}}}
export: {seed: 0}
"""


def test_an_image_of_two_sources_is_written_with_the_texts_of_both(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path / "en", f"e{number}", jpeg(number), f"figure {number}")
    for number in range(1, 4):
        write_pair(tmp_path / "es", f"s{number}", jpeg(number), f"figura {number}")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done("build", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    found = exported(tmp_path / "out")
    assert {name: parts["es.txt"] for name, parts in found.items()} == {
        "e0.jpg": b"", "e1.jpg": b"figura 1", "e2.jpg": b"figura 2",
    }  # fmt: skip
