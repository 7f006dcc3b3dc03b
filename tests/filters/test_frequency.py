"""Frequency: counts equal those of a dictionary, whole or in parts that meet by key."""

import subprocess
import sys
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.frequency import Frequency, fold_text

SCHEMA = pa.schema({"key": pa.binary(16), "caption": pa.string(), "image_sha256": pa.binary(32)})
Pair = tuple[str | None, int | None]  # caption, image
CASES = [Frequency(of, fold) for of in ("caption", "image") for fold in (True, False)]


def table(pairs: list[Pair]) -> pa.Table:
    images = [None if image is None else bytes([image]) * 32 for _, image in pairs]
    keys = [number.to_bytes(16, "big") for number in range(len(pairs))]
    return pa.table([keys, [caption for caption, _ in pairs], images], schema=SCHEMA)


def counts(pairs: list[Pair], of: Any = "caption", fold: bool = True) -> list[tuple[Any, Any]]:
    scorer = Frequency(of, fold)
    result = scorer.reduce(table(pairs))
    assert result.schema == scorer.writes
    result.validate(full=True)
    return list(zip(*(column.to_pylist() for column in result.columns), strict=True))


def reference(pairs: list[Pair], of: str, fold: bool) -> list[tuple[Any, Any]]:
    """The slow reference."""
    seen = [
        (folded(caption) if fold and caption is not None else caption, image)
        for caption, image in pairs
    ]
    if of == "image":
        seen = [(image, caption) for caption, image in seen]
    counted = []
    for one, _ in seen:
        partners = {other for same, other in seen if same == one and other is not None}
        rows = sum(same == one for same, _ in seen)
        known = len(partners) if partners or of == "image" else None
        counted.append((None, None) if one is None else (rows, known))
    return counted


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


PAIRS = st.lists(
    st.tuples(
        st.one_of(
            st.none(),
            st.text("aAß ſ\t\u00a0é\u0301e", max_size=3),
            st.sampled_from(["STRASSE", "straße", "ﬁn", "fin", "猫", "½", "1⁄2"]),
        ),
        st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=30,
)


@given(PAIRS, st.sampled_from(CASES))
@settings(max_examples=80, deadline=None)
def test_agrees_with_the_reference(pairs: list[Pair], scorer: Frequency) -> None:
    assert counts(pairs, scorer.of, scorer.fold) == reference(pairs, scorer.of, scorer.fold)
    backwards = counts(pairs[::-1], scorer.of, scorer.fold)
    assert backwards[::-1] == counts(pairs, scorer.of, scorer.fold)


@given(PAIRS, st.sampled_from(CASES), st.integers(1, 4))
@example([("a", 1), ("A", 2), (None, 1)], CASES[0], 2)
@settings(max_examples=50, deadline=None)
def test_parts_that_meet_by_key_count_like_the_whole(
    pairs: list[Pair], scorer: Frequency, parts: int
) -> None:
    rows = table(pairs)
    keys = scorer.gather_key(rows)
    assert keys.type == pa.uint64()
    part = [-1 if key is None else key % parts for key in keys.to_pylist()]
    found: dict[bytes, Any] = {}
    for number in range(-1, parts):
        some = rows.filter(pa.array([at == number for at in part], pa.bool_()))
        found |= dict(zip(some["key"].to_pylist(), scorer.reduce(some).to_pylist(), strict=True))
    assert [found[key] for key in rows["key"].to_pylist()] == scorer.reduce(rows).to_pylist()


def test_golden_of_captions() -> None:
    pairs = [("A  cat", 1), ("a cat", 2), ("a cat\n", 2), ("dog", None), (None, 1), ("Ünï 猫", 3)]
    assert counts(pairs) == [(3, 2), (3, 2), (3, 2), (1, None), (None, None), (1, 1)]
    exact = [(1, 1), (1, 1), (1, 1), (1, None), (None, None), (1, 1)]
    assert counts(pairs, fold=False) == exact


def test_golden_of_images() -> None:
    pairs = [("a", 1), ("A", 1), (None, 1), (None, 2), ("a", None)]
    assert counts(pairs, "image") == [(3, 1), (3, 1), (3, 1), (1, 0), (None, None)]
    assert counts(pairs, "image", fold=False) == [(3, 2), (3, 2), (3, 2), (1, 0), (None, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A \t B\u00a0C\n", "a b c"),
        ("STRASSE Straße", "strasse strasse"),
        ("ﬁne №5 Ｘ", "fine no5 x"),
        ("Å A\u030a", "å å"),
        ("", ""),
    ],
)
def test_folding(text: str, expected: str) -> None:
    assert fold_text(text) == expected


def test_an_empty_caption_is_a_caption() -> None:
    assert counts([("", 1), ("  ", 2), (None, 3)]) == [(2, 2), (2, 2), (None, None)]


@pytest.mark.parametrize("scorer", CASES)
def test_empty_table(scorer: Frequency) -> None:
    for empty in (SCHEMA.empty_table(), pa.Table.from_batches([], SCHEMA)):
        assert scorer.reduce(empty).schema == scorer.writes
        assert len(scorer.reduce(empty)) == len(scorer.gather_key(empty)) == 0


@pytest.mark.parametrize("of", ["caption", "image"])
def test_one_row_all_equal_all_null(of: str) -> None:
    assert counts([("a", 1)], of) == [(1, 1)]
    assert counts([("a", 1)] * 100, of) == [(100, 1)] * 100
    assert counts([(None, None)] * 5, of) == [(None, None)] * 5


@pytest.mark.parametrize("scorer", CASES)
def test_chunks_and_slices_make_no_difference(scorer: Frequency) -> None:
    whole = table([(f"Caption {n % 4}", n % 3) for n in range(20)])
    chunked = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 0), whole.slice(3)])
    assert scorer.reduce(chunked).to_pylist() == scorer.reduce(whole).to_pylist()
    assert scorer.gather_key(chunked).equals(scorer.gather_key(whole))
    assert len(scorer.reduce(whole.slice(7, 5))) == 5


