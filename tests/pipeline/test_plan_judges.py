"""What a plan says that judges on a server would cost, a caption each or all captions of a row."""

import re

import pytest

from filters.estimates import NOTHING, Estimate, of_picture, of_prompt
from filters.facets import QUESTIONS, Facets
from filters.judging import FIRST
from filters.mlm_filter import MlmFilter
from filters.unime import UniMe
from filters.vqa_score import QUESTION, VqaScore
from pipeline.each import EachCaption
from pipeline.plan import estimate
from recaption import captions
from recaption.captions import Caption
from tests.conftest import SCORED

NOBODY = {"endpoints": ["http://127.0.0.1:9"], "model": "tiny"}  # whoever asks it fails
SERVER = "server: {endpoints: ['http://127.0.0.1:9'], model: tiny}"
COST = re.compile(r"at most ([\d,]+) requests, about ([\d,]+) tokens, answered by at most ([\d,]+)")


def costs(text, name):
    line = next(line for line in text.splitlines() if f" {name}: " in line)
    return tuple(int(number.replace(",", "")) for number in COST.search(line).groups())


def test_a_picture_is_squares_and_a_prompt_its_bytes():
    assert (of_picture(280), of_picture(1), of_picture(768)) == (100, 1, 729)
    assert of_prompt("größe") == 7 // 4 + 16


def test_each_question_is_a_request_and_one_more_when_it_is_asked_again():
    one = VqaScore(server=NOBODY, max_side=280, text_tokens=20, reasks=0)
    each = 100 + 20 + len(QUESTION) // 4 + 16
    assert one.estimate(7) == Estimate(7, 7 * each, 7 * FIRST)
    again = VqaScore(server=NOBODY, max_side=280, text_tokens=20, reasks=2)
    assert again.estimate(7) == Estimate(21, 7 * each, 21 * FIRST)


def test_a_question_without_the_picture_costs_none():
    words, pictures = (
        MlmFilter(server=NOBODY, questions=(name,), reasks=0, max_side=280).estimate(1)
        for name in ("quality", "detail")
    )
    assert words.requests == pictures.requests == 1
    assert 80 < pictures.prompt_tokens - words.prompt_tokens < 120
    whole = MlmFilter(server=NOBODY, reasks=0).estimate(10)
    assert (whole.requests, whole.answer_tokens) == (40, 40 * 16)
    asked = Facets("served", server=NOBODY, reasks=0).estimate(10)
    assert (asked.requests, asked.answer_tokens) == (10 * len(QUESTIONS), 50 * FIRST)


@pytest.mark.parametrize(
    "scorer",
    [
        Facets(),
        *(kind() for kind in (VqaScore, MlmFilter, UniMe)),
        *(kind("a/b", "0" * 40) for kind in (VqaScore, MlmFilter, UniMe)),
        Facets("local", "a/b", "0" * 40),
    ],
    ids=lambda scorer: type(scorer).__name__,
)
def test_what_runs_here_costs_no_server_anything(scorer):
    assert scorer.estimate(10) == NOTHING


def test_a_plan_tells_what_judges_cost_and_asks_nobody(make_build, tmp_path):
    build = make_build(after="ingest")
    path = tmp_path / "planned.yaml"
    path.write_text(
        f"{SCORED}  vqa_score: {{{SERVER}, reasks: 0}}\n  mlm_filter: {{{SERVER}, reasks: 0}}\n"
        f"  facets: {{judge: served, {SERVER}, reasks: 0}}\n  unime: {{{SERVER}}}\n"
        f"  each: {{scorer: vqa_score, {SERVER}, reasks: 0, text: captions, columns: {{vqa_score:"
        " each_score, vqa_mass: each_mass, vqa_truncated: each_cut}}\ningest: {rows_per_shard: 5}\n"
    )
    text = estimate(str(path), build.out)
    rows = build.open_pool().rows
    asked = {"vqa_score": 1, "mlm_filter": 4, "facets": 5, "unime": 2}
    assert {name: costs(text, name)[0] for name in asked} == {n: rows * c for n, c in asked.items()}
    assert costs(text, "vqa_score") == VqaScore(server=NOBODY, reasks=0).estimate(rows)
    assert costs(text, "unime")[2] == 0
    assert 0 < costs(text, "each")[0] < rows  # those without a picture or a caption are not asked


def test_of_lists_of_captions_each_counts():
    rows = [captions.rows([Caption("a"), Caption("b")]), [], captions.rows([Caption("c")])]
    judge = VqaScore(server=NOBODY, text="long", reasks=0)
    assert EachCaption(judge, "long").estimate_of({"long": rows}) == judge.estimate(3)
    assert not hasattr(EachCaption(object(), "long"), "estimate_of")
