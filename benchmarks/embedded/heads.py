"""Trains the heads on frozen features, with a contrastive loss, on what may be learnt from.

One thread and fixed seeds: the same data on the same kind of machine give the same bytes.
"""

import importlib.resources
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from torch import nn

from benchmarks.embedded.pairs import Pair
from benchmarks.embedded.splits import Part, canonical, part
from filters import embedded

_LOG = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """What was chosen on validation captions; README.md tells what else was tried."""

    members: int = 3  # heads trained apart, of which a cosine is the mean
    width: int = 256
    hidden: int = 512
    dropout: float = 0.3
    noise: float = 0.03
    epochs: int = 80
    share: float = 0.85  # of the trained part in a cosine; the rest is ConSE
    batch: int = 512
    rate: float = 1e-3
    decay: float = 0.1
    imagined: float = 0.25  # share of a batch that is made from classifier weights
    sources: tuple[str, ...] = ("clipart", "emoji", "stamps")
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """A pair that may be learnt from, with only the words that may be learnt."""

    row: int
    concept: int
    caption: str
    translations: tuple[str, ...]
    keywords: tuple[str, ...]


def lessons(
    pairs: list[Pair],
    sources: tuple[str, ...],
    parts: tuple[Part, ...] = ("train",),
    kept_out: frozenset[str] = frozenset(),
) -> list[Lesson]:
    """Pairs of these sources and parts of which no caption or concept is held out anywhere.

    A picture with any name in the test part is left out, too. A translation or keyword is dropped
    if it is a name of anything held out, in any language; so is what `kept_out` names.
    """
    held_out = [p for p in pairs if part(p.caption) not in parts]
    concepts = {p.concept for p in held_out}
    names = {canonical(t) for p in held_out for t in (p.caption, *p.translations.values())}
    names |= {canonical(name) for name in kept_out}

    def usable(text: str) -> bool:
        return part(text) in parts and canonical(text) not in names

    chosen = [
        (row, p)
        for row, p in enumerate(pairs)
        if p.source in sources
        and usable(p.caption)
        and part(p.concept) in parts
        and p.concept not in concepts
        and all(part(name) != "test" for name in p.other_names)
    ]
    numbers = {concept: n for n, concept in enumerate(sorted({p.concept for _, p in chosen}))}
    return [
        Lesson(
            row,
            numbers[p.concept],
            p.caption,
            tuple(t for t in p.translations.values() if canonical(t) not in names),
            tuple(k for k in p.keywords if usable(k)),
        )
        for row, p in chosen
    ]


def class_names() -> list[list[str]]:
    """The English names of the 1,000 ImageNet classes in the backbone's order (data of timm)."""
    folder = importlib.resources.files("timm.data") / "_info"
    order = (folder / "imagenet_synsets.txt").read_text("utf-8").split()
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    lemmas = dict(line.split("\t", 1) for line in lines)
    return [[name.strip() for name in lemmas[synset].split(",")] for synset in order]


def class_table(sentences: dict[str, Floats], names: list[list[str]]) -> Floats:
    """One unit sentence vector per class: the mean over its names; zero for a class without."""
    rows = [sum((sentences[n] for n in own), np.zeros(512, np.float32)) for own in names]
    table = np.stack(rows)
    unit: Floats = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    return unit


