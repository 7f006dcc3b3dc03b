"""Columns of captions: a captioner's column is called after it, and text scorers ask for each."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from filters.caption import CaptionStats
from pipeline.each import EachCaption, is_captions
from pipeline.errors import RecipeError
from pipeline.pool import CAPTION, read_base
from pipeline.score_memory import with_batch_size
from recaption import captions
from recaption.captions import Caption
from tests.conftest import SCORED, built

HERE = "tests.pipeline.test_each"


@dataclass(frozen=True)
class Parts:
    """The words of the caption, a caption each; of one without a space, none."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = [
            captions.rows(Caption(word, "en", kind="sentence") for word in text.split())
            if " " in text
            else []
            for text in batch["caption"]
        ]
        return {"captions": found}


@dataclass(frozen=True)
class Length:
    """The length of a text, and the width of its picture beside it."""

    text: str = "caption"
    batch_size: int = 2
    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = pa.schema([("letters", pa.int32()), ("wide", pa.int32())])

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.text, "image")

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch[self.text]
        assert len(texts) <= self.batch_size
        return {
            "letters": [ValueError("too short") if len(text) < 2 else len(text) for text in texts],
            "wide": [image.shape[1] for image in batch["image"]],
        }


@dataclass(frozen=True)
class Gone(Length):
    """A server that answers nobody."""

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        error = ValueError("nobody answers")
        error.retriable = True  # type: ignore[attr-defined]
        return {"letters": [error for _ in batch[self.text]], "wide": [1 for _ in batch["image"]]}


def table(build, instance):
    shard = build.open_pool().shards[0]
    resolved, _ = build.resolve(build.open_pool())
    columns = next(i.columns for i in resolved.instances if i.name == instance)
    return columns.read(shard).to_pydict()


def test_the_types_of_captions_in_the_pool_and_of_captioners_are_one():
    assert CAPTION.equals(captions.CAPTION)
    assert is_captions(captions.WRITES.field("captions").type)
    assert not is_captions(pa.list_(pa.string()))


def test_a_scorer_of_text_says_something_of_each_caption(make_build):
    recipe = f"{SCORED}  words: {{scorer: '{HERE}:Parts'}}\n"
    recipe += f"  length: {{scorer: '{HERE}:Length', text: words}}\n"
    build = built(make_build(recipe), "score")
    words, lengths = table(build, "words")["words"], table(build, "length")
    base = read_base(build.root, build.open_pool().shards[0], ["caption"])["caption"].to_pylist()
    for text, own, letters, wide in zip(
        base, words, lengths["letters"], lengths["wide"], strict=True
    ):
        if own is None or text in ("cut in the middle", "a page named jpg"):  # no picture
            assert letters is None
            continue
        assert [caption["text"] for caption in own] == (text.split() if " " in text else [])
        assert letters == [len(c["text"]) if len(c["text"]) > 1 else None for c in own]
        assert [w is None for w in wide] == [n is None for n in letters]


def test_conditions_see_the_lists(make_build):
    recipe = f"{SCORED}  words: {{scorer: '{HERE}:Parts'}}\n  wordy: {{scorer: caption,"
    recipe += " text: words, columns: {caption_chars: wordy_chars"
    others = [name for name in CaptionStats().writes.names if name != "caption_chars"]
    recipe += "".join(f", {name}: wordy_{name}" for name in others) + "}}\n"
    recipe += "select:\n  - long: {where: list_max(wordy_chars) > 6}\n"
    build = built(make_build(recipe), "score")
    lengths = [most(own) for own in table(build, "wordy")["wordy_chars"]]
    assert build.select().summary["kept"] == sum(length > 6 for length in lengths) > 0


def most(lengths):
    return max(lengths or [0])


def test_the_one_bad_caption_costs_itself_and_a_silent_server_the_shard():
    rows = [captions.rows([Caption("one"), Caption("x")]), captions.rows([Caption("y")]), []]
    batch = {"words": rows, "image": [_picture()] * 3}
    found = EachCaption(Length(text="words"), "words")(batch)
    assert str(found["letters"][0]) == "ValueError: caption 2: too short"
    assert found["letters"][0].kept == {"letters": [3, None], "wide": [5, None]}
    assert str(found["letters"][1]) == "too short"
    assert found["letters"][2] == []
    gone = EachCaption(Gone(text="words"), "words")(batch)
    assert [bool(getattr(value, "retriable", False)) for value in gone["letters"]] == [
        True,
        True,
        False,
    ]


def test_batches_are_those_of_the_scorer_also_when_memory_runs_out():
    each = EachCaption(Length(text="words", batch_size=3), "words")
    assert each.batch_size == 3
    small = with_batch_size(each, 1)
    batch = {"words": [captions.rows([Caption("one"), Caption("two")])], "image": [_picture()]}
    assert small.batch_size == 1
    assert small(batch) == each(batch)


def test_a_scorer_of_the_whole_pool_reads_no_lists(make_build):
    recipe = f"{SCORED}  words: {{scorer: '{HERE}:Parts'}}\n"
    recipe += "  frequency: {text: words}\n"
    with pytest.raises(RecipeError):
        built(make_build(recipe), "score")


def _picture():
    return np.zeros((4, 5, 3), np.uint8)


@dataclass(frozen=True)
class Knowing(Length):
    """Knows captions of an even length without the picture, and of one why it has no value."""

    def recall(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch[self.text]
        known = {text: None if len(text) % 2 else len(text) for text in texts}
        told = [(known | {"bad": ValueError("odd")})[text] for text in texts]
        return {"letters": told, "wide": [9 for _ in texts]}


def test_a_row_is_known_when_all_its_captions_are():
    texts = (["ab", "cdef"], ["ab", "c"], [], ["bad", "c"], ["bad", "ab"])
    rows = [captions.rows(Caption(text) for text in row) for row in texts]
    found = EachCaption(Knowing(), "caption").recall({"caption": rows, "image_name": [b"n"] * 5})
    letters = found["letters"]
    assert letters[:4] == [[2, 4], None, [], None]
    assert (str(letters[4]), letters[4].kept["letters"]) == (
        "ValueError: caption 1: odd",
        [None, 2],
    )
    assert found["wide"][0] == [9, 9]
    assert not hasattr(EachCaption(Length(), "caption"), "recall")
