"""Models that write captions of pictures, by family: how each is shown a picture and asked.

Most are asked by chat (`filters.mllm`): Qwen2.5-VL and Qwen3-VL, LLaVA, Idefics3 and SmolVLM,
InternVL and whatever else has a chat template. BLIP goes on from the beginning of a caption;
Florence-2 knows a few tasks, each by a token of its own. What a family can't be asked is refused.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from filters import hub_weights, mllm
from filters.hub_weights import Source
from filters.mllm import Mllm, Shape
from filters.mllm import Prompt as Asked
from filters.sampling import Draws, Writing, Written, written
from filters.threads import one_thread
from recaption.prompts import LONG, SHORT, Prompt, Task

CHAT, BLIP, FLORENCE, TEXT = "chat", "blip", "florence2", "text"
BY_CHAT = (CHAT, TEXT)
_CLASSES = {BLIP: "BlipForConditionalGeneration", FLORENCE: "Florence2ForConditionalGeneration"}
_PARTS = {BLIP: "text_decoder."}
_FLORENCE_TASKS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>", "<OCR>")
VERSION = 1
"""Raised when a family is asked in another way, as by a change of the prompts below."""
_PROMPTS = {  # of the authors: the words that the weights were trained with
    (BLIP, SHORT): Prompt("blip-short", 1, "a picture of"),
    (FLORENCE, SHORT): Prompt("florence2-short", 1, _FLORENCE_TASKS[0]),
    (FLORENCE, LONG): Prompt("florence2-long", 1, _FLORENCE_TASKS[2]),
}
_ANY_SHAPE = (  # types that see a picture in its own shape; others are trained on squares
    "qwen",
    "idefics",
    "smolvlm",
    "internvl",
    "llava_next",
    "llava_onevision",
    "glm4v",
    "mistral3",
    "lfm2_vl",
    "ovis",
)


def family_of(source: Source) -> str:
    """The family of a model; that of one on a hub is asked there, or remembered."""
    kind = hub_weights.model_type(source)
    if kind in _CLASSES:
        return kind
    return TEXT if _is_text_alone(source, kind) else CHAT


def _is_text_alone(source: Source, kind: str) -> bool:
    """Whether a model is one of text, which can put texts together but sees no pictures."""
    if source.folder is not None:
        classes = hub_weights.config(source).get("architectures") or [""]
        return str(classes[0]).endswith("ForCausalLM")
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN,
    )

    return kind not in KNOWN


def sees_shapes(source: Source) -> bool:
    """Whether a model is best shown a picture in its own shape, not on a square."""
    return hub_weights.model_type(source).startswith(_ANY_SHAPE)


def tasks_for(family: str, tasks: Sequence[Task], context: str | None) -> tuple[Task, ...]:
    """The questions as a family is asked them. Raises ValueError for what it can't be asked."""
    if family == CHAT:
        return tuple(tasks)
    if family == TEXT:
        raise ValueError("the model is one of text alone: it sees no pictures")
    if context is not None:
        raise ValueError(f"a model of the family {family} reads no `context`")
    return tuple(_task(family, task) for task in tasks)


def _task(family: str, task: Task) -> Task:
    if (family, task.kind) in _PROMPTS:
        return task._replace(prompt=_PROMPTS[family, task.kind])
    if family == BLIP and task.is_own:
        return task
    if family == FLORENCE and task.prompt.text in _FLORENCE_TASKS:
        return task
    known = ", ".join(kind for name, kind in _PROMPTS if name == family)
    more = (
        "prompts that begin a caption"
        if family == BLIP
        else f"prompts that are one of {', '.join(_FLORENCE_TASKS)}"
    )
    raise ValueError(f"a model of the family {family} writes {known}, or {more}; not {task.kind!r}")


def load(source: Source) -> Mllm:
    """The model, once per process. Raises ValueError for one that can't be asked."""
    family = family_of(source)
    if family == TEXT:
        return mllm.load_text(source)
    return mllm.load(source) if family == CHAT else _load(source, family)


@lru_cache(maxsize=2)
def _load(source: Source, family: str) -> Mllm:
    hub_weights.check(source, {family: _PARTS.get(family, "")})
    loaded = hub_weights.load(source, _CLASSES[family])
    return Mllm(loaded.model, loaded.processor, loaded.device, loaded.dtype)


