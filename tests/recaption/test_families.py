"""What a family of models can be asked, and what is refused before a run."""

import pytest

from filters import hub_weights
from filters.hub_weights import Source
from recaption import families
from recaption.captioner import Captioner
from recaption.prompts import tasks_of

OWN = ({"kind": "mood", "prompt": "the mood is", "version": 2},)
FLORENCE = ({"kind": "mid", "prompt": "<DETAILED_CAPTION>", "version": 1},)


@pytest.mark.parametrize("kind", ["llava", "blip", "florence2"])
def test_the_family_is_known_by_the_folder(tiny_captioner, kind):
    source = Source(tiny_captioner(kind))
    assert families.family_of(source) == (kind if kind != "llava" else "chat")


@pytest.mark.parametrize(
    ("family", "kinds", "label"),
    [
        ("blip", ("short",), "blip-short/1"),
        ("blip", OWN, "mood/2"),
        ("florence2", ("long",), "florence2-long/1"),
        ("florence2", FLORENCE, "mid/1"),
        ("chat", ("long",), "long/1"),
    ],
)
def test_a_family_is_asked_in_its_own_words(family, kinds, label):
    (task,) = families.tasks_for(family, tasks_of(kinds, None, False), None)
    assert task.prompt.label == label


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        ("blip", {"kinds": ("long",)}, "writes short, or prompts that begin a caption"),
        ("blip", {"kinds": ("facets",)}, "not 'facet:objects'"),
        ("blip", {"json": True}, "not 'all'"),
        ("blip", {"context": "caption"}, "reads no `context`"),
        ("florence2", {"kinds": OWN}, "writes short, long, or prompts that are one of <CAPTION>"),
        ("florence2", {"context": "caption"}, "reads no `context`"),
    ],
)
def test_what_a_family_can_not_do_is_refused(tiny_captioner, kind, asked, message):
    with pytest.raises(ValueError, match=message):
        Captioner(tiny_captioner(kind), **asked)


def test_blip_goes_on_from_its_prompt_without_repeating_it(tiny_captioner):
    """Against the model of transformers, asked as its documentation says."""
    import torch
    from PIL import Image

    from tests import pictures

    source = Source(tiny_captioner("blip"))
    loaded = families.load(source)
    image = pictures.photo(0, (40, 60))
    given = loaded.processor(Image.fromarray(image), "a red", return_tensors="pt")
    with torch.inference_mode():
        ids = loaded.model.generate(**given, max_new_tokens=5, do_sample=False, num_beams=1)
    whole = loaded.processor.decode(ids[0], skip_special_tokens=True)
    asked = families.Asked("a red", "", image)
    (found,) = families.write(source, [asked], families.Shape(2, 0, 0), families.Writing(5))
    begun = "[DEC] a red"  # the tiny tokenizer takes its first token for a word
    assert whole.startswith(begun)
    assert found.text == families.closed_up(whole.removeprefix(begun).strip())


def test_florence_is_asked_by_its_task(tiny_captioner):
    import torch
    from PIL import Image

    from tests import pictures

    source = Source(tiny_captioner("florence2"))
    loaded = families.load(source)
    image = pictures.photo(0, (40, 60))
    given = loaded.processor(text="<CAPTION>", images=Image.fromarray(image), return_tensors="pt")
    with torch.inference_mode():
        ids = loaded.model.generate(**given, max_new_tokens=5, do_sample=False, num_beams=1)
    asked = families.Asked("<CAPTION>", "", image)
    (found,) = families.write(source, [asked], families.Shape(2, 0, 0), families.Writing(5))
    assert found.text == loaded.tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    assert found.tokens == len(ids[0]) - 1  # but for the token that the decoder begins with


def test_weights_of_another_class_are_refused(tmp_path):
    from tests.filters.tiny_blip import save_blip

    name = save_blip(tmp_path / "matching")
    with pytest.raises(ValueError, match="text_decoder"):
        families.load(Source(name))
    with pytest.raises(ValueError, match="commit"):
        Captioner("some/model")


def test_signs_stand_where_they_belong():
    assert families.closed_up("a dog , a cat .") == "a dog, a cat."


def test_types_that_see_shapes_are_shown_them(monkeypatch):
    for kind, sees in {
        "qwen2_5_vl": True,
        "smolvlm": True,
        "llava": False,
        "gemma3": False,
    }.items():
        monkeypatch.setattr(hub_weights, "model_type", lambda _, k=kind: k)
        assert families.sees_shapes(Source("a/b", "0" * 40)) == sees
