"""What makes CLIP scores faster on a GPU changes none of them, or is part of their identity."""

import functools

import numpy as np
import pytest

from filters import clip, clip_weights
from filters.clip import ClipScore
from pipeline.contract import interface
from pipeline.instances import fingerprint
from tests.filters.test_clip import TEXTS, batch


@pytest.mark.parametrize("kind", ["clip", "siglip", "mobileclip"])
def test_a_batch_may_hold_what_was_prepared_before_in_place_of_images(models, kind):
    scorer = ClipScore(model=models[kind], batch_size=4)
    given = batch(TEXTS)
    prepared = [scorer.prepare_image(image) for image in given["image"]]
    assert scorer({**given, "image": prepared}) == scorer(given)
    mixed = [prepared[0], given["image"][1], *prepared[2:]]
    assert scorer({**given, "image": mixed}) == scorer(given)


def test_the_embedded_encoder_is_given_images_as_they_are():
    image = np.zeros((4, 4, 3), np.uint8)
    assert ClipScore().prepare_image(image) is image


def test_without_them_nothing_of_the_identity_changes(models):
    plain = ClipScore(model=models["clip"])
    assert plain.identity.keys().isdisjoint({"channels_last", "compile"})
    assert interface(plain)


@pytest.mark.slow
def test_channels_last_scores_the_same_but_for_rounding_and_is_another_column(models):
    plain, fast = (ClipScore(model=models["mobileclip"], channels_last=c) for c in (False, True))
    given = batch(TEXTS)
    assert fast(given)["clip_score"] == pytest.approx(plain(given)["clip_score"], abs=1e-5)
    weights = fast._load().model.visual.parameters()
    is_last = [w.is_contiguous() is False for w in weights if w.dim() == 4 and min(w.shape) > 1]
    assert any(is_last)
    assert fingerprint(fast, {}, "") != fingerprint(plain, {}, "")


def test_compiling_is_for_cuda_alone(models, monkeypatch):
    assert ClipScore(model=models["clip"], compile=True) == ClipScore(model=models["clip"])
    monkeypatch.setattr(clip_weights, "best_device", lambda: "cuda")
    there = ClipScore(model=models["clip"], compile=True)
    assert there.compile
    assert fingerprint(there, {}, "") != fingerprint(ClipScore(model=models["clip"]), {}, "")


@pytest.mark.slow
def test_a_compiled_model_scores_the_same(models, monkeypatch):
    import torch

    plain = ClipScore(model=models["clip"], batch_size=4)
    given = batch(TEXTS)
    expected = plain(given)["clip_score"]
    seen: list[str] = []

    def eager(function, **options):  # without a C++ compiler
        seen.append(function.__name__)
        return real(function, backend="eager", **options)

    real = torch.compile
    monkeypatch.setattr(torch, "compile", eager)
    source = plain._source._replace(compile=True)
    compiled = functools.partial(clip_weights.load, source)
    monkeypatch.setattr(ClipScore, "_load", lambda self: compiled())
    assert plain(given)["clip_score"] == pytest.approx(expected, abs=1e-5)
    assert seen == ["encode_image", "encode_text"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": True}, "models other than 'embedded'"),
        ({"channels_last": True}, "models other than 'embedded'"),
        ({"model": "clip", "compile": True, "merge": "tome:1"}, "does not go with merge"),
    ],
)
def test_what_they_do_not_go_with_is_refused(models, options, message):
    if "model" in options:
        options = {**options, "model": models[options["model"]]}
    with pytest.raises(ValueError, match=message):
        ClipScore(**options)


def test_warming_up_runs_a_whole_batch_once(models, monkeypatch):
    shapes = []
    real = clip._moved
    monkeypatch.setattr(clip, "_moved", lambda m, b: shapes.append(tuple(b.shape)) or real(m, b))
    scorer = ClipScore(model=models["clip"], batch_size=3)
    for _ in range(2):
        clip._warm_up(scorer)
    assert shapes == [(3, 3, 32, 32), (3, 16)]


def test_on_the_cpu_a_batch_is_not_copied(models):
    import torch

    loaded = ClipScore(model=models["clip"])._load()
    pixels = torch.zeros(2, 3)
    assert clip._moved(loaded, pixels) is pixels


def test_a_gpu_is_given_batches_from_pinned_memory(models):
    class Batch:
        """Notes what is done with it, in order; there is no GPU here."""

        def __init__(self) -> None:
            self.done: list[object] = []

        def pin_memory(self) -> "Batch":
            self.done.append("pinned")
            return self

        def to(self, device: str, non_blocking: bool) -> "Batch":
            self.done.append((device, non_blocking))
            return self

    loaded = ClipScore(model=models["clip"])._load()._replace(device="cuda")
    assert clip._moved(loaded, Batch()).done == ["pinned", ("cuda", True)]
