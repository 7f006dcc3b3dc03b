"""Multimodal LLMs from transformers, run locally: next words, greedy replies, embeddings.

A value depends on its picture, its text and the model alone: every picture is laid on a square of
one size, every prompt is padded on the left to one length, every batch to one number of rows.
It refuses weights that don't fill the model, models without a chat template, hub names without a
commit, and code of their own.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters import canvases, hub_weights
from filters.hub_weights import Source
from filters.sampling import Draws, Writing, Written, written
from filters.threads import one_thread

TEXT = "{text}"
"""Where a prompt's template has the text."""
TEXT_LENGTH = 2000
"""Characters of a text that are read where no tokenizer can say how many tokens it has."""
_KIND, _TEXT_KIND = "AutoModelForImageTextToText", "AutoModelForCausalLM"
_GREY = 127
_SPARE = 16  # tokens that text and template may make where they meet
_CHARACTERS = 40  # per token that is kept: the rest of a long text need not be tokenised

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


class Shape(NamedTuple):
    """The one shape of all batches: rows, tokens of a text, and pixels on a side of a picture."""

    rows: int = 8
    text_tokens: int = 128
    side: int = 768


class Prompt(NamedTuple):
    """A question to the model: `template` with `text` in it, after a picture or without one.

    The picture is laid on a square, or made to fill a `canvas`, its width and height. `seed` is
    for what is drawn in the answer. `name` stands for the picture where a server's answers are
    looked up.
    """

    template: str
    text: str = ""
    image: Pixels | None = None
    canvas: tuple[int, int] | None = None
    seed: int = 0
    name: bytes | None = None

    @property
    def words(self) -> str:
        return self.template.replace(TEXT, self.text)


@dataclass(eq=False)
class Mllm:
    """A model ready to run.

    `most_rows` falls when memory runs out, so that the halved batch that comes next is a smaller
    one for the model, too: that is why this class has state.
    """

    model: Any
    processor: Any
    device: str
    dtype: Any
    most_rows: int | None = None

    @property
    def tokenizer(self) -> Any:
        return getattr(self.processor, "tokenizer", self.processor)


# Without torch


def check(source: Source) -> None:
    """Raises ValueError for all that can be wrong with a source and is known without torch."""
    hub_weights.check(source, {"": ""})


# What models take for more than words: <|im_end|>, <image>, </s>, [INST], <<SYS>>, <｜User｜>.
_MARKUP = re.compile(
    r"<[|｜][^<>]{0,60}[|｜]>|<{1,2}/?[A-Za-z_][\w:.-]{0,60}\s?/?>{1,2}"
    r"|\[/?(?:INST|IMG|IMG_BREAK|IMG_END|SYSTEM_PROMPT|THINK|AVAILABLE_TOOLS|TOOL_CALLS"
    r"|TOOL_RESULTS|TOOL_CONTENT|MODEL_SETTINGS)\]"
)
PLAIN = 2
"""The version of `plain_text`: 1 left characters that nobody sees."""
# Control characters, and those that nobody sees; joiners of letters are none (U+200C, U+200D).
_UNREADABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff"
    r"\ufeff\ufff9-\uffff\U000e0000-\U000e007f]"
)


def readable(text: str) -> str:
    """A text with spaces for control characters and for those that nobody sees."""
    return _UNREADABLE.sub(" ", text)


def without_markup(text: str) -> str:
    """A text with a space for everything that looks like a control token of a model."""
    return _MARKUP.sub(" ", text)


def plain_text(text: str, tokens: Sequence[str] = ()) -> str:
    """A text of others as one line of mere words, for a prompt that puts it in double quotes.

    Control and invisible characters, everything that looks like a control token of a model, and
    `tokens`, those of the model at hand, become spaces (gone, what stands around them could make a
    token); double quotes become single ones.
    """
    text = readable(text)
    for token in sorted(tokens, key=lambda token: (-len(token), token)):
        text = text.replace(token, " ")
    text = without_markup(text).translate({ord(mark): "'" for mark in '"“”„‟＂'})
    return " ".join(text.split())


def on_square(image: Pixels, side: int) -> Any:
    """The whole picture, as large as fits, in the middle of a grey square; of Pillow."""
    from PIL import Image

    small = scaled(image, side)
    square = Image.new("RGB", (side, side), (_GREY,) * 3)
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return square


def scaled(image: Pixels, side: int) -> Any:
    """The picture with a long side of so many pixels; bicubic, of Pillow."""
    from PIL import Image

    height, width = image.shape[:2]
    size = [max(1, round(length * side / max(height, width))) for length in (width, height)]
    return Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


# With torch


@lru_cache(maxsize=4)
def load(source: Source) -> Mllm:
    """The model, once per process. Raises ValueError when it is not one that can be asked."""
    loaded = hub_weights.load(source, _KIND)
    _check(source.model, loaded.model, loaded.processor)
    return Mllm(loaded.model, loaded.processor, loaded.device, loaded.dtype)


