"""A captioner that has learnt eight pairs finds a caption likelier than its words mixed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters import blip, coca, hub_weights
from filters.clip_weights import Loaded, Source
from filters.likelihood import CaptionLikelihood
from tests.filters.matching_pairs import pictures
from tests.filters.tiny_blip import CAPTIONING, save_blip, save_coca

CAPTIONS = [
    "a red car on the old road",
    "two blue dog near a house",
    "the old house and the car",
    "road near the blue house",
    "a dog on a red house",
    "the car and two old dog",
    "old blue road",
    "a house near a road and a dog",
]
STEPS = 50


def mixed(caption: str, seed: int) -> str:
    """The same words in another order."""
    words = caption.split()
    dice = np.random.default_rng(seed)
    while True:
        order = dice.permutation(len(words))
        if [words[place] for place in order] != words:
            return " ".join(words[place] for place in order)


def trained(model: Any, logits_and_targets: Any, rate: float) -> None:
    """Teach a model its pairs, all of them at each step."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    for _ in range(STEPS):
        logits, targets = logits_and_targets()
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def learn_blip(scorer: CaptionLikelihood) -> None:
    loaded = blip.load_captioner(hub_weights.Source(scorer.model))
    read = blip.tokens(loaded, [f"a picture of {text}" for text in CAPTIONS], 20, 5)
    pixels = blip._pixels(loaded, pictures(8), 8)

    def step() -> tuple[Any, Any]:
        said = loaded.model(pixel_values=pixels, input_ids=read.ids, attention_mask=read.mask)
        return said.logits[:, :-1], read.ids[:, 1:]

    trained(loaded.model, step, 3e-3)


def learn_coca(scorer: CaptionLikelihood) -> None:
    loaded: Loaded = coca.load(Source(scorer.model))
    ids = coca.tokens(loaded, CAPTIONS).ids
    pixels = coca._pixels(loaded, pictures(8), 8)

    def step() -> tuple[Any, Any]:
        said = loaded.model(pixels, ids)
        return said["logits"], said["labels"]

    trained(loaded.model, step, 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(("save", "learn"), [("blip", learn_blip), ("coca", learn_coca)])
def test_a_true_caption_is_likelier_than_its_words_mixed(
    tmp_path: Path, save: str, learn: Any
) -> None:
    folder = tmp_path / save
    model = save_blip(folder, CAPTIONING) if save == "blip" else save_coca(folder)
    scorer = CaptionLikelihood(model=model, max_tokens=20, batch_size=8)
    learn(scorer)
    images = pictures(8)
    true = scorer({"image": images, "caption": CAPTIONS})
    for seed in range(3):
        wrong = [mixed(text, seed) for text in CAPTIONS]
        other = scorer({"image": images, "caption": wrong})["caption_logp"]
        assert all(t > o + 1 for t, o in zip(true["caption_logp"], other, strict=True))
    assert min(true["caption_logp"]) > -1
    shifted = scorer({"image": images[1:] + images[:1], "caption": CAPTIONS})["caption_logp"]
    # A caption is likelier with its own picture, and so it gains by it.
    assert np.mean(true["caption_logp"]) > np.mean(shifted)
    assert np.mean(true["caption_gain"]) > 0
