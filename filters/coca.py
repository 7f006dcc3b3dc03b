"""The likelihood of a text under a CoCa of open_clip (Yu et al. 2022, arXiv:2205.01917).

One pass of teacher forcing: all tokens of a text go in, and each is judged by what the decoder
says at the place before it. `CoCa.generate` is not needed and not used.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters import clip_weights
from filters.blip import mean_log
from filters.clip_weights import Loaded, Source
from filters.hub_weights import TEXT_LENGTH
from filters.shared_images import groups
from filters.threads import one_thread

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
_PAD = 0


class Tokens(NamedTuple):
    """Texts as the model reads them: ids [n, context], the places of what is scored, the cut."""

    ids: Any
    targets: list[Any]
    cut: list[bool]


def check(source: Source) -> None:
    """Raises ValueError for a model that is no CoCa, and as `clip_weights.check` does."""
    clip_weights.check(source)
    if "multimodal_cfg" not in clip_weights.config(source):
        raise ValueError(
            f"model {source.model!r} writes no captions: it has no `multimodal_cfg`, as CoCa has"
        )
    text = clip_weights.config(source)["text_cfg"]
    if "hf_model_name" in text or "hf_tokenizer_name" in text:
        raise ValueError(f"model {source.model!r}: only CoCa with CLIP's tokenizer is known here")


def load(source: Source) -> Loaded:
    """The model. Raises as `clip_weights.load` does."""
    loaded = clip_weights.load(source)
    # open_clip leaves this one of the decoder at full precision, and half precision fails.
    projection = loaded.model.text_decoder.text_projection
    projection.data = projection.data.to(loaded.dtype)
    return loaded


def tokens(loaded: Loaded, texts: Sequence[str]) -> Tokens:
    """Texts of exactly as many tokens as the model reads: 76 for CoCa, not the 77 of CLIP.

    The first token is no target; the end is one, unless the text was cut. Token 0 is padding and
    also `!` within a run of signs: training skips it as a target, and so is it here.
    """
    import torch

    read, context = loaded.tokenize, loaded.empty.shape[1]
    first, end = read.sot_token_id, read.eot_token_id
    ids = torch.full((len(texts), context), _PAD)
    targets, cut = [], []
    for row, text in zip(ids, texts, strict=True):
        # The tokenizer would take `<end_of_text>` in a caption for its own, also as `&lt;...`.
        own = [one for one in read.encode(text[:TEXT_LENGTH]) if one not in (first, end)]
        is_cut = len(own) > context - 2 or len(text) > TEXT_LENGTH
        line = torch.tensor([first, *own[: context - 2], end])
        row[: len(line)] = line
        places = 1 + (line[1:] != _PAD).nonzero()[:, 0]
        targets.append(places[: len(places) - is_cut if own else 0])
        cut.append(is_cut)
    return Tokens(ids, targets, cut)


def log_probabilities(
    loaded: Loaded, looks: Sequence[list[Pixels]], read: Tokens, size: int
) -> Doubles:
    """Mean natural log of the probability of a text's tokens, [n, looks], under each look.

    `looks` are lists of n images each. NaN for a text without tokens of its own. Images that are
    there several times are seen once.
    """
    import torch

    found = np.empty((len(read.cut), len(looks)))
    with one_thread(), torch.inference_mode():
        for group in groups(looks, size):
            firsts = [[look[first] for first in group.firsts] for look in looks]
            seen = [loaded.model._encode_image(_pixels(loaded, f, size))[1] for f in firsts]
            for places, which in group.parts(size):
                filled = which + which[-1:] * (size - len(which))
                found[places] = _batch(loaded, [one[filled] for one in seen], read, places)
    return found


def _batch(loaded: Loaded, seen: Sequence[Any], read: Tokens, places: list[int]) -> Doubles:
    """One batch, filled up to what is seen so that no value depends on its companions."""
    import torch

    ids = read.ids[places]
    more = len(seen[0]) - len(places)
    ids = torch.cat([ids, ids[-1:].expand(more, -1)]).to(loaded.device)
    targets = [read.targets[place].to(loaded.device) for place in places]
    # The tower adds its class token behind the padding and hands back the tokens alone.
    _, words = loaded.model._encode_text(ids)
    said = (loaded.model.text_decoder(look, words) for look in seen)
    logs = [
        [mean_log(logits[row], ids[row], own) for row, own in enumerate(targets)] for logits in said
    ]
    return np.array(logs).T


def _pixels(loaded: Loaded, images: list[Pixels], size: int) -> Any:
    """Pictures as the weights' training prepared them; blank ones up to `size`."""
    import torch

    pixels = torch.stack([clip_weights.prepared(loaded, image) for image in images])
    blank = pixels.new_zeros((size - len(images), *pixels.shape[1:]))
    return torch.cat([pixels, blank]).to(loaded.device, loaded.dtype)
