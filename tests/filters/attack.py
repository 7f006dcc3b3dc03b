"""Makes pictures that fool the embedded encoder, by its gradients."""

import numpy as np
import torch
from PIL import Image

from filters import embedded


def image_vectors(pixels: torch.Tensor) -> torch.Tensor:
    """What `embedded.encode_images` gives for float pixels [n, 224, 224, 3], with gradients."""
    heads = {name: torch.from_numpy(array) for name, array in embedded.read_heads().items()}
    features, logits = embedded._network("cpu")(pixels)
    x = (features - heads["image.mean"]) / heads["image.deviation"]
    x = torch.nn.functional.layer_norm(x, x.shape[1:])
    hidden = torch.relu(x @ heads["image.hidden"].mT + heads["image.hidden_bias"][:, None])
    trained = x @ heads["image.direct"].mT + hidden @ heads["image.out"].mT
    trained = trained + heads["image.bias"][:, None]
    odds = logits.softmax(dim=1)
    likely = torch.where(odds >= odds.topk(10, dim=1).values[:, -1:], odds, 0) @ heads["classes"]
    unit = torch.nn.functional.normalize
    share = heads["share"]
    parts = [(share / len(trained)).sqrt() * unit(head) for head in trained]
    return unit(torch.cat([*parts, (1 - share).sqrt() * unit(likely)], 1))


def raised(
    images: np.ndarray, texts: list[str], *, radius: float, steps: int = 10, seed: int = 0
) -> np.ndarray:
    """Pictures uint8 [n, 224, 224, 3] within `radius` levels whose scores with the texts are high.

    Projected gradient ascent by signs from a random start (Madry et al., arXiv:1706.06083).
    """
    target = torch.from_numpy(embedded.encode_texts(texts))
    clean = torch.from_numpy(images).float()
    dice = torch.Generator().manual_seed(seed)
    change = (torch.rand(clean.shape, generator=dice) * 2 - 1) * radius
    for _ in range(steps):
        pixels = (clean + change).clamp(0, 255).requires_grad_()
        score = (image_vectors(pixels) * target).sum()
        (slope,) = torch.autograd.grad(score, pixels)
        change = (pixels.detach() + radius / 4 * slope.sign() - clean).clamp(-radius, radius)
    found = (clean + change.round()).clamp(0, 255)
    return found.to(torch.uint8).numpy()


def scene(seed: int) -> np.ndarray:
    """A smooth picture of the encoder's size, as a photograph is after it was made smaller."""
    dice = np.random.default_rng(seed)
    size = int(dice.integers(4, 24))
    coarse = Image.fromarray(dice.integers(0, 256, (size, size, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((224, 224), Image.Resampling.BICUBIC))
