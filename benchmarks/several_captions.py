"""What a column of captions costs a text scorer, in times of what one caption of each image costs.

Each scorer is asked as `pipeline.each` asks it: for all captions of a batch of images. One that
looks at an image for each of its captions takes as many times as there are captions; what is left
in others is the work on texts, and on image and text together. Models are small and have random
weights, but for the embedded encoder; CoCa and BLIP have towers of four layers.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.clip import SMALL, save_model
from benchmarks.decoding import made_up
from filters.clip import ClipScore
from filters.comclip import ComClip
from filters.consistency import ClipConsistency
from filters.facets import Facets
from filters.likelihood import CaptionLikelihood
from filters.matching import ImageTextMatching
from filters.mirrored import Mirrored
from filters.reward import RewardScore
from filters.tmars import MaskedClipScore
from filters.transport import WordRegionTransport
from pipeline.each import EachCaption

BATCH = 8
SIZE = (512, 384)
WHO = ("a man", "a red dog", "two women", "an old horse", "a small boy")
DOES = ("rides", "holds", "watches", "carries")
WHAT = ("a blue bike", "a white cat", "a green boat", "an apple", "a big ball", "a wooden chair")
WHERE = ("on the road", "near a house", "by the sea", "in the park", "under a tree")
Batch = dict[str, list[Any]]


def images(count: int) -> list[Any]:
    """Pictures with the spectrum of photographs, no two of them equal."""
    whole = np.asarray(Image.open(BytesIO(made_up(*SIZE, quality=85))))
    return [np.ascontiguousarray(np.roll(whole, 17 * number, axis=1)) for number in range(count)]


def texts(count: int) -> list[str]:
    """Sentences with somebody, a deed, a thing and a place; none is there twice."""
    dice = np.random.default_rng(0)
    parts = (WHO, DOES, WHAT, WHERE)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(str(dice.choice(part)) for part in parts)] = None
    return list(found)


def save_coca(folder: Path) -> str:
    """A CoCa with random weights, as open_clip loads it; returns what a recipe names it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    text = {**SMALL["text_cfg"], "embed_cls": True, "output_tokens": True, "context_length": 76}
    pooled = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    parts = {
        "embed_dim": 96,
        "vision_cfg": {**SMALL["vision_cfg"], **pooled},
        "text_cfg": text,
        "multimodal_cfg": {**SMALL["text_cfg"], "context_length": 76, "attn_pooler_heads": 2},
    }
    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.CoCa(**parts)
    torch.nn.init.normal_(model.text_decoder.text_projection, std=0.2)
    save_file(
        {name: value.contiguous().clone() for name, value in model.state_dict().items()},
        folder / "model.safetensors",
    )
    plain = {"mean": [0] * 3, "std": [1] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": {**parts, "custom_text": True}, "preprocess_cfg": plain}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


def save_blip(folder: Path, kind: str) -> str:
    """A BLIP of this class of transformers with random weights; returns what a recipe names it."""
    import torch
    import transformers

    spoken = " ".join((*WHO, *DOES, *WHAT, *WHERE, "picture of")).split()
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *dict.fromkeys(spoken))
    small = {"hidden_size": 192, "intermediate_size": 384, "initializer_range": 0.2}
    small |= {"num_attention_heads": 4}
    marks = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    vision = {**small, "num_hidden_layers": 4, "image_size": 224, "patch_size": 16}
    text = {**small, **marks, "num_hidden_layers": 2, "vocab_size": len(words)}
    config = transformers.BlipConfig(
        text_config={**text, "encoder_hidden_size": 192, "max_position_embeddings": 80},
        vision_config=vision,
        image_text_hidden_size=64,
    )
    torch.manual_seed(0)
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(vocab={word: n for n, word in enumerate(words)})
    pictures = transformers.BlipImageProcessor(size={"height": 224, "width": 224})
    transformers.BlipProcessor(pictures, tokenizer).save_pretrained(folder)
    return f"local-dir:{folder}"


def scorers(work: Path) -> Iterator[tuple[str, Any]]:
    """What is asked, by the name that a table has for it."""
    save_model(work / "small", SMALL)
    clip: dict[str, Any] = {"model": f"local-dir:{work / 'small'}", "batch_size": BATCH}
    yield "clip", ClipScore(batch_size=BATCH)
    yield "mirrored", Mirrored(batch_size=BATCH)
    yield "tmars", MaskedClipScore(batch_size=BATCH)
    yield "consistency", ClipConsistency(batch_size=BATCH)
    yield "reward", RewardScore(batch_size=BATCH)
    yield "ot", WordRegionTransport(batch_size=BATCH)
    yield "comclip", ComClip(batch_size=BATCH)
    yield "facets", Facets(batch_size=BATCH)
    yield "itm", ImageTextMatching(batch_size=BATCH)
    yield "likelihood", CaptionLikelihood(batch_size=BATCH)
    for name, kind in (("clip", ClipScore), ("mirrored", Mirrored), ("tmars", MaskedClipScore)):
        yield f"{name}, open_clip", kind(**clip)
    yield "consistency, open_clip", ClipConsistency(**clip)
    yield "ot, open_clip", WordRegionTransport(**clip)
    yield "comclip, open_clip", ComClip(**clip)
    matching = save_blip(work / "matching", "BlipForImageTextRetrieval")
    yield "itm, BLIP", ImageTextMatching(model=matching, batch_size=BATCH)
    captioning = save_blip(work / "captioning", "BlipForConditionalGeneration")
    yield "likelihood, BLIP", CaptionLikelihood(model=captioning, batch_size=BATCH)
    coca = save_coca(work / "coca")
    yield "likelihood, CoCa", CaptionLikelihood(model=coca, batch_size=BATCH)


def asking(scorer: Any, rows: int, captions: int) -> Callable[[], Batch]:
    """Asks for a column of so many captions of each image, batch by batch; text is not new."""
    each, spoken = EachCaption(scorer, "caption"), iter(texts(rows * captions))
    column = [[{"text": next(spoken)} for _ in range(captions)] for _ in range(rows)]
    boxes = [[0.1, 0.1, 0.3, 0.2, 0.9]] * rows
    batch = {"image": images(rows), "caption": column, "text_boxes": boxes}
    wanted = {name: batch[name] for name in scorer.reads}

    def run() -> Batch:
        found: Batch = {name: [] for name in scorer.writes.names}
        for start in range(0, rows, BATCH):
            part = {name: values[start : start + BATCH] for name, values in wanted.items()}
            for name, values in each(part).items():
                found[name] += values
        return found

    return run


def cost_s(run: Callable[[], Any], rounds: int) -> float:
    """The median of CPU seconds; the first turn only warms up."""
    costs = []
    for turn in range(rounds + 1):
        start = time.process_time()
        run()
        costs += [time.process_time() - start] if turn else []
    return statistics.median(costs)


def ratios(work: Path, rows: int, captions: int, rounds: int) -> Iterator[list[str]]:
    """Of each scorer CPU ms per image with one caption and with many, and how many times it is."""
    for name, scorer in scorers(work):
        one, many = (cost_s(asking(scorer, rows, count), rounds) for count in (1, captions))
        yield [name, f"{1000 * one / rows:.1f}", f"{1000 * many / rows:.1f}", f"{many / one:.1f}"]