class _ImageHead(nn.Module):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.drop = nn.Dropout(settings.dropout)
        self.direct = nn.Linear(1280, settings.width)
        self.hidden = nn.Linear(1280, settings.hidden)
        self.out = nn.Linear(settings.hidden, settings.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(nn.functional.layer_norm(x, (1280,)))
        hidden = self.drop(nn.functional.relu(self.hidden(x)))
        return nn.functional.normalize(self.direct(x) + self.out(hidden), dim=1)


@dataclass(frozen=True)
class Material:
    """Everything a training run reads: features [n, 1280], sentence vectors, classifier.

    `names` are those of the ImageNet classes, as far as they may be learnt.
    """

    lessons: list[Lesson]
    features: Floats
    sentences: dict[str, Floats]
    names: list[list[str]]
    classifier: Floats


def train(material: Material, settings: Settings) -> dict[str, Floats]:
    """The trained arrays by the names that `filters.embedded` expects (without `share`)."""
    torch.set_num_threads(1)
    plain = material.features[[lesson.row for lesson in material.lessons]]
    mean, deviation = plain.mean(0), plain.std(0) + 0.05
    members = [
        _member(material, replace(settings, seed=settings.seed + n), mean, deviation)
        for n in range(settings.members)
    ]
    stacked = {name: np.stack([member[name] for member in members]) for name in members[0]}
    return stacked | {"image.mean": mean, "image.deviation": deviation}


def _member(
    material: Material, settings: Settings, mean: Floats, deviation: Floats
) -> dict[str, Floats]:
    """One head for images and one for texts, trained from this seed."""
    torch.manual_seed(settings.seed)
    dice = np.random.default_rng(settings.seed)
    plain = material.features[[lesson.row for lesson in material.lessons]]
    imagination = _Imagination(material, mean, plain)
    image_head, text_head = _ImageHead(settings), nn.Linear(512, settings.width)
    scale = nn.Parameter(torch.tensor(2.6))
    parameters = [*image_head.parameters(), *text_head.parameters(), scale]
    optimiser = torch.optim.AdamW(parameters, lr=settings.rate, weight_decay=settings.decay)
    steps = settings.epochs * (len(material.lessons) // settings.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        batch = _batch(material, imagination, settings, dice)
        pictures = (batch.features - mean) / deviation
        pictures += settings.noise * dice.standard_normal(pictures.shape, np.float32)
        texts = nn.functional.normalize(text_head(torch.from_numpy(batch.sentences)), dim=1)
        cosines = image_head(torch.from_numpy(pictures)) @ texts.T
        loss = _contrast(scale.exp().clamp(max=60) * cosines, batch.concepts)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            _LOG.info("seed %d, step %d of %d: loss %.3f", settings.seed, step, steps, loss.item())
    return _arrays(image_head, text_head)


@dataclass(frozen=True)
class _Batch:
    features: Floats
    sentences: Floats
    concepts: npt.NDArray[np.int64]


class _Imagination:
    """Features of photographs that we don't have: the mean picture moved along a classifier row."""

    def __init__(self, material: Material, mean: Floats, plain: Floats) -> None:
        self.classes = np.flatnonzero([bool(own) for own in material.names])
        self.sentences = class_table(material.sentences, material.names)
        rows = material.classifier - material.classifier.mean(0)
        self.rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self.mean = mean
        self.reach = float(np.linalg.norm(plain - mean, axis=1).mean())

    def draw(self, real: Floats, dice: np.random.Generator) -> tuple[Floats, npt.NDArray[np.int64]]:
        """One imagined picture for each real one, whose style it borrows."""
        classes = dice.choice(self.classes, len(real))
        length = self.reach * dice.uniform(0.7, 1.3, (len(real), 1)).astype(np.float32)
        made = self.mean + self.rows[classes] * length + 0.35 * (real - self.mean)
        return np.maximum(made, 0), classes


def _batch(
    material: Material, imagination: _Imagination, settings: Settings, dice: np.random.Generator
) -> _Batch:
    chosen = dice.choice(len(material.lessons), settings.batch, replace=False)
    picked = [material.lessons[i] for i in chosen]
    rows = np.array([lesson.row for lesson in picked])
    features = material.features[rows]
    sentences = np.stack([material.sentences[_words(lesson, dice)] for lesson in picked])
    concepts = np.array([lesson.concept for lesson in picked])
    count = int(settings.imagined * settings.batch)
    made, classes = imagination.draw(features[:count], dice)
    return _Batch(
        np.concatenate([features, made]),
        np.concatenate([sentences, imagination.sentences[classes]]),
        np.concatenate([concepts, -1 - classes]),
    )


def _words(lesson: Lesson, dice: np.random.Generator) -> str:
    draw = dice.random()
    if lesson.translations and draw < 0.5:
        return str(dice.choice(np.array(lesson.translations, dtype=object)))
    if lesson.keywords and draw > 0.85:
        return str(dice.choice(np.array(lesson.keywords, dtype=object)))
    return lesson.caption


def _contrast(logits: torch.Tensor, concepts: npt.NDArray[np.int64]) -> torch.Tensor:
    """CLIP's symmetric loss; pairs of one concept share the target."""
    same = torch.from_numpy((concepts[:, None] == concepts[None]).astype(np.float32))
    target = same / same.sum(1, keepdim=True)
    forward = -(target * logits.log_softmax(1)).sum(1).mean()
    backward = -(target * logits.T.log_softmax(1)).sum(1).mean()
    return (forward + backward) / 2


def _arrays(image_head: _ImageHead, text_head: nn.Linear) -> dict[str, Floats]:
    tensors = {
        "image.direct": image_head.direct.weight,
        "image.bias": image_head.direct.bias,
        "image.hidden": image_head.hidden.weight,
        "image.hidden_bias": image_head.hidden.bias,
        "image.out": image_head.out.weight,
        "text.weight": text_head.weight,
        "text.bias": text_head.bias,
    }
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def classifier_rows() -> Floats:
    """The weights of the backbone's last layer [1000, 1280]."""
    rows: Floats = embedded.image_backbone()["_fc.weight"].numpy()
    return rows


def write(path: Path, arrays: dict[str, Floats]) -> None:
    """The heads as half-precision safetensors, in place of what was there."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_bytes(save({n: arrays[n].astype(np.float16) for n in sorted(arrays)}))
    partial.replace(path)
