"""What blocks inside a dual encoder say of images and texts, small enough to keep.

For networks beside a frozen encoder: some blocks, evenly spaced; of an image the summary and a
grid of four by four, of a text the last token and those before it. Shapes are fixed, so that a
value never depends on its companions; a narrower block is filled up with zeros.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from filters import embedded
from filters.threads import one_thread

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
GRID = 4
BLOCKS = 3
"""How many blocks of a model of open_clip are looked at; the last one is among them."""
_EMBEDDED = (4, 10, 15)  # of EfficientNet-Lite0: the last at 28, 14 and 7 cells a side
_STRIDE = 2


def embedded_images(images: list[Pixels]) -> Floats:
    """[n, 3, 17, 320]: three blocks of the embedded image backbone."""
    rows = [_embedded_image(image) for image in images]
    return np.stack(rows) if rows else np.zeros((0, len(_EMBEDDED), 1 + GRID * GRID, 320), "f4")


def embedded_texts(texts: list[str]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """[n, 1, 1, 512] and that all of it counts: the text backbone tells its last layer alone."""
    found = embedded.sentence_features(texts)[:, None, None]
    return found, np.ones((len(texts), 1), bool)


def _embedded_image(image: Pixels) -> Floats:
    maps = _maps(image)
    found: Floats = _filled([_cells(maps[number], None) for number in _EMBEDDED])[0]
    return found


def _maps(image: Pixels) -> list[Any]:
    """What each block of EfficientNet-Lite0 says, [1, w, h, h]."""
    import torch

    stem, blocks = _backbone()
    with torch.inference_mode(), one_thread():
        pixels = torch.from_numpy(embedded.fit(image)[None]).permute(0, 3, 1, 2).float()
        x, seen = stem((pixels - 127) / 128), []
        for layers in blocks:
            y = x
            for layer in layers:
                y = layer(y)
            x = y + x if layers[-2].stride == 1 and y.shape == x.shape else y
            seen.append(x)
    return seen


@functools.cache
def _backbone() -> Any:
    state = embedded.image_backbone()
    stem = embedded._folded(state, "_conv_stem", "_bn0", _STRIDE)
    return stem, [embedded._block(state, number) for number in range(16)]


def model_images(loaded: Any, images: list[Any]) -> Floats:
    """[n, 3, 17, w]: three blocks of the image tower over prepared images [3, h, w]."""
    return np.concatenate([_model_image(loaded, image) for image in images])


def _model_image(loaded: Any, image: Any) -> Floats:
    """One at a time: so it has no companions."""
    import torch

    with torch.inference_mode(), one_thread():
        found = loaded.model.forward_intermediates(
            image=image[None].to(loaded.device, loaded.dtype),
            image_indices=_chosen(_depth(loaded.model.visual)),
            intermediates_only=True,
            image_output_fmt="NCHW",
            image_output_extra_tokens=not hasattr(loaded.model.visual, "trunk"),  # of timm: none
        )
    blocks = found["image_intermediates"]
    prefixes = found.get("image_intermediates_prefix") or [None] * len(blocks)
    return _filled([_cells(x, p) for x, p in zip(blocks, prefixes, strict=True)])


def model_texts(loaded: Any, tokens: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """[n, 3, 1 + context, w], the last token before all; and which of them come before it.

    Raises ValueError for a text tower that sums up a text in another way.
    """
    import torch

    model = loaded.model
    tower = getattr(model, "text", model)
    pool = getattr(tower, "pool_type", getattr(model, "text_pool_type", None))
    if pool not in ("argmax", "last") or getattr(tower, "cls_emb", None) is not None:
        raise ValueError("a side network needs a text tower that ends in a token of the text")
    count, context = tokens.shape
    last = tokens.argmax(1) if pool == "argmax" else torch.full((count,), context - 1)
    rows = [
        _model_text(model, _chosen(_depth(tower)), row[None].to(loaded.device), int(place))
        for row, place in zip(tokens, last, strict=True)
    ]
    before = torch.arange(context)[None] < last[:, None]
    mask = torch.cat([torch.ones(count, 1, dtype=torch.bool), before], dim=1)
    return np.concatenate(rows), mask.numpy()


def _model_text(model: Any, chosen: list[int], tokens: Any, last: int) -> Floats:
    """One at a time: so it has no companions."""
    import torch

    with torch.inference_mode(), one_thread():
        found = model.forward_intermediates(
            text=tokens, text_indices=chosen, intermediates_only=True, text_output_fmt="NLC"
        )["text_intermediates"]
    return _filled([torch.cat([x[:, last : last + 1], x], dim=1) for x in found])


def _depth(tower: Any) -> int:
    """Blocks of a tower."""
    if hasattr(tower, "transformer"):
        return len(tower.transformer.resblocks)
    return len(tower.trunk.feature_info)


def _chosen(depth: int) -> list[int]:
    """At most BLOCKS places among so many, evenly spaced, the last one included."""
    count = min(BLOCKS, depth)
    return [(n + 1) * depth // count - 1 for n in range(count)]


def _cells(x: Any, prefix: Any) -> Any:
    """Tokens [n, 17, w] of maps [n, w, h, w]: the first prefix token or the mean, and a grid."""
    import torch

    first = x.mean((2, 3))[:, None] if prefix is None or not prefix.shape[1] else prefix[:, :1]
    grid = torch.nn.functional.adaptive_avg_pool2d(x.float(), GRID).flatten(2).transpose(1, 2)
    return torch.cat([first.float(), grid], dim=1)


def _filled(blocks: list[Any]) -> Floats:
    """[n, blocks, tokens, width] of blocks [n, tokens, own width]."""
    import torch

    width = max(x.shape[2] for x in blocks)
    wide = [torch.nn.functional.pad(x.float(), (0, width - x.shape[2])) for x in blocks]
    found: Floats = torch.stack(wide, dim=1).cpu().numpy()
    return found
