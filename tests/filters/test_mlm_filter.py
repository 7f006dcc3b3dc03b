"""The four marks of MLM-Filter: questions, replies and what is read in them."""

import pytest

from filters import mllm
from filters.judging import NUDGES
from filters.mlm_filter import QUESTIONS, MlmFilter, mark_of, marks
from filters.served import BadAnswer, keep_in
from filters.unread import UNREAD
from pipeline.errors import ShardsFailed
from tests import pictures
from tests.conftest import RECIPE
from tests.filters.model_server import Action, failing, prompt_of, serve
from tests.filters.tiny_mllm import SIDE, save_mllm

NAMES = ["mlm_matching", "mlm_detail", "mlm_quality", "mlm_understanding"]


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def batch(*texts):
    return {"image": [pictures.photo(i) for i in range(len(texts))], "caption": list(texts)}


def served(server, **more):
    return MlmFilter(server={"endpoints": [server.url], "model": "tiny", "attempts": 1}, **more)


@pytest.mark.parametrize(
    ("reply", "mark"),
    [
        ("87", 87),
        ("87\nbecause it fits", 87),
        ("Score: 87/100", 87),
        ("**87**", 87),
        ("87%", 87),
        ("87.", 87),
        ("87.0", 87),
        ("87 out of 100, for the 2 dogs", 87),
        ('{"score": 87}', 87),
        ("On a scale from 0 to 100, I give 87.", 87),
        ("(0-100): 87", 87),
        ("0", 0),
        ("100", 100),
        ("007", 7),
    ],
)
def test_a_mark_is_read(reply, mark):
    assert mark_of(reply) == mark


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "no number"),
        ("N/A", "no number"),
        ("eighty", "no number"),
        ("from 0 to 100", "no number"),
        ("v2x", "no number"),
        ("101", "outside 0 to 100"),
        ("-5", "outside 0 to 100"),
        ("1" * 5000, "outside 0 to 100"),
        ("87.5", "not a whole number"),
        ("8/10", "a mark of 10"),
        ("4 out of 5 stars", "a mark of 5"),
    ],
)
def test_what_is_no_mark_is_a_reason(reply, why):
    found = mark_of(reply)
    assert isinstance(found, BadAnswer)
    assert why in str(found)
    assert len(str(found)) < 150


def test_one_failure_costs_the_row():
    failed = ValueError("why")
    assert marks([1, 2]) == [1, 2]
    assert marks([1, failed, 3]) == [failed, None, None]
    assert marks([0]) == [0]


def test_the_questions_are_these():
    """A change of a word is a change of what is measured: raise PROMPTS with it."""
    import hashlib

    assert list(QUESTIONS) == ["matching", "detail", "quality", "understanding"]
    for question in QUESTIONS.values():
        assert question.count(mllm.TEXT) == 1
        assert f'"{mllm.TEXT}"' in question
        assert "whole number from 0 (worst) to 100 (best)" in question
    digest = hashlib.sha256("\n".join(QUESTIONS.values()).encode()).hexdigest()
    assert digest.startswith("2b461f0960018633")


def test_a_server_is_asked_four_questions_and_the_picture_is_left_out_of_one():
    numbers = {name: 10 * place for place, name in enumerate(QUESTIONS, 1)}
    told = {
        question.replace("{text}", "a dog"): Action(f"{numbers[name]}")
        for name, question in QUESTIONS.items()
    }
    with serve(Action("99"), by_prompt=told) as server:
        found = served(server)(batch("a dog", "a cat"))
    assert {name: found[name] for name in NAMES} == {
        "mlm_matching": [10, 99],
        "mlm_detail": [20, 99],
        "mlm_quality": [30, 99],
        "mlm_understanding": [40, 99],
    }
    with_picture = [prompt_of(b) for b in server.asked if "image_url" in str(b["messages"])]
    assert len(with_picture) == 6
    assert not any("how well is it written" in prompt.lower() for prompt in with_picture)


def test_questions_can_be_chosen():
    with serve(Action("55")) as server:
        scorer = served(server, questions=("detail", "matching"))
        found = scorer(batch("a dog"))
        assert len(server.asked) == 2
    assert found == {"mlm_detail": [55], "mlm_matching": [55], "mlm_truncated": [False]}
    assert scorer.writes.names == list(found)
    assert scorer.identity != served(server).identity
    for wrong in ((), ("matching", "style"), ("detail", "detail"), "detail"):
        with pytest.raises(ValueError, match="questions"):
            served(server, questions=wrong)


def test_a_local_model_is_asked_too(tmp_path, monkeypatch):
    name = save_mllm(tmp_path / "idefics", "idefics")
    scorer = MlmFilter(name, text_tokens=16, max_side=SIDE, batch_size=3)
    found = scorer(batch("a dog", "a red car"))  # of random weights no mark is to be expected
    assert all(isinstance(mark, BadAnswer | int) for mark in found["mlm_matching"])
    says = [("40", False), ("60", False), ("80", False)]
    monkeypatch.setattr(mllm, "generate", lambda _, prompts, *__: (says * 9)[: len(prompts)])
    found = scorer(batch("a dog", "", "word " * 99))
    assert [found[name] for name in NAMES] == [
        [40, UNREAD, 60],
        [60, None, 80],
        [80, None, 40],
        [40, None, 60],
    ]
    assert found["mlm_truncated"] == [False, False, True]


@pytest.mark.slow
def test_a_build_goes_on_over_replies_without_a_mark(make_build):
    caption = "picture number 4 größe"
    broken = QUESTIONS["detail"].replace("{text}", "picture number 6 größe")
    asked = QUESTIONS["quality"].replace("{text}", caption)
    told = {
        asked: Action("Sorry, I can't."),
        asked + NUDGES[0]: Action("Sorry, I still can't."),
        broken: failing(500, "broken"),
    }
    with serve(Action("70"), by_prompt=told) as server:
        recipe = RECIPE.partition("score:")[0] + (
            "score:\n  mlm: {scorer: 'filters.mlm_filter:MlmFilter', server: {endpoints:"
            f" ['{server.url}'], model: tiny, attempts: 1}}}}\ningest: {{rows_per_shard: 5}}\n"
        )
        build = make_build(recipe, after="ingest")
        with pytest.raises(ShardsFailed, match=r"ServerFailed: 500: broken .*; run again"):
            build.score()
        build.score()  # what was answered is not asked again, not even what is no mark
        assert [prompt for prompt, times in server.prompts.items() if times > 1] == [broken]
    pool = build.open_pool()
    written = build.resolve(pool)[0].writers["mlm_quality"]
    rows = [row for shard in pool.shards for row in written.read(shard).to_pylist()]
    good = [row for row in rows if row["mlm_quality"] is not None]
    assert [[row[name] for name in NAMES] for row in good] == [[70] * 4] * 11
    reasons = [row["mlm_error"] for row in rows if row["mlm_error"]]
    assert (
        sum('no number in the reply "Sorry, I still can\'t."' in reason for reason in reasons) == 1
    )
    assert sum("broken" in reason for reason in reasons) == 1