def write(source: Source, asked: Sequence[Asked], shape: Shape, how: Writing) -> list[Written]:
    """What the model writes of each picture, greedily or drawn by the prompt's seed."""
    family, loaded = family_of(source), load(source)
    if family in BY_CHAT:
        return mllm.write(loaded, asked, shape, how)
    work = _blip if family == BLIP else _florence
    return _in_batches(loaded, asked, shape.rows, lambda filled: work(loaded, filled, how))


def _in_batches(
    loaded: Mllm,
    asked: Sequence[Asked],
    most: int,
    work: Callable[[Sequence[Asked]], list[Written]],
) -> list[Written]:
    """What `work` says of each, in order; it is given batches of one size and of one prompt."""
    import torch

    found: dict[int, Written] = {}
    rows = min(most, loaded.most_rows or most)
    places: dict[str, list[int]] = {}
    for place, one in enumerate(asked):
        places.setdefault(one.words, []).append(place)
    parts = [p[at : at + rows] for p in places.values() for at in range(0, len(p), rows)]
    with torch.inference_mode(), one_thread():
        for part in parts:
            filled = [asked[place] for place in part]
            filled += [filled[-1]] * (rows - len(filled))
            try:
                texts = work(filled)
            except torch.OutOfMemoryError:
                loaded.most_rows = max(1, rows // 2)
                raise
            found |= dict(zip(part, texts, strict=False))
    return [found[place] for place in range(len(asked))]


def _blip(loaded: Mllm, filled: Sequence[Asked], how: Writing) -> list[Written]:
    """How BLIP goes on after the prompt, which is not repeated."""
    import torch

    begun = loaded.tokenizer([one.words for one in filled], return_tensors="pt")
    seen = [_looked(loaded, one) for one in filled]
    draws = Draws([one.seed for one in filled], how)
    ids = loaded.model.generate(
        pixel_values=torch.cat(seen).to(loaded.device, loaded.dtype),
        input_ids=begun["input_ids"].to(loaded.device),
        attention_mask=begun["attention_mask"].to(loaded.device),
        **_options(draws),
    )
    draws.check()
    text = loaded.model.config.text_config
    new = ids[:, begun["input_ids"].shape[1] - 1 :]  # the end after the prompt is taken off
    found = written(loaded.tokenizer, new.tolist(), {text.sep_token_id, text.pad_token_id})
    return [one._replace(text=closed_up(one.text)) for one in found]


def _looked(loaded: Mllm, one: Asked) -> Any:
    """A picture as the weights' own processor prepares it, by itself."""
    from PIL import Image

    assert one.image is not None
    picture = Image.fromarray(one.image)
    return loaded.processor.image_processor(picture, return_tensors="pt")["pixel_values"]


def _florence(loaded: Mllm, filled: Sequence[Asked], how: Writing) -> list[Written]:
    """What Florence-2 says to its task; its decoder begins with a token that is not its own."""
    import torch
    from PIL import Image

    each = []
    for one in filled:
        assert one.image is not None
        picture = Image.fromarray(one.image)
        given = loaded.processor(text=[one.words], images=[picture], return_tensors="pt")
        each.append(given.to(loaded.device, loaded.dtype))
    inputs = {name: torch.cat([given[name] for given in each]) for name in each[0]}
    draws = Draws([one.seed for one in filled], how)
    ids = loaded.model.generate(**inputs, **_options(draws))[:, 1:]
    draws.check()
    ends = mllm.ends(loaded) | {loaded.tokenizer.eos_token_id}
    return written(loaded.tokenizer, ids.tolist(), ends)


def _options(draws: Draws) -> dict[str, Any]:
    return {
        "max_new_tokens": draws.how.new_tokens,
        "do_sample": False,
        "num_beams": 1,
        "logits_processor": [draws],
    }


def closed_up(text: str) -> str:
    """Words as BERT's and CLIP's tokenizers part them, with signs where they belong."""
    for sign in ".,;:!?":
        text = text.replace(f" {sign}", sign)
    return text
