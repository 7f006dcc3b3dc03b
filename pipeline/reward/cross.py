"""A cross-encoder that is tuned whole: read anew, what it looks at, its scores, saved.

Any BLIP with a matching head (Li et al. 2022, arXiv:2201.12086). A saved folder is one that the
scorer `itm` loads as `local-dir:`.
"""

import copy
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from pipeline.reward.config import CrossOptions
from pipeline.reward.encoders import FOLDER
from pipeline.reward.heads import Head

WEIGHTS = "model.safetensors"
_CLASS = "BlipForImageTextRetrieval"
_NO_MATCH, _MATCH = 0, 1
_TEXT_LENGTH = 2000  # characters, as in `itm`
_MUCH = 50_000_000  # weights, of which a pass over some thousand pairs takes hours on a CPU


@dataclass(frozen=True)
class CrossModel:
    """A model in full precision on the CPU, the processor of its weights, and where it will run.

    `digest` names the weights.
    """

    network: Any
    processor: Any
    device: str
    precision: str
    digest: str

    @property
    def weights(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def is_much(self) -> bool:
        """Whether it is large, and there is no GPU."""
        return self.device == "cpu" and self.weights > _MUCH


@dataclass(frozen=True)
class Seen:
    """Pixels [n, 3, side, side] in half precision, and tokens [m, length] with their mask."""

    pixels: npt.NDArray[np.float16]
    ids: torch.Tensor
    mask: torch.Tensor
    cut: int  # texts that are longer


def load_cross(options: CrossOptions, device: str, digest: str) -> CrossModel:
    """The model anew. Raises ValueError when it can't be read, or its weights don't fit."""
    import transformers

    where = options.model.removeprefix(FOLDER)
    pinned: dict[str, Any] = {"revision": options.revision} if options.revision else {}
    pinned |= {"trust_remote_code": False}
    with _silence():
        try:
            processors: Any = transformers.AutoProcessor
            processor = processors.from_pretrained(where, **pinned)
            network, found = getattr(transformers, _CLASS).from_pretrained(
                where,
                dtype=torch.float32,
                output_loading_info=True,
                weights_only=True,
                ignore_mismatched_sizes=True,  # they are told of below
                **pinned,
            )
        except (OSError, RuntimeError) as error:
            raise ValueError(f"model {options.model!r} can't be loaded: {error}") from error
    lacking = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if lacking:
        raise ValueError(
            f"model {options.model!r}: {len(lacking)} of its weights are missing or of another"
            f" shape, such as {', '.join(lacking[:3])}"
        )
    most = network.config.text_config.max_position_embeddings
    if options.max_tokens > most:
        raise ValueError(f"max_tokens: {options.max_tokens}, the model has positions for {most}")
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "fp32"
    return CrossModel(network, processor, device, precision, digest)


@contextmanager
def _silence() -> Iterator[None]:
    """No bars and reports of transformers: what is wrong is raised."""
    import transformers

    logging: Any = transformers.utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def read_texts(
    model: CrossModel, texts: Sequence[str], options: CrossOptions
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids and mask [n, max_tokens], and how many texts are longer.

    A control token that a text spells out is read as the letters it has.
    """
    read = model.processor.tokenizer
    starts = [text.strip()[:_TEXT_LENGTH] for text in texts]
    own = {"split_special_tokens": True, "add_special_tokens": True}
    lengths = [len(ids) for ids in read(starts, **own, verbose=False)["input_ids"]]
    found = read(
        starts, **own, padding="max_length", truncation=True, max_length=options.max_tokens
    )
    ids, mask = torch.tensor(found["input_ids"]), torch.tensor(found["attention_mask"])
    if options.first_token is not None:
        ids[:, 0] = options.first_token
    return ids, mask, sum(length > options.max_tokens for length in lengths)


def read_pixels(
    model: CrossModel, images: Iterable[tuple[int, Any]], count: int, path: str
) -> npt.NDArray[np.float16]:
    """What the model sees of images, by their numbers, in a file that stands in for memory."""
    prepare = model.processor.image_processor
    found: npt.NDArray[np.float16] | None = None
    for number, pixels in images:
        seen = prepare(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
        if found is None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shape = (count, *seen.shape)
            found = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        found[number] = seen.numpy()
    return np.zeros((count, 3, 1, 1), np.float16) if found is None else found


class CrossHead(Head):
    """Log odds [n, criteria] that image and text match, by numbers [n, 1] of images and of texts.

    There is one matching head, so that all criteria have the same score. On CUDA in bf16 the
    weights stay in full precision. Scores and the nu of ties are on the CPU.
    """

    is_joint = True

    def __init__(
        self, model: CrossModel, seen: Seen, ties: Sequence[bool], options: CrossOptions
    ) -> None:
        super().__init__()
        self.at_once = options.batch_size
        self.network = copy.deepcopy(model.network).to(model.device)
        self.log_ties = nn.Parameter(torch.zeros(len(ties)))
        self.register_buffer("has_ties", torch.tensor(ties), persistent=False)
        self._seen, self._device, self._precision = seen, model.device, model.precision

    def forward(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        numbers, places = torch.unique(images[:, 0], return_inverse=True)
        pixels = torch.from_numpy(self._seen.pixels[numbers.numpy()].astype(np.float32))
        rows, network = texts[:, 0], self.network
        with self._precise():
            seen = network.vision_model(pixel_values=pixels.to(self._device)).last_hidden_state
            seen = seen[places.to(self._device)]
            joined = network.text_encoder(
                input_ids=self._seen.ids[rows].to(self._device),
                attention_mask=self._seen.mask[rows].to(self._device),
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long).to(
                    seen.device
                ),
            ).last_hidden_state
            logits = network.itm_head(joined[:, 0]).float().cpu()
        odds: torch.Tensor = logits[:, _MATCH] - logits[:, _NO_MATCH]
        return odds[:, None].expand(-1, len(self.log_ties))

    def _precise(self) -> AbstractContextManager[Any]:
        if self._precision == "fp32":
            return nullcontext()
        return torch.autocast(self._device, torch.bfloat16)


def save_cross(model: CrossModel, state: Mapping[str, torch.Tensor], to: str) -> None:
    """Write the folder of a tuned model, whole or not at all."""
    network = copy.deepcopy(model.network)
    prefix = "network."
    network.load_state_dict(
        {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    )
    partial = f"{to}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with _silence():
        network.eval().save_pretrained(partial, max_shard_size="1000GB")
        model.processor.save_pretrained(partial)
    shutil.rmtree(to, ignore_errors=True)
    os.rename(partial, to)