@lru_cache(maxsize=2)
def load_text(source: Source) -> Mllm:
    """A model that is shown no pictures, once per process; `write` asks it. Raises as `load`."""
    loaded = hub_weights.load(source, _TEXT_KIND)
    _check_chat(source.model, loaded.model, loaded.processor, loaded.processor)
    return Mllm(loaded.model, loaded.processor, loaded.device, loaded.dtype)


def _check(name: str, model: Any, processor: Any) -> None:
    """Raises ValueError for a model that can't be asked by chat for its next words."""
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise ValueError(f"model {name!r} has no processor of pictures and text")
    _check_chat(name, model, processor, processor.tokenizer)


def _check_chat(name: str, model: Any, processor: Any, tokenizer: Any) -> None:
    if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise ValueError(f"model {name!r} has no chat template, so how to ask it is not known")
    if tokenizer.pad_token_id is None:
        raise ValueError(f"model {name!r}: its tokenizer has no padding token")
    if model.config.is_encoder_decoder:
        raise ValueError(f"model {name!r} is an encoder-decoder, whose replies begin elsewhere")


@lru_cache(maxsize=8)
def special_tokens(loaded: Mllm) -> tuple[str, ...]:
    """What the model's tokenizer takes for more than text, but for what `plain_text` knows."""
    added = (str(token) for token in loaded.tokenizer.added_tokens_decoder.values())
    known = {*added, *loaded.tokenizer.all_special_tokens}
    return tuple(sorted(t for t in known if t.strip() and not _MARKUP.fullmatch(t)))


def shortened(loaded: Mllm, text: str, tokens: int) -> tuple[str, bool]:
    """The first `tokens` of a text, and whether that is less than all; nothing where none is."""
    start = text[: tokens * _CHARACTERS]
    encoded = loaded.tokenizer(start, add_special_tokens=False, verbose=False)
    ids = encoded["input_ids"]
    if len(ids) <= tokens:  # without any, the tokenizer drops all that is there
        return start if ids else "", len(start) < len(text)
    if loaded.tokenizer.is_fast:
        return start[: encoded.token_to_chars(tokens).start].rstrip(), True
    return loaded.tokenizer.decode(ids[:tokens]).strip(), True


def word_probabilities(
    loaded: Mllm, prompts: Sequence[Prompt], words: Sequence[str], shape: Shape
) -> Floats:
    """The probability [n, words] that the reply begins with each word, from one forward pass.

    A word counts in all its cases, with or without a space before it, as far as the vocabulary
    has them as one token.
    """
    ids = [list(group) for group in token_ids(loaded, tuple(words))]

    def work(inputs: Any, _: Sequence[Prompt]) -> Any:
        logits = loaded.model(**inputs, **_last_alone(loaded)).logits[:, -1].float()
        if not bool(logits.isfinite().all()):
            raise ValueError("what the model says is NaN or infinite")
        odds = logits.softmax(dim=-1).cpu()
        return np.stack([odds[:, group].sum(dim=-1).numpy() for group in ids], axis=1)

    found = _run(loaded, prompts, shape, work)
    return np.stack(found).astype(np.float32) if found else np.zeros((0, len(words)), np.float32)


