"""Trains a tiny model on an export, with a checkpoint after every step: to be killed, and go on.

python -m tests.pipeline.training_runs OUT WORK MODE STEPS_UNTIL_KILLED
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import normalize

from pipeline.losses import info_nce, multi_positive, one_to_k, weighted_info_nce
from pipeline.training import (
    Drawn,
    Languages,
    Order,
    PairLoader,
    Pairs,
    Place,
    Regions,
    Slots,
    SubCaptions,
)

SCALE, SIDE = 5.0, 16
RAW, MADE = "alip_raw_weight", "alip_synthetic_weight"
PLANS = {
    "drawn": Drawn({"txt": 1, "sentence": 2}, {"en": 2, "es": 1}, unlabelled="en"),
    "sub_captions": SubCaptions(k=3),
    "languages": Languages(("de", "en", "es")),
    "alip": Slots(("txt", "short")),
    "regions": Drawn({"txt": 1}),
}


class Tiny(nn.Module):
    """Two towers of one layer each, with chance in one of them."""

    def __init__(self):
        super().__init__()
        self.picture = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(3 * SIDE * SIDE, 8))
        self.words = nn.EmbeddingBag(256, 8)

    def pictures(self, images):
        return normalize(self.picture(images), dim=-1)

    def texts(self, tokens):
        return normalize(self.words(tokens.flatten(0, 1)), dim=-1).unflatten(0, tokens.shape[:2])


def augmented(image):
    """A picture mirrored by chance, with noise: what training does, and has to do again."""
    pixels = torch.frombuffer(bytearray(image.resize((SIDE, SIDE)).tobytes()), dtype=torch.uint8)
    picture = pixels.view(SIDE, SIDE, 3).permute(2, 0, 1) / 255
    picture = picture.flip(2) if torch.rand(()) < 0.5 else picture
    return picture + 0.1 * torch.randn(3, SIDE, SIDE)


def tokenize(texts):
    """The bytes of each text, up to 32."""
    return torch.tensor([list((text.encode() + bytes(32))[:32]) for text in texts])


def loss_of(mode, model, batch):
    images, texts = model.pictures(batch["images"]), model.texts(batch["tokens"])
    if mode == "sub_captions":
        return multi_positive(images, texts, batch["mask"], SCALE)
    if mode == "languages":
        return one_to_k(images, texts, batch["mask"], SCALE)
    if mode == "alip":
        paths = enumerate((RAW, MADE))
        weights = batch["weights"]
        return sum(weighted_info_nce(images, texts[:, k], weights[w], SCALE) for k, w in paths)
    loss = info_nce(images, texts[:, 0], SCALE)
    if mode == "regions":  # each box's middle is to be told from its words
        middle = batch["boxes"].unflatten(2, (2, 2)).mean(2).sum(2)
        told = model.texts(batch["box_tokens"]).sum(2)
        loss = loss + (told - middle)[batch["box_mask"]].square().mean()
    return loss


def loader_of(out, mode, workers):
    pairs = Pairs(
        PLANS[mode],
        augmented,
        tokenize,
        weights=(RAW, MADE) if mode == "alip" else (),
        regions=Regions(most=4, least_px=0) if mode == "regions" else None,
    )
    options = {"prefetch_factor": 1} if workers else {}
    return PairLoader(out, pairs, Order(2, 4), Place(0, 1, workers), options)


def train(out, work, mode, steps=None, epochs=2):
    """Train on from the checkpoint in `work` to the end; dies by SIGKILL after so many steps."""
    torch.manual_seed(0)
    model, loader = Tiny(), loader_of(out, mode, workers=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    saved, losses = work / f"{mode}.pt", []
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
        torch.set_rng_state(state["chance"])
        losses = state["losses"]
    for _ in range(loader.epoch, epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss = loss_of(mode, model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "loader": loader.state_dict(),
                "chance": torch.get_rng_state(),
                "losses": losses,
            }
            torch.save(state, work / "new.pt")
            os.replace(work / "new.pt", saved)
            if len(losses) == steps:
                os.kill(os.getpid(), signal.SIGKILL)
    (work / f"{mode}.json").write_text(json.dumps(losses))
    return losses


@torch.inference_mode()
def mean_loss(out, mode, weights=None):
    """Over the first epoch, of a model as it begins or with these weights."""
    torch.manual_seed(0)
    model = Tiny().eval()
    if weights is not None:
        model.load_state_dict(weights)
    losses = [loss_of(mode, model, batch).item() for batch in loader_of(out, mode, workers=0)]
    return sum(losses) / len(losses)


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
