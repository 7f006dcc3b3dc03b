"""BLIP (Li et al. 2022, arXiv:2201.12086): whether a text matches an image, how likely it is.

Image and text go through the model in one fixed shape, so that no value depends on its companions.
A text is read up to a number of tokens, and it is told which were longer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters import hub_weights
from filters.hub_weights import TEXT_LENGTH, Loaded, Source
from filters.shared_images import groups
from filters.threads import one_thread

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

MATCHING, CAPTIONING = "BlipForImageTextRetrieval", "BlipForConditionalGeneration"
_MATCH = 1  # of the two logits of the head; 0 is "no match"


class Tokens(NamedTuple):
    """Texts as a model reads them: ids and mask [n, length], and which texts were cut."""

    ids: Any
    mask: Any
    cut: list[bool]


def load_matching(source: Source) -> Loaded:
    """A BLIP with its head for matching, tried once. Raises ValueError when it doesn't work."""
    return hub_weights.load(source, MATCHING)


def load_captioner(source: Source) -> Loaded:
    """A BLIP that writes captions, as `load_matching`."""
    return hub_weights.load(source, CAPTIONING)


def tokens(loaded: Loaded, texts: Sequence[str], length: int, first: int | None) -> Tokens:
    """Texts of exactly `length` tokens, padded or cut; `first` takes the place of the first one.

    Raises ValueError for a length that the model has no positions for.
    """
    import torch

    most = loaded.model.config.text_config.max_position_embeddings
    if length > most:
        raise ValueError(f"max_tokens: {length} in all, the model has positions for {most}")
    read = loaded.processor.tokenizer
    starts = [hub_weights.harmless(text[:TEXT_LENGTH], loaded.processor) for text in texts]
    whole = read(starts, add_special_tokens=True, verbose=False)["input_ids"]
    fitted = read(starts, padding="max_length", truncation=True, max_length=length)
    ids = torch.tensor(fitted["input_ids"])
    if first is not None:
        ids[:, 0] = first
    mask = torch.tensor(fitted["attention_mask"])
    cut = [
        len(one) > length or len(text) > TEXT_LENGTH for one, text in zip(whole, texts, strict=True)
    ]
    return Tokens(ids, mask, cut)


def prompt_length(loaded: Loaded, prompt: str) -> int:
    """How many tokens come before a text: the first one, and those of the prompt."""
    return 1 + len(loaded.processor.tokenizer(prompt, add_special_tokens=False)["input_ids"])


def match_scores(
    loaded: Loaded, images: list[Pixels], read: Tokens, size: int
) -> tuple[Doubles, Doubles]:
    """Probability [n] that text and image match, and the cosine [n] of their projections.

    An image that is there several times is seen once, and joined with each of its texts.
    """
    scores, cosines = np.empty(len(images)), np.empty(len(images))
    with one_thread():
        for group in groups((images,), size):
            seen = _seen(loaded, [images[first] for first in group.firsts], size)
            for places, which in group.parts(size):
                found = _match_batch(loaded, _chosen(seen, which, size), _part(read, places), size)
                scores[places], cosines[places] = found
    return scores, cosines


def _match_batch(loaded: Loaded, seen: Any, read: Tokens, size: int) -> tuple[Doubles, Doubles]:
    import torch

    model, count = loaded.model, len(read.cut)
    ids, mask = (_filled(part, size).to(loaded.device) for part in (read.ids, read.mask))
    with torch.inference_mode():
        # What the class of transformers does, but for its mask of the image, always on the CPU.
        joined = model.text_encoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long).to(seen.device),
        ).last_hidden_state
        alone = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        logits = model.itm_head(joined[:, 0])
        one, other = model.vision_proj(seen[:, 0]), model.text_proj(alone[:, 0])
    odds = logits.double().softmax(dim=1)[:, _MATCH]
    cosines = torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=1)
    return odds[:count].cpu().numpy(), cosines[:count].cpu().numpy()


def log_probabilities(
    loaded: Loaded, looks: Sequence[list[Pixels]], read: Tokens, prompt: int, size: int
) -> Doubles:
    """Mean natural log of the probability of a text's tokens, [n, looks], under each look.

    `looks` are lists of n images each; the first `prompt` tokens are given, not scored. NaN for a
    text without tokens of its own. Images that are there several times are seen once.
    """
    found = np.empty((len(read.cut), len(looks)))
    with one_thread():
        for group in groups(looks, size):
            for place, look in enumerate(looks):
                seen = _seen(loaded, [look[first] for first in group.firsts], size)
                for rows, which in group.parts(size):
                    own = _chosen(seen, which, size)
                    found[rows, place] = _likely_batch(loaded, own, _part(read, rows), prompt)
    return found


def scored_tokens(read: Tokens, prompt: int) -> list[int]:
    """How many tokens of each text come after the first `prompt`: its own and, if it was not cut,
    the end; none when it has none of its own."""
    own = (read.mask.sum(dim=1) - prompt - 1).tolist()
    return [n + (not cut) if n > 0 else 0 for n, cut in zip(own, read.cut, strict=True)]


def _likely_batch(loaded: Loaded, seen: Any, read: Tokens, prompt: int) -> Doubles:
    import torch

    ids, mask = (_filled(part, len(seen)).to(loaded.device) for part in (read.ids, read.mask))
    with torch.inference_mode():
        said = loaded.model.text_decoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=seen
        ).logits
    counts = scored_tokens(read, prompt)
    places = [torch.arange(prompt, prompt + n, device=loaded.device) for n in counts]
    return np.array([mean_log(said[i], ids[i], own) for i, own in enumerate(places)])


def mean_log(logits: Any, ids: Any, targets: Any) -> float:
    """Mean log probability of the tokens at these places, each by the logits before it; or NaN.

    `logits` [length, words] and `ids` [length] are of one text.
    """
    if not len(targets):
        return float("nan")
    before = logits[targets - 1].double().log_softmax(dim=1)
    return float(before.gather(1, ids[targets, None]).mean())


def _part(read: Tokens, places: list[int]) -> Tokens:
    return Tokens(read.ids[places], read.mask[places], [read.cut[place] for place in places])


def _seen(loaded: Loaded, images: list[Pixels], size: int) -> Any:
    """What the image tower says of pictures [size, patches, width], blank ones behind them."""
    import torch

    with torch.inference_mode():
        seen = loaded.model.vision_model(pixel_values=_pixels(loaded, images, size))
    return seen.last_hidden_state


def _chosen(seen: Any, which: list[int], size: int) -> Any:
    """Of `size` rows the picture that each of them shows; the last one again in those too many."""
    import torch

    with torch.inference_mode():
        return seen[torch.tensor(which + which[-1:] * (size - len(which)), device=seen.device)]


def _filled(rows: Any, size: int) -> Any:
    """The rows and copies of the last one, `size` in all."""
    import torch

    return torch.cat([rows, rows[-1:].expand(size - len(rows), -1)])


def _pixels(loaded: Loaded, images: list[Pixels], size: int) -> Any:
    """Pictures as the weights' own processor prepares them, each by itself; blank up to `size`."""
    import torch
    from PIL import Image

    prepare = loaded.processor.image_processor
    seen = [prepare(Image.fromarray(i), return_tensors="pt")["pixel_values"] for i in images]
    pixels = torch.cat(seen)
    blank = pixels.new_zeros((size - len(images), *pixels.shape[1:]))
    return torch.cat([pixels, blank]).to(loaded.device, loaded.dtype)