@lru_cache(maxsize=64)
def token_ids(loaded: Mllm, words: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """The tokens that are each word. Raises ValueError for a word that is no token."""
    ids: dict[str, list[int]] = {word.casefold(): [] for word in words}
    for token, number in loaded.tokenizer.get_vocab().items():
        plain = token.strip("▁ĠĊ ").casefold()
        if plain in ids:
            ids[plain].append(number)
    for word, found in ids.items():
        if not found:
            raise ValueError(f"{word!r} is no token of the model, so can't be asked for")
    return tuple(tuple(sorted(ids[word.casefold()])) for word in words)


def generate(
    loaded: Mllm, prompts: Sequence[Prompt], shape: Shape, new_tokens: int
) -> list[tuple[str, bool]]:
    """The greedy reply to each prompt, and whether it was cut off after `new_tokens`."""
    found = write(loaded, prompts, shape, Writing(new_tokens))
    return [(reply.text, reply.is_cut) for reply in found]


def write(loaded: Mllm, prompts: Sequence[Prompt], shape: Shape, how: Writing) -> list[Written]:
    """The reply to each prompt, greedy or drawn by the prompt's seed."""

    def work(inputs: Any, filled: Sequence[Prompt]) -> list[Written]:
        draws = Draws([prompt.seed for prompt in filled], how)
        ids = loaded.model.generate(
            **inputs,
            max_new_tokens=how.new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,  # some models bring their own
            pad_token_id=loaded.tokenizer.pad_token_id,
            logits_processor=[draws],
        )[:, inputs["input_ids"].shape[1] :]
        draws.check()
        return written(loaded.tokenizer, ids.tolist(), ends(loaded))

    return _run(loaded, prompts, shape, work)


def ends(loaded: Mllm) -> set[int]:
    """The tokens that end a reply, or fill its row after that."""
    found = loaded.model.generation_config.eos_token_id
    listed = found if isinstance(found, list) else [found]
    return {token for token in (*listed, loaded.tokenizer.pad_token_id) if token is not None}


def last_hidden(loaded: Mllm, prompts: Sequence[Prompt], shape: Shape) -> Floats:
    """Unit vectors [n, d]: the last layer's state at the last place of each prompt."""

    def work(inputs: Any, _: Sequence[Prompt]) -> Any:
        base = loaded.model.base_model
        if base is not loaded.model:  # without the head over the vocabulary
            states = base(**inputs).last_hidden_state
        else:
            more = {"output_hidden_states": True, **_last_alone(loaded)}
            states = loaded.model(**inputs, **more).hidden_states[-1]
        vectors = states[:, -1].float()
        if not bool(vectors.isfinite().all()):
            raise ValueError("what the model says is NaN or infinite")
        return (vectors / vectors.norm(dim=-1, keepdim=True)).cpu().numpy()

    found = _run(loaded, prompts, shape, work)
    return np.stack(found) if found else np.zeros((0, 0), np.float32)


def _last_alone(loaded: Mllm) -> dict[str, int]:
    """Asks for logits of the last place alone: of all places they take gigabytes."""
    return {"logits_to_keep": 1} if "logits_to_keep" in _arguments(loaded) else {}


@lru_cache(maxsize=8)
def _arguments(loaded: Mllm) -> frozenset[str]:
    return frozenset(inspect.signature(loaded.model.forward).parameters)


def _run(
    loaded: Mllm,
    prompts: Sequence[Prompt],
    shape: Shape,
    work: Callable[[Any, Sequence[Prompt]], Any],
) -> list[Any]:
    """What `work` says of each prompt, in order; it is given full batches, and their inputs."""
    import torch

    found: list[Any] = [None] * len(prompts)
    rows = min(shape.rows, loaded.most_rows or shape.rows)
    with torch.inference_mode(), one_thread():
        for places, length in _batches(loaded, prompts, shape, rows):
            filled = [prompts[place] for place in places]
            filled += [filled[-1]] * (rows - len(filled))
            inputs = _inputs(loaded, filled, shape.side, length)
            try:
                answers = work(inputs.to(loaded.device, loaded.dtype), filled)
            except torch.OutOfMemoryError:
                loaded.most_rows = max(1, rows // 2)
                raise
            for place, answer in zip(places, answers, strict=False):
                found[place] = answer
    return found


def _batches(
    loaded: Mllm, prompts: Sequence[Prompt], shape: Shape, rows: int
) -> Iterator[tuple[list[int], int]]:
    """Places of prompts of one template, at most `rows`, and the length to pad them to."""
    kinds: dict[tuple[str, tuple[int, int] | None], list[int]] = {}
    for place, prompt in enumerate(prompts):
        size = None if prompt.image is None else prompt.canvas or (shape.side, shape.side)
        kinds.setdefault((prompt.template, size), []).append(place)
    for (template, size), places in kinds.items():
        length = _empty_length(loaded, template, size)
        length += (shape.text_tokens + _SPARE) if TEXT in template else 0
        for start in range(0, len(places), rows):
            yield places[start : start + rows], length


@lru_cache(maxsize=256)
def _empty_length(loaded: Mllm, template: str, size: tuple[int, int] | None) -> int:
    """Tokens of a prompt without its text; pictures of one size have one number of them."""
    image = None if size is None else np.full((*size[::-1], 3), _GREY, np.uint8)
    return int(_inputs(loaded, [Prompt(template, "", image, size)], 0)["input_ids"].shape[1])


def _inputs(loaded: Mllm, prompts: Sequence[Prompt], side: int, length: int | None = None) -> Any:
    """Tensors for the model, padded on the left to `length` tokens."""
    if loaded.tokenizer is loaded.processor:
        return _text_inputs(loaded, prompts, length)
    conversations = []
    for prompt in prompts:
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt.words}]
        if prompt.image is not None:
            content.insert(0, {"type": "image", "image": _picture(prompt, side)})
        conversations.append([{"role": "user", "content": content}])
    padding = {"padding": "max_length", "max_length": length, "padding_side": "left"}
    return loaded.processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=padding if length else {},
    )


def _text_inputs(loaded: Mllm, prompts: Sequence[Prompt], length: int | None) -> Any:
    """The same for a model of text alone, whose template takes plain text."""
    from transformers import BatchFeature

    padding = {"padding": "max_length", "max_length": length} if length else {}
    encoded = loaded.tokenizer.apply_chat_template(
        [[{"role": "user", "content": prompt.words}] for prompt in prompts],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        tokenizer_kwargs={"padding_side": "left"},
        **padding,
    )
    wanted = ("input_ids", "attention_mask")
    return BatchFeature({name: encoded[name] for name in wanted})


def _picture(prompt: Prompt, side: int) -> Any:
    assert prompt.image is not None
    if prompt.canvas is not None:
        return canvases.filled(prompt.image, prompt.canvas)
    return on_square(prompt.image, side)
