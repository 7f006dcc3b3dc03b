"""What means nothing to a model or a judge is refused when a recipe is read, not ignored."""

import dataclasses
from typing import Any

import pytest

from filters.facets import Facets
from filters.foreign import refuse
from filters.likelihood import CaptionLikelihood
from tests.filters.tiny_blip import save_coca

SERVER = {"endpoints": ["http://127.0.0.1:1/v1"], "model": "m"}


@dataclasses.dataclass(frozen=True)
class Given:
    precision: str = "auto"
    length: int = 8
    prompt: str | None = None


def test_what_is_as_by_default_or_settled_is_let_be():
    names = ("precision", "length", "prompt")
    refuse(Given(), names, "it")
    refuse(Given("fp32", 8, None), names, "it")
    refuse(Given(length=9), ("prompt",), "it")
    for given in (Given("bf16"), Given(length=0), Given(prompt="fp32"), Given(prompt="")):
        with pytest.raises(ValueError, match=r"it takes no `\w+`; remove it"):
            refuse(given, names, "it")


@pytest.mark.parametrize(
    ("parameters", "judge", "name"),
    [
        ({"revision": "0" * 40}, "embedded", "revision"),
        ({"precision": "bf16"}, "embedded", "precision"),
        ({"text_tokens": 64}, "embedded", "text_tokens"),
        ({"max_side": 512}, "embedded", "max_side"),
        ({"reasks": 2}, "embedded", "reasks"),
        ({"judge": "served", "server": SERVER, "temperature": 0.1}, "served", "temperature"),
        ({"judge": "served", "server": SERVER, "ocr_text": "ocr_text"}, "served", "ocr_text"),
        ({"judge": "local", "model": "a/b", "temperature": 0.1}, "local", "temperature"),
    ],
)
def test_facets(parameters: dict[str, Any], judge: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"judge '{judge}' takes no `{name}`"):
        Facets(**parameters)


def test_facets_with_what_the_judge_takes() -> None:
    embedded = Facets(temperature=0.1, ocr_text="ocr_text", batch_size=8)
    assert dataclasses.replace(embedded, batch_size=4).batch_size == 4
    served = Facets(judge="served", server=SERVER, text_tokens=64, max_side=512, reasks=0)
    assert dataclasses.replace(served, batch_size=4).max_side == 512


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pretrained", "openai"),
        ("preprocess_tag", "openai"),
        ("sha256", "ab"),
        ("revision", "0" * 40),
        ("precision", "bf16"),
        ("prompt", "a picture of"),
        ("max_tokens", 32),
    ],
)
def test_likelihood(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"model 'embedded' takes no `{name}`"):
        CaptionLikelihood(**{name: value})


def test_likelihood_with_what_the_model_takes(tmp_path) -> None:
    settled = CaptionLikelihood(gain=False, batch_size=8)
    assert dataclasses.replace(settled, batch_size=4).precision == "fp32"
    coca = save_coca(tmp_path / "coca")
    CaptionLikelihood(model=coca, precision="bf16")
    with pytest.raises(ValueError, match="takes no `prompt`"):
        CaptionLikelihood(model=coca, prompt="of")
