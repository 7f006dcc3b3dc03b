"""What a model puts into a fused caption that no text and no expert says."""

import pytest

from filters.served import keep_in
from recaption import captions
from recaption.captions import Caption
from recaption.fusion import Fusion
from recaption.fusion_rules import added
from tests.filters.model_server import Action, serve

RAW = "Ada Lovelace, London, 1843"
SEEN = Caption("A woman in a blue dress sits beside a table.", "en")
BY_RULES = f"{SEEN.text} The text beside it names: Ada Lovelace, London, 1843."


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def fused(answer, raw=RAW, seen=SEEN, tags=None, **more):
    with serve(Action(answer)) as model:
        server = {"endpoints": [model.url], "model": "tiny", "kind": "openai", "backoff": 0.01}
        experts = {} if tags is None else {"experts": ("tags",)}
        asked = Fusion("long", by="llm", server=server, **experts, **more)
        known = {"caption": [raw], "long": [[seen.row]], "tags": [tags], "a": [0.5], "b": [0.2]}
        ((row,),) = asked({name: known[name] for name in asked.reads})["captions"]
    return row


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("Ada Lovelace sits at the tables of London in 1843, dressed in blue.", []),
        ("This picture shows a woman named Ada Lovelace, seated.", ["seated"]),
        ("A woman and a bicycle.", ["bicycle"]),
        ("A woman in 1844, with 2 dogs.", ["dogs", "1844", "2"]),
        ("", []),
    ],
)
def test_words_and_numbers_of_its_own_are_found_in_any_form(text, new):
    assert added(text, f"{RAW} {SEEN.text}").found == new


def test_a_thing_may_be_called_by_its_kind():
    assert added("A dog sits here.", "A standard poodle sits.").found == ["here"]
    assert added("A standard poodle sits.", "A dog sits.").found == ["standard", "poodle"]


def test_a_text_of_its_parents_words_is_not_flagged():
    row = fused("Ada Lovelace, a woman in a blue dress, sits beside a table in London, 1843.")
    assert row["origin"] == captions.FUSED
    assert not row["flags"]


def test_a_little_is_flagged_and_too_much_falls_back_to_rules():
    little = "Ada Lovelace, a proud woman in a blue dress, sits beside a table in London in 1843."
    row = fused(little)
    assert (row["text"], row["flags"]) == (little, ["added"])
    much = little.replace("table in", "table with a red bicycle, two cats and a lamp in")
    row = fused(much, longer=3.0)
    assert (row["text"], row["flags"]) == (BY_RULES, ["added", "fallback"])
    assert row["prompt"] == "fuse-rules/3"
    assert row["model"] is None
    assert fused(much, longer=3.0, added=1.0)["text"] == much
    assert fused(much, longer=3.0, added=1.0)["flags"] == ["added"]
    assert fused(little, added=0.0)["flags"] == ["added", "fallback"]


def test_what_experts_found_is_nothing_new():
    said = "Ada Lovelace, a woman in a blue dress, sits beside a table with a bicycle in London"
    assert fused(f"{said}, 1843.")["flags"] == ["added"]
    assert not fused(f"{said}, 1843.", tags=["bicycle"])["flags"]


def test_the_raw_text_stands_where_its_score_is_higher():
    much = (
        "A proud Ada Lovelace, a woman in a blue dress, sits beside a table, lamp, cat, in London"
    )
    said = f"{much} with six red bicycles in 1843."
    row = fused(said, scores=("a", "b"), longer=4.0)
    assert (row["text"], row["flags"]) == (RAW, ["added", "fallback"])


def test_names_that_are_lost_count_first():
    row = fused(
        "A woman in a blue dress sits beside a table with three bicycles and a tall lamp.",
        longer=4.0,
    )
    assert (row["text"], row["flags"]) == (SEEN.text, ["fallback", "lost_names"])


def test_languages_without_spaces_are_not_looked_at():
    seen = Caption("一个女人坐在桌子旁边。", "zh")
    row = fused("一个女人坐在桌子旁边，还有一辆自行车。", "桌子", seen, language="zh")
    assert not row["flags"]
