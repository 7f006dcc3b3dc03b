"""Weights with NaN or infinity are an error of their model when it is loaded, not NULLs later."""

import math
import shutil
from pathlib import Path

import pytest

from filters import finite
from filters.clip import ClipScore
from filters.finite import check_finite
from filters.likelihood import CaptionLikelihood
from filters.matching import ImageTextMatching
from filters.vqa_score import VqaScore
from tests.filters.tiny_blip import save_blip
from tests.filters.tiny_mllm import save_mllm


def spoil(model: str, part: str, value: float = math.nan) -> str:
    """Put a number into the last place of the first weight whose name ends so; gives its name."""
    from safetensors.torch import load_file, save_file

    path = next(Path(model.removeprefix("local-dir:")).glob("*.safetensors"))
    state = load_file(path)
    name = next(name for name in sorted(state) if name.endswith(part))
    state[name].view(-1)[-1] = value
    save_file(state, path, {"format": "pt"})
    return name


def copy(model: str, to: Path) -> str:
    return f"local-dir:{shutil.copytree(model.removeprefix('local-dir:'), to)}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_of_open_clip_names_file_and_parameter(models, tmp_path, value):
    model = copy(models["clip"], tmp_path / "x")
    name = spoil(model, "ln_final.bias", value)
    with pytest.raises(ValueError, match=rf"x/model\.safetensors: NaN or infinity in {name}$"):
        ClipScore(model=model).prepare()


def test_saved_buffers_count_too(models, tmp_path):
    model = copy(models["mobileclip"], tmp_path / "x")
    name = spoil(model, "running_var")
    with pytest.raises(ValueError, match=f"in {name}"):
        ClipScore(model=model).prepare()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_blip_names_the_parameter(tmp_path, precision):
    model = save_blip(tmp_path / "x")
    name = spoil(model, "itm_head.bias")
    with pytest.raises(ValueError, match=rf"model '{model}': its weights: NaN .* in {name}$"):
        ImageTextMatching(model=model, precision=precision).prepare()


def test_numbers_too_large_for_a_precision_are_told_apart(tmp_path):
    model = save_blip(tmp_path / "x")
    name = spoil(model, "itm_head.bias", 1e5)
    ImageTextMatching(model=model, precision="bf16").prepare()
    with pytest.raises(ValueError, match=rf"in {name}; in fp16 numbers beyond 65504"):
        ImageTextMatching(model=model, precision="fp16").prepare()


def test_a_multimodal_llm_is_looked_at_before_it_is_asked(tmp_path):
    model = save_mllm(tmp_path / "x")
    name = spoil(model, "mlp.down_proj.weight")
    for scorer in (VqaScore(model=model), CaptionLikelihood(model=model)):
        with pytest.raises(ValueError, match=r"NaN or infinity in .*") as error:
            scorer.prepare()
        assert str(error.value).endswith(name.rpartition("layers.")[2])


def test_every_chunk_is_looked_at_and_what_may_be_infinite_is_let_be(monkeypatch):
    import torch

    monkeypatch.setattr(finite, "_CHUNK", 4)
    for place in range(10):
        layer = torch.nn.Linear(5, 2)
        layer.weight.data.view(-1)[place] = math.nan
        with pytest.raises(ValueError, match=r"here: NaN or infinity in weight$"):
            check_finite(layer, "here", "fp32")
    layer = torch.nn.Linear(5, 1)
    layer.register_buffer("none", torch.zeros(0))
    layer.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    layer.register_buffer("count", torch.tensor([1]))
    check_finite(layer, "here", "fp32")
    layer.register_buffer("mean", torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"in mean$"):
        check_finite(layer, "here", "fp32")
    with torch.device("meta"):
        check_finite(torch.nn.Linear(5, 5), "here", "fp32")


def test_many_are_counted():
    import torch

    layers = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(3)))
    for parameter in layers.parameters():
        parameter.data[:] = math.inf
    with pytest.raises(ValueError, match=r"in 0\.weight, 0\.bias, 1\.weight and 3 more$"):
        check_finite(layers, "here", "fp32")
    assert finite._bounds(torch.tensor([1.0, -2.0, 0.5])) == (-2.0, 1.0)
