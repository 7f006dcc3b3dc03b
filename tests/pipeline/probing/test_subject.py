"""Which scores can be probed, and what is said of those that can't."""

import pytest

from pipeline.errors import RecipeError
from pipeline.probes.subject import Named, Subject, find_subject
from tests.pipeline.probing.toys import HERE, write


def find(scorer: str, **named: str) -> Subject:
    return find_subject(Named(scorer, **named), "/nowhere")


def refused(scorer: str, **named: str) -> str:
    with pytest.raises(RecipeError) as caught:
        find(scorer, **named)
    return str(caught.value)


def test_a_scorer_of_the_catalog_and_one_of_a_user():
    assert find("clip").column == "clip_score"
    assert find("clip").encoder is not None
    toy = find(f"{HERE}:Constant", parameters="value: 0.25")
    assert toy.probed.scorer.value == 0.25
    assert toy.encoder is None
    assert toy.identity()["class"] == f"{HERE}:Constant"


@pytest.mark.parametrize("text", ["value: 2.5", "{value: 2.5}", "value: 2.5\n", "\nvalue: 2.5\n"])
def test_parameters_are_yaml_with_or_without_braces(text):
    assert find(f"{HERE}:Constant", parameters=text).probed.scorer.value == 2.5


def test_a_scorer_of_vectors_gets_an_encoder_above():
    subject = find(f"{HERE}:OverVectors")
    assert [instance.name for instance in subject.chain] == ["clip", "probed"]
    assert subject.chain[0].scorer.embeddings
    assert subject.encoder is None


def test_an_instance_of_a_recipe_comes_with_what_it_reads(tmp_path):
    recipe = write(
        tmp_path / "recipe.yaml",
        "pool: p\nscore:\n"
        "  broken: {scorer: 'nowhere.to_be:Found'}\n"
        f"  base: {{scorer: '{HERE}:Constant', value: 3.0, only: caption is not null}}\n"
        f"  unused: {{scorer: '{HERE}:Dual'}}\n"
        f"  mine: {{scorer: '{HERE}:Doubled', columns: {{doubled: twice}}}}\n",
    )
    subject = find("mine", recipe=str(recipe))
    assert [instance.name for instance in subject.chain] == ["base", "mine"]
    assert subject.column == "twice"
    assert find("mine", recipe=str(recipe), column="length").column == "length"


def test_unknown_names_are_told_with_the_known_ones(tmp_path):
    assert "no scorer 'clap'; known are" in refused("clap")
    assert "no module 'nowhere'" in refused("nowhere:Class")
    recipe = write(tmp_path / "r.yaml", "pool: p\nscore: {clip: {}}\n")
    assert "unknown scorer 'clop'; did you mean 'clip'?" in refused("clop", recipe=str(recipe))
    assert "r.yaml:2:1" in refused("clop", recipe=str(recipe))
    assert "there is no such file" in refused("clip", recipe=str(tmp_path / "none.yaml"))
    assert "can't stand together" in refused("clip", recipe=str(recipe), parameters="model: x")


def test_wrong_parameters_are_told():
    text = refused("clip", parameters="modell: x")
    assert "no parameter 'modell'; known are" in text
    assert "--with" not in text or "pool" not in text
    assert "expected a valid integer" in refused("clip", parameters="batch_size: many")
    assert "precision 'fp3'" in refused("clip", parameters="precision: fp3")
    assert "'columns' is no parameter" in refused("clip", parameters="columns: {a: b}")
    assert "given twice" in refused("clip", parameters="model: a, model: b")
    assert "expected a mapping" in refused("clip", parameters="[a]\n")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("[image, url]", "reads url"),
        ("[image]", "reads no caption"),
        ("[caption]", "reads no image"),
        ("[image, caption, captions]", "reads captions"),
        ("[image, caption, nobody_writes_this]", "nobody_writes_this"),
    ],
)
def test_a_scorer_that_reads_other_things_is_refused(what, said):
    assert said in refused(f"{HERE}:Reads", parameters=f"what: {what}")


def test_scorers_of_pools_are_refused():
    assert "looks at a whole pool" in refused("frequency")
    assert "looks at a whole pool" in refused("duplicates")


def test_scorers_that_learn_from_a_pool_are_not():
    assert find(f"{HERE}:Fitted").probed.is_fitted
    assert find("filip").column == "filip_score"
    assert [instance.name for instance in find("neg_clip").chain] == ["clip", "neg_clip"]


def test_the_column_must_be_one_of_numbers():
    assert "did you mean 'clip_score'?" in refused("clip", column="clip_scor")
    assert "unknown column 'clip_truncated'" in refused("clip", column="clip_truncated")
    assert find("clip", column="clip_score").column == "clip_score"
