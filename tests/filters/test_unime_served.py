"""UniME's embeddings by a model server: what it is asked, and what is no embedding."""

import json
import shutil

import numpy as np
import pytest

from filters.mllm import PLAIN
from filters.served import BadAnswer, Unsupported, keep_in
from filters.unime import IMAGE_PROMPT, TEXT_PROMPT, UniMe, unit_vectors
from filters.unread import UNREAD, Unread
from pipeline.errors import ShardsFailed
from tests import pictures
from tests.conftest import RECIPE
from tests.filters.model_server import Action, failing, prompt_of, serve


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def said(text):
    return TEXT_PROMPT.replace("{text}", text)


def seen(vector=(3.0, 4.0), **texts):
    """What each text's vector is; a picture has `vector`."""
    told = {said(text): Action(vector=found) for text, found in texts.items()}
    return told | {IMAGE_PROMPT: Action(vector=list(vector))}


def scorer(server, **more):
    reached = {"endpoints": [server.url], "model": "tiny", "attempts": 2, "backoff": 0.001}
    return UniMe(server=reached, **more)


def batch(*texts):
    return {"image": [pictures.photo(i) for i in range(len(texts))], "caption": list(texts)}


def test_the_score_is_the_cosine_of_what_the_server_pools():
    with serve(by_prompt=seen(dog=[0, 2], car=[-5, 0]), kind="vllm") as server:
        found = scorer(server, embeddings=True)(batch("dog", "car"))
        contents = [body["messages"][0]["content"] for body in server.asked]
    assert found["unime_score"] == pytest.approx([0.8, -0.6])
    assert found["unime_truncated"] == [False, False]
    assert [vector.dtype for vector in found["unime_image"]] == [np.float16] * 2
    assert found["unime_image"][0] == pytest.approx([0.6, 0.8], abs=1e-3)
    assert found["unime_text"][1].tolist() == [-1, 0]
    shown = [content for content in contents if isinstance(content, list)]
    assert [part["type"] for part in shown[0]] == ["image_url", "text"]
    assert sorted(c for c in contents if isinstance(c, str)) == [said("car"), said("dog")]


def test_the_other_form_is_one_object_of_a_list():
    with serve(by_prompt=seen(dog=[3, 4]), kind="sglang") as server:
        assert scorer(server, form="input")(batch("dog"))["unime_score"] == [pytest.approx(1)]
        assert sorted(sorted(body["input"][0]) for body in server.asked) == [
            ["image", "text"],
            ["text"],
        ]


def test_an_equal_text_is_asked_once_and_nothing_about_none():
    with serve(by_prompt=seen(dog=[3, 4])) as server:
        found = scorer(server)(batch("dog", "dog", "", "<|im_end|>", "dog"))
        assert server.prompts == {IMAGE_PROMPT: 3, said("dog"): 1}
        assert found["unime_score"][2:4] == [UNREAD, UNREAD]
        assert found["unime_score"][0] == found["unime_score"][4] == pytest.approx(1)
        (blank,) = scorer(server, embeddings=True)(batch(""))["unime_score"]
    assert isinstance(blank, Unread)
    assert blank.kept["unime_image"] == pytest.approx([0.6, 0.8], abs=1e-3)


def test_a_second_run_asks_nothing(tmp_path):
    rows = batch("dog", "car", "dog")
    keep_in(str(tmp_path))
    with serve(by_prompt=seen(dog=[1, 7], car=[2, 1])) as server:
        first = scorer(server)(rows)
        asked = len(server.asked)
        assert asked == 5
        assert scorer(server)(rows) == first
        assert len(server.asked) == asked
        scorer(server, form="input")(rows)
        assert len(server.asked) == 2 * asked


def test_what_is_no_embedding_is_a_reason_for_its_row():
    told = seen(good=[1, 0], nan=[1, float("nan")], zero=[0, 0], many=[[1, 0]])
    told |= {said("short"): Action(vector=[1]), said("lost"): Action(body='{"data": [{}]}')}
    told |= {said("page"): Action(body="<html>", headers=(("Content-Type", "text/html"),))}
    told |= {said("refused"): failing(400, "too rude")}
    texts = ("good", "nan", "zero", "many", "short", "lost", "page", "refused")
    with serve(by_prompt=told) as server:
        found = scorer(server)(batch(*texts))["unime_score"]
    assert found[0] == pytest.approx(0.6)
    reasons = dict(zip(texts[1:], map(str, found[1:]), strict=True))
    assert "not finite" in reasons["nan"]
    assert "of zeros" in reasons["zero"]
    assert "no list of numbers" in reasons["many"]
    assert reasons["short"] == "an embedding of 2 numbers for the picture, 1 for the text"
    assert "no embedding" in reasons["lost"]
    assert "no JSON" in reasons["page"]
    assert "400: too rude" in reasons["refused"]
    assert all(isinstance(reason, Exception) for reason in found[1:])


