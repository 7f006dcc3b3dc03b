"""Contrastive losses for what the training reader gives: many texts per image, some missing.

Each takes features of unit length and the factor `scale` of the cosines (the inverse of a
temperature). With one text per image, all of them there and all weights one, each is CLIP's loss.
To train on several processes, gather features, masks and weights of all of them first.
"""

import torch
from torch.nn import functional

Scale = torch.Tensor | float


def info_nce(images: torch.Tensor, texts: torch.Tensor, scale: Scale) -> torch.Tensor:
    """CLIP's loss (arXiv:2103.00020) of images [n, d] and the texts [n, d] that go with them."""
    return _of_pairs(images, texts, scale).mean()


def weighted_info_nce(
    images: torch.Tensor, texts: torch.Tensor, weights: torch.Tensor, scale: Scale
) -> torch.Tensor:
    """ALIP's loss (arXiv:2308.08428, and its code): every pair's own CLIP loss times its weight.

    `weights` [n] is the product of sample weight and pair weight, and gets no gradient. It is the
    mean over the batch, not over the weights. ALIP adds this loss for the raw captions and for the
    synthetic ones. A pair with weight 0 still is a negative to the others.
    """
    return (_of_pairs(images, texts, scale) * weights.detach()).mean()


def multi_positive(
    images: torch.Tensor, texts: torch.Tensor, mask: torch.Tensor, scale: Scale
) -> torch.Tensor:
    """DreamLIP's loss (arXiv:2403.17007, its code with `use_declip_loss`) of K texts per image.

    `images` [n, d], `texts` [n, K, d], `mask` [n, K] says which texts are there. The mean over the
    K places of CLIP's loss of the images and their texts in that place, so that texts of one image
    are never negatives to each other. With texts missing: the mean over those that are there, each
    against the texts that are there in its place and against all images.
    """
    logits = scale * torch.einsum("id,jkd->kij", images, texts).float()  # [K, image, text]
    there = mask.T  # [K, n]
    towards_texts = _masked(logits, there[:, None, :]).log_softmax(2)
    towards_images = logits.log_softmax(1)
    both = (towards_texts + towards_images).diagonal(dim1=1, dim2=2) / 2
    return -_mean(both, there)


def one_to_k(
    images: torch.Tensor, texts: torch.Tensor, mask: torch.Tensor, scale: Scale
) -> torch.Tensor:
    """The 1-to-K loss of CCRK (arXiv:2406.18254, and its code) of texts in K languages per image.

    `images` [n, d], `texts` [n, K, d], `mask` [n, K] says which texts are there. Each image is
    compared with all n K texts at once, its own K of them all positives; each text with the n
    images. The losses of an image's texts are summed, those of all texts averaged; half of both
    is divided by K, so that the direction from text to image counts one K-th, as in the code.
    With texts missing K is the mean number of those that are there, over images that have any.
    """
    count, places = mask.shape
    logits = scale * torch.einsum("id,jkd->ijk", images, texts).float()  # [image, text's image, K]
    all_texts = _masked(logits, mask[None]).flatten(1).log_softmax(1).view(count, count, places)
    own_texts = all_texts.diagonal(dim1=0, dim2=1).T  # [n, K]
    own_images = logits.log_softmax(0).diagonal(dim1=0, dim2=1).T
    texts_per_image = mask.sum() / mask.any(1).sum().clamp(min=1)
    to_images = _mean(own_images, mask) / texts_per_image.clamp(min=1)
    return -(_mean(own_texts, mask) + to_images) / 2


def _of_pairs(images: torch.Tensor, texts: torch.Tensor, scale: Scale) -> torch.Tensor:
    """CLIP's loss [n] of each pair: half from the image to its text, half back."""
    logits = scale * (images @ texts.T).float()
    own = torch.arange(len(logits), device=logits.device)
    there = functional.cross_entropy(logits, own, reduction="none")
    return (there + functional.cross_entropy(logits.T, own, reduction="none")) / 2


def _masked(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Without what is missing; not by infinity, which spoils gradients where nothing is there."""
    return logits.masked_fill(~mask, torch.finfo(logits.dtype).min)


def _mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of what is there; 0 where there is nothing."""
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)