@pytest.mark.slow
def test_keys_are_the_same_in_every_process() -> None:
    program = (
        "import pyarrow as pa; from filters.frequency import Frequency;"
        "rows = pa.table({'caption': ['A  cat', None], 'image_sha256': [b'a' * 32, None]});"
        "print([Frequency(of).gather_key(rows).to_pylist() for of in ('caption', 'image')])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout == "[[7491139519574695330, None], [7016996765293437281, None]]\n"


def test_refuses_parameters() -> None:
    with pytest.raises(ValueError, match="of is caption, image or the name of a column, got ''"):
        Frequency("")


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.sampled_from(["en", "EN", "en ", "", "日本"])), max_size=20),
    st.lists(st.one_of(st.none(), st.integers(-2, 2)), max_size=20),
    st.lists(st.one_of(st.none(), st.binary(max_size=1)), max_size=20),
)


@given(VALUES, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_values_of_any_column_are_counted_as_they_are(values: list[Any], parts: int) -> None:
    rows = pa.table({"language": pa.chunked_array([values[:3], values[3:]], _type(values))})
    scorer = Frequency("language")
    assert scorer.reads == ("language",)
    counted = scorer.reduce(rows)
    assert counted.schema == scorer.writes == pa.schema({"language_count": pa.int32()})
    expected = [None if value is None else values.count(value) for value in values]
    assert counted["language_count"].to_pylist() == expected
    part = [-1 if key is None else key % parts for key in scorer.gather_key(rows).to_pylist()]
    for number in range(-1, parts):
        is_here = [at == number for at in part]
        some = scorer.reduce(rows.filter(pa.array(is_here, pa.bool_())))["language_count"]
        assert some.to_pylist() == [n for n, here in zip(expected, is_here, strict=True) if here]


def _type(values: list[Any]) -> pa.DataType:
    return pa.array(values).type if any(value is not None for value in values) else pa.string()