def test_sides_of_two_lengths_have_no_cosine_and_a_picture_s_failure_is_the_row_s():
    with serve(by_prompt=seen((1.0, 2.0, 3.0), dog=[1, 2])) as server:
        (found,) = scorer(server)(batch("dog"))["unime_score"]
    assert str(found) == "an embedding of 3 numbers for the picture, 2 for the text"
    with serve(by_prompt=seen(dog=[1, 2]) | {IMAGE_PROMPT: failing(400, "no")}) as server:
        row = scorer(server, embeddings=True)(batch("dog"))
    assert str(row["unime_score"][0]).startswith("400: no")
    assert (row["unime_image"], row["unime_text"]) == ([None], [None])


def test_vectors_are_of_length_one_whatever_their_size():
    found = unit_vectors([np.array([3e30, 4e30], np.float32), np.array([3e-30, 0], np.float32)])
    assert found[0] == pytest.approx([0.6, 0.8])
    assert found[1] == pytest.approx([1, 0])
    assert unit_vectors([]) == []
    failed = BadAnswer("why")
    assert unit_vectors([failed]) == [failed]


def test_a_busy_server_is_asked_again_and_a_broken_one_is_no_fault_of_the_row():
    with serve(failing(429), failing(500), Action(vector=[1, 0])) as server:
        rows = scorer(server, text="caption")(batch("dog"))
    assert rows["unime_score"] == [pytest.approx(1)]
    with serve(failing(400, "The model does not support Embeddings API")) as server:
        (found,) = scorer(server)(batch("dog"))["unime_score"]
    assert isinstance(found, Unsupported)
    assert found.retriable


def test_the_model_form_and_prompts_decide_and_not_the_place():
    base = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}
    one = UniMe(server=base)
    assert one.identity == {
        "served": "m",
        "max_side": 768,
        "plain": PLAIN,
        "image_prompt": IMAGE_PROMPT,
        "text_prompt": TEXT_PROMPT,
        "text": "caption",
        "embeddings": False,
        "form": "messages",
    }
    there = UniMe(server={**base, "endpoints": ["http://127.0.0.1:2/v1"]})
    assert there.identity == one.identity
    for other in ({"form": "input"}, {"image_prompt": "What?"}, {"server": {**base, "model": "o"}}):
        assert UniMe(**{"server": base, **other}).identity != one.identity
    assert json.dumps(one.identity)
    assert (one.device, one.weights_digest) == ("cpu", None)
    with pytest.raises(ValueError, match="known are messages, input"):
        UniMe(server=base, form="chat")


def test_it_costs_two_requests_a_row():
    base = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}
    cost = UniMe(server=base, max_side=280, text_tokens=20).estimate(10)
    prompts = len(IMAGE_PROMPT) // 4 + 16 + len(TEXT_PROMPT) // 4 + 16
    assert cost == (20, 10 * (100 + 20 + prompts), 0)


def recipe(server):
    return RECIPE.partition("score:")[0] + (
        "score:\n  unime: {scorer: 'filters.unime:UniMe', embeddings: true,"
        f" server: {{endpoints: ['{server.url}'], model: tiny, attempts: 1}}}}\n"
    )


def rows_of(build):
    pool = build.open_pool()
    written = build.resolve(pool)[0].writers["unime_score"]
    return [row for shard in pool.shards for row in written.read(shard).to_pylist()]


@pytest.mark.slow
def test_a_build_stores_vectors_and_pays_once(make_build, tmp_path):
    bad = said("picture number 3 größe")
    told = {bad: Action(vector=[1, 2, 3]), IMAGE_PROMPT: Action(vector=[3, 4])}
    with serve(Action(vector=[0, 1]), by_prompt=told) as server:
        build = make_build(recipe(server), after="ingest")
        build.score()
        found = rows_of(build)
        before = len(server.asked)
        assert {prompt_of(body) for body in server.asked} > {bad, IMAGE_PROMPT}
        shutil.rmtree(tmp_path / "out" / "columns" / "unime")
        build.score()
        assert rows_of(build) == found
        assert len(server.asked) == before
    scores = [row["unime_score"] for row in found if row["unime_score"] is not None]
    assert scores == [pytest.approx(0.8)] * 12
    reasons = [row["unime_error"] for row in found if row["unime_error"]]
    assert "BadAnswer: an embedding of 2 numbers for the picture, 3 for the text" in reasons
    assert [len(row["unime_text"]) for row in found if row["unime_text"]] == [2] * 12


def test_a_server_without_embeddings_fails_the_shard_and_writes_nothing(make_build, tmp_path):
    with serve(failing(400, "The model does not support Embeddings API")) as server:
        build = make_build(recipe(server), after="ingest")
        with pytest.raises(ShardsFailed, match="not support Embeddings"):
            build.score()
    assert not list((tmp_path / "out" / "columns" / "unime").rglob("*.parquet"))
