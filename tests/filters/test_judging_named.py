"""What a judge on a server said is found by the picture's name: nothing is decoded again."""

import math
import shutil
from pathlib import Path

import pytest

from filters.facets import Facets
from filters.mlm_filter import MlmFilter
from filters.served import BadAnswer, keep_in
from filters.unread import UNREAD
from filters.vqa_score import VqaScore
from pipeline import decoding
from tests import pictures
from tests.conftest import built
from tests.filters.model_server import Action, prompt_of, serve

SURE = [{"Yes": math.log(0.7), "No": math.log(0.1), "None": math.log(0.1)}]
SAYS = Action("55", logprobs=SURE)
RECIPE = """\
sources: {{photos: {{folder: photos/}}}}
score:
  judged: {{scorer: {scorer}, {more}max_side: 64,
    server: {{endpoints: ['{url}'], model: tiny, kind: openai}}}}
ingest: {{rows_per_shard: 5}}
"""
JUDGES = {
    "vqa_score": VqaScore,
    "mlm_filter": MlmFilter,
    "facets": lambda **more: Facets("served", **more),
}


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


@pytest.fixture
def decoded(monkeypatch):
    """Counts images that are decoded."""
    times: list[int] = []
    decode = decoding.decode

    def counted(*args, **more):
        times.append(1)
        return decode(*args, **more)

    monkeypatch.setattr(decoding, "decode", counted)
    return times


def judge(kind, url, **more):
    server = {"endpoints": [url], "model": "tiny", "kind": "openai"}
    return JUDGES[kind](server=server, **{"max_side": 64, **more})


def batch(names, texts=None):
    images = [pictures.photo(i, (40, 60)) for i in range(len(names))]
    texts = texts or [f"caption {i}" for i in range(len(names))]
    return {"image": images, "image_name": names, "caption": texts}


def unseen(whole):
    return {name: column for name, column in whole.items() if name != "image"}


def values(columns):
    """With exceptions as text, which are equal where they say the same."""
    return {n: [repr(v) if isinstance(v, Exception) else v for v in c] for n, c in columns.items()}


@pytest.mark.parametrize("kind", JUDGES)
def test_what_was_said_is_recalled_by_name_and_text(kind, tmp_path):
    keep_in(str(tmp_path))
    with serve(SAYS) as model:
        scorer = judge(kind, model.url)
        whole = batch([b"a" * 32, b"b" * 32, None])
        told = scorer(whole)
        asked = len(model.asked)
        again = scorer.recall(unseen(whole))
        first = scorer.writes.names[0]
        assert {n: c[:2] for n, c in again.items()} == {n: c[:2] for n, c in told.items()}
        assert again[first][2] is None  # without a name nothing is known
        for other in (
            scorer.recall(unseen(batch([b"c" * 32, b"b" * 32], ["caption 0", "another"]))),
            judge(kind, model.url, max_side=65).recall(unseen(whole)),
        ):
            assert set(other[first]) == {None}
        assert len(model.asked) == asked


@pytest.mark.parametrize("kind", JUDGES)
def test_a_reason_is_recalled_when_every_further_question_is(kind, tmp_path):
    keep_in(str(tmp_path))
    silent = Action("Well.", logprobs=[{"Well": -0.1}])
    with serve(silent) as model:
        whole = batch([b"a" * 32], ["a dog"])
        once, twice = (judge(kind, model.url, reasks=n) for n in (0, 1))
        told = once(whole)
        first = once.writes.names[0]
        assert isinstance(told[first][0], BadAnswer)
        assert values(once.recall(unseen(whole))) == values(told)
        assert twice.recall(unseen(whole))[first] == [None]  # it would be asked once more
        told = twice(whole)
        assert values(twice.recall(unseen(whole))) == values(told)


def test_a_text_without_words_is_known_without_asking(tmp_path):
    keep_in(str(tmp_path))
    scorer = judge("vqa_score", "http://127.0.0.1:9")
    known = scorer.recall({"image_name": [None], "caption": [" "]})
    assert known["vqa_score"] == [UNREAD]


def test_marks_of_a_text_alone_are_of_no_picture(tmp_path):
    keep_in(str(tmp_path))
    with serve(SAYS) as model:
        scorer = judge("mlm_filter", model.url, questions=("quality",))
        scorer(batch([b"a" * 32], ["a dog"]))
        other = scorer.recall({"image_name": [b"b" * 32], "caption": ["a dog"]})
    assert other["mlm_quality"] == [55]


def test_what_runs_here_knows_nothing_by_name():
    known = Facets().recall({"image_name": [b"a" * 32], "caption": ["a dog"]})
    assert {tuple(column) for column in known.values()} == {(None,)}


def scored(make_build, kind, url, more):
    """The files of a build that scores anew."""
    build = make_build(RECIPE.format(scorer=kind, url=url, more=more))
    shutil.rmtree(f"{build.root}/columns", ignore_errors=True)
    built(build, "score")
    return [path.read_bytes() for path in sorted(Path(build.root, "columns").rglob("*.parquet"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("vqa_score", ""),
        ("vqa_score", "text: captions, "),
        ("mlm_filter", ""),
        ("facets", "judge: served, "),
    ],
)
def test_a_second_run_asks_and_decodes_nothing_and_writes_the_same(make_build, decoded, kind, more):
    def says(asked):
        return str(len(prompt_of(asked)) % 100)

    with serve(Action(says, logprobs=SURE)) as model:
        first = scored(make_build, kind, model.url, more)
        asked = len(model.asked)
        decoded.clear()
        assert scored(make_build, kind, model.url, more) == first
        assert len(model.asked) == asked > 0
    assert sum(decoded) <= 2  # one that can't be, and one without a caption
