"""The likelihood of a text as the answer of a model that is shown an image and asked about it.

Any image-text-to-text model of transformers with a chat template that writes its answer behind
the question. Each pair goes in by itself: models see as many tokens of an image as it is large.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filters import hub_weights
from filters.blip import mean_log
from filters.hub_weights import TEXT_LENGTH, Loaded, Source
from filters.threads import one_thread

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

KIND = "AutoModelForImageTextToText"


class Answers(NamedTuple):
    """The tokens of each text, cut to a length, and which texts were cut."""

    ids: list[list[int]]
    cut: list[bool]


def load(source: Source) -> Loaded:
    """The model. Raises ValueError when it isn't one that is asked by a chat template."""
    loaded = hub_weights.load(source, KIND)
    if loaded.model.config.is_encoder_decoder:
        raise ValueError(f"model {source.model!r} is an encoder with a decoder, not known here")
    if not getattr(loaded.processor, "chat_template", None):
        raise ValueError(f"model {source.model!r} has no chat template: how to ask is not known")
    return loaded


def answers(loaded: Loaded, texts: Sequence[str], length: int) -> Answers:
    """The tokens of texts as answers; nothing in a text counts as a control token."""
    ids = [
        loaded.processor.tokenizer(
            hub_weights.harmless(text[:TEXT_LENGTH], loaded.processor),
            add_special_tokens=False,
            verbose=False,
        )["input_ids"]
        for text in texts
    ]
    cut = [len(o) > length or len(t) > TEXT_LENGTH for o, t in zip(ids, texts, strict=True)]
    return Answers([own[:length] for own in ids], cut)


def log_probabilities(
    loaded: Loaded, looks: Sequence[list[Pixels]], read: Answers, question: str
) -> Doubles:
    """Mean natural log of the probability of a text's tokens, [n, looks], under each look.

    `looks` are lists of n images each. The end of an answer is not scored: how a model ends one
    is a matter of its template. NaN for a text without tokens.
    """
    asked = loaded.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
        add_generation_prompt=True,
        tokenize=False,
    )
    with one_thread():
        rows = [
            [_answered(loaded, look[row], asked, own) for look in looks]
            for row, own in enumerate(read.ids)
        ]
    return np.array(rows).reshape(len(rows), len(looks))


def _answered(loaded: Loaded, image: Pixels, asked: str, own: list[int]) -> float:
    import torch
    from PIL import Image

    if not own:
        return float("nan")
    given = loaded.processor(text=[asked], images=[Image.fromarray(image)], return_tensors="pt")
    start = given["input_ids"].shape[1]
    for name, value in list(given.items()):
        if value.shape == given["input_ids"].shape and name != "input_ids":
            # What is said of each token: of text it is a 1 in masks, a 0 in types.
            fill = 1 if name == "attention_mask" else 0
            given[name] = torch.cat([value, value.new_full((1, len(own)), fill)], dim=1)
    given["input_ids"] = torch.cat([given["input_ids"], torch.tensor([own])], dim=1)
    moved = {
        name: value.to(loaded.device, loaded.dtype if value.is_floating_point() else None)
        for name, value in given.items()
    }
    with torch.inference_mode():
        logits = loaded.model(**moved).logits[0]
    places = torch.arange(start, start + len(own), device=loaded.device)
    return mean_log(logits, moved["input_ids"][0], places)
