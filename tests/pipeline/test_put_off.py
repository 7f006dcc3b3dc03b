"""Rows at which a server fails are put off together: one more run brings all of them."""

from typing import Any

import pytest

from filters.mlm_filter import QUESTIONS
from filters.served import keep_in
from filters.vqa_score import QUESTION
from pipeline.errors import ShardsFailed
from tests.conftest import RECIPE
from tests.filters.model_server import Action, failing, serve


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def rows(build, name: str = "vqa_score") -> list[dict[str, Any]]:
    made = build.open_pool()
    written = build.resolve(made)[0].writers[name]
    return [row for shard in made.shards for row in written.read(shard).to_pylist()]


@pytest.mark.slow
@pytest.mark.parametrize("recovers", [True, False])
def test_one_more_run_brings_all_rows_of_a_shard(make_build, recovers):
    broken = [QUESTION.replace("{text}", f"picture number {n} größe") for n in (3, 5, 9)]
    yes = Action("Yes", logprobs=[{"Yes": -0.1, "No": -3.0}])
    with serve(yes, by_prompt=dict.fromkeys(broken, failing(500, "broken"))) as server:
        score = (
            "score:\n  vqa: {scorer: vqa_score, batch_size: 2, server: {endpoints:"
            f" ['{server.url}'], model: tiny, attempts: 1}}}}\n"
            "  same: {scorer: agreement, of: [vqa_score, vqa_mass]}\n"
        )
        build = make_build(
            f"{RECIPE.partition('score:')[0]}{score}ingest: {{rows_per_shard: 500}}\n",
            after="ingest",
        )
        with pytest.raises(ShardsFailed, match=r"broken .*; run again"):
            build.score()
        assert all(server.prompts[prompt] == 1 for prompt in broken)
        asked = len(server.asked)
        if recovers:
            server.by_prompt.clear()
        build.score()
        assert len(server.asked) == asked + 3
    found = rows(build)
    assert sum("broken" in (row["vqa_error"] or "") for row in found) == (0 if recovers else 3)
    assert sum(row["vqa_score"] is not None for row in found) == (13 if recovers else 10)


@pytest.mark.slow
@pytest.mark.parametrize("recovers", [True, False])
def test_a_request_that_fails_in_two_shards_of_a_run_is_asked_by_the_next(
    make_build, photos, recovers
):
    for name in ("00", "11"):  # in the first shard, and in the third
        (photos / f"{name}.txt").write_text("the same words")
    broken = QUESTIONS["quality"].replace("{text}", "the same words")
    with serve(Action("55"), by_prompt={broken: failing(500, "broken")}) as server:
        score = (
            "score:\n  mlm: {scorer: mlm_filter, questions: [quality], server: {endpoints:"
            f" ['{server.url}'], model: tiny, attempts: 1}}}}\n"
        )
        build = make_build(f"{RECIPE.partition('score:')[0]}{score}ingest: {{rows_per_shard: 5}}\n")
        build.ingest()
        with pytest.raises(ShardsFailed, match="2 shards failed"):
            build.score()
        assert server.prompts[broken] == 2
        if recovers:
            server.by_prompt.clear()
        build.score()
    found = rows(build, "mlm_quality")
    assert sum("broken" in (row["mlm_error"] or "") for row in found) == (0 if recovers else 2)
