"""Answers that are none are asked for again, in other words, so often and no more."""

import math
from typing import Any

import pytest

from filters import mllm
from filters.facets import QUESTIONS, Facets
from filters.judging import NUDGES
from filters.mllm import Prompt
from filters.mlm_filter import MlmFilter, mark_of
from filters.served import BadAnswer, BudgetSpent, Refused, keep_in
from filters.vqa_score import VqaScore
from tests import pictures
from tests.filters.model_server import Action, ModelServer, failing, prompt_of, serve
from tests.filters.tiny_mllm import SIDE, save_mllm

PROMPTS = [Prompt("Mark {text}.", word) for word in ("good", "mute", "late")]
MUTE, LATE = "Mark mute.", "Mark late."


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def judge(server: ModelServer, reasks: int, **limits: Any) -> Any:
    options = {"endpoints": [server.url], "model": "tiny", "attempts": 1, **limits}
    return VqaScore(server=options, reasks=reasks)._judge


def told() -> dict[str, Action]:
    """Of one prompt no answer ever, of another one at the second time that it is asked again."""
    never = {MUTE + nudge: Action("I can't.") for nudge in ("", *NUDGES)}
    return never | {LATE: Action("Hm"), LATE + NUDGES[0]: Action("so-so"), LATE + NUDGES[1]: NINE}


NINE = Action("9")


@pytest.mark.parametrize(
    ("reasks", "marks", "asked"),
    [(0, (9, None, None), 3), (1, (9, None, None), 5), (2, (9, None, 9), 7), (3, (9, None, 9), 8)],
)
def test_each_is_asked_until_it_is_answered_or_a_number_of_times(reasks, marks, asked):
    with serve(NINE, by_prompt=told()) as server:
        found = judge(server, reasks).replies(PROMPTS, 4, mark_of)
        assert len(server.asked) == asked
    assert [mark if isinstance(mark, int) else None for mark in found] == list(marks)
    assert all(isinstance(mark, int | BadAnswer) for mark in found)


def test_each_time_it_is_another_request():
    with serve(NINE, by_prompt=told()) as server:
        judge(server, 3).replies(PROMPTS[1:2], 4, mark_of)
        sent = [(prompt_of(body), body.get("seed")) for body in server.asked]
    assert sent == [(MUTE, None), *((MUTE + n, time) for time, n in enumerate(NUDGES, 1))]


def test_what_was_answered_is_never_asked_again_good_or_bad(tmp_path):
    with serve(NINE, by_prompt=told()) as server:
        keep_in(str(tmp_path))
        found = judge(server, 2).replies(PROMPTS, 4, mark_of)
        before = len(server.asked)
        again = judge(server, 2).replies(PROMPTS, 4, mark_of)
        assert len(server.asked) == before
        assert list(map(str, again)) == list(map(str, found))
        judge(server, 3).replies(PROMPTS, 4, mark_of)  # one more is one more request
        assert len(server.asked) == before + 1


def test_asking_again_is_paid_from_the_budget(tmp_path):
    with serve(NINE, by_prompt=told()) as server:
        keep_in(str(tmp_path))
        *_, late = judge(server, 2, max_requests=4, concurrency=1).replies(PROMPTS, 4, mark_of)
        assert len(server.asked) == 4
    assert isinstance(late, BudgetSpent)
    assert late.retriable


def test_other_failures_are_not_asked_for_again():
    with serve(failing(400, "no picture")) as server:
        (found,) = judge(server, 3).replies(PROMPTS[:1], 4, mark_of)
        assert len(server.asked) == 1
    assert isinstance(found, Refused)


def test_probabilities_are_asked_for_again_too():
    silly = Action("Well", logprobs=[{"Well": -0.1}])
    clear = Action("Yes", logprobs=[{"Yes": math.log(0.9), "No": math.log(0.1)}])
    with serve(silly, clear) as server:
        assert judge(server, 1).words(PROMPTS[:1], ("yes", "no")) == [pytest.approx((0.9, 0.1))]
        assert len(server.asked) == 2
        assert "logprobs" in server.asked[1]
    with serve(silly) as server:
        facets = Facets(judge="served", server={"endpoints": [server.url], "model": "t"}, reasks=2)
        found = facets({"image": [pictures.photo(0)], "caption": ["a dog"]})
        assert len(server.asked) == 3 * len(QUESTIONS)
    assert isinstance(found["facet_object"][0], BadAnswer)


def test_a_local_model_is_asked_again_in_other_words(tmp_path, monkeypatch):
    scorer = MlmFilter(save_mllm(tmp_path / "x"), text_tokens=16, max_side=SIDE, reasks=2)
    asked = []

    def generate(_: Any, prompts: list[Prompt], *rest: Any) -> list[tuple[str, bool]]:
        asked.append([prompt.words for prompt in prompts])
        return [("70" if NUDGES[1] in p.template else "well", False) for p in prompts]

    monkeypatch.setattr(mllm, "generate", generate)
    found = scorer({"image": [pictures.photo(0)], "caption": ["a dog"]})
    assert found["mlm_matching"] == found["mlm_understanding"] == [70]
    assert list(map(len, asked)) == [4, 4, 4]
    assert all("a dog" in words and words.endswith(NUDGES[0]) for words in asked[1])


def test_how_often_is_part_of_the_identity_and_bounded():
    server = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}
    identities = [str(VqaScore(server=server, reasks=n).identity) for n in range(4)]
    assert len(set(identities)) == 4
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=f"reasks must be from 0 to 3, got {wrong}"):
            VqaScore(server=server, reasks=wrong)
    assert not any(mllm.TEXT in nudge for nudge in NUDGES)
    assert len(set(NUDGES)) == len(NUDGES)
