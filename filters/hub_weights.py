"""Models of transformers from a folder, or a pinned revision of a hub: checked, then loaded.

Refuses weights that lack a part of the model (transformers would fill it with noise), folders that
want to run code of their own, and names of a hub without a commit: what a branch holds can change.
"""

import glob
import hashlib
import json
import os
import pickle
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from filters import files
from filters.clip_weights import FOLDER
from filters.finite import check_finite

TEXT_LENGTH = 2000
"""Characters of a text that are tokenised; models read some dozens or hundreds of tokens."""
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_CONFIG = "config.json"
_WEIGHTS = (".safetensors", ".bin")
_DECIDING = (
    ".json",
    ".txt",
    ".model",
    ".spm",
    ".jinja",
    *_WEIGHTS,
)  # of the files in a model's folder
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOLD = 300  # characters of what a library says
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_LOCK = threading.Lock()


class Source(NamedTuple):
    """Where a model comes from, and how it is held in memory.

    `model` is `local-dir:PATH` or OWNER/NAME of a hub, which needs a commit as `revision`.
    """

    model: str
    revision: str | None = None
    precision: str = "fp32"
    device: str = "cpu"

    @property
    def folder(self) -> str | None:
        """The folder of a model that is one."""
        return self.model.removeprefix(FOLDER) if self.model.startswith(FOLDER) else None


class Loaded(NamedTuple):
    """A model and the processor of its weights."""

    model: Any
    processor: Any
    device: str
    dtype: Any


# Without torch


def is_hub_name(model: str) -> bool:
    return _HUB_NAME.fullmatch(model) is not None


def check(source: Source, parts: dict[str, str]) -> None:
    """Raises ValueError for all that can be wrong with a source and is known without torch.

    `parts` holds, by type of model, how the name of a weight begins that must be there; the type
    "" stands for all others.
    """
    if source.folder is None:
        if not is_hub_name(source.model):
            raise ValueError(
                f"model {source.model!r}: name a folder, `{FOLDER}PATH`, or OWNER/NAME of a hub"
            )
        if not _COMMIT.fullmatch(source.revision or ""):
            raise ValueError(
                f"model {source.model!r} needs `revision`, the commit of 40 hexadecimal digits:"
                f" what a branch holds can change; found {source.revision!r}"
            )
        return
    if source.revision is not None:
        raise ValueError(f"model {source.model!r} is a folder; remove `revision`")
    found = config(source)
    kind = str(found.get("model_type"))
    if kind not in parts and "" not in parts:
        raise ValueError(
            f"{source.folder}: holds a model of type {kind!r}; this takes {', '.join(parts)}"
        )
    names = _weight_names(source.folder)
    part = parts.get(kind, parts.get("", ""))
    if names is not None and not any(name.startswith(part) for name in names):
        made = ", ".join(found.get("architectures") or ["an unknown class"])
        raise ValueError(
            f"{source.folder}: its weights have no {part!r}, which this needs; they are of {made}"
        )


def config(source: Source) -> dict[str, Any]:
    """What a folder says of its model. Raises ValueError when it can't be read."""
    folder = source.folder or ""
    if not os.path.isabs(folder):
        raise ValueError(f"model {source.model!r}: the path after {FOLDER} must be absolute")
    return files.read_json(os.path.join(folder, _CONFIG))


def image_side(source: Source, part: str | None = "vision_config") -> int | None:
    """The side in pixels of what a model in a folder sees; None where that is not said.

    `part` is where its configuration says it; None for one that is all about pictures.
    """
    if source.folder is None:
        return None
    found = config(source) if part is None else config(source).get(part)
    size = found.get("image_size") if isinstance(found, dict) else None
    sides = size if isinstance(size, list) else [size]
    known = [side for side in sides if type(side) is int and side > 0]
    return max(known, default=None)


def class_names(config: Mapping[str, Any], where: str) -> dict[int, str]:
    """What a configuration calls a model's outputs; empty where it says nothing of them.

    Raises ValueError for names that are none.
    """
    names = config.get("id2label") or {}
    try:
        return {int(place): str(name) for place, name in names.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: its `id2label` is no mapping of numbers to names") from error


def settle_precision(scorer: Any, device: str) -> None:
    """Make of `auto` what a model runs in on a device. Raises ValueError for a precision unknown.

    Settled where a scorer is made, as a worker may have another device.
    """
    if scorer.precision not in PRECISIONS:
        raise ValueError(f"precision {scorer.precision!r}: known are {', '.join(PRECISIONS)}")
    if scorer.precision == "auto":
        object.__setattr__(scorer, "precision", "bf16" if device == "cuda" else "fp32")


def digest(source: Source) -> str:
    """Names the files of a folder by their content; for a hub, the commit."""
    if source.folder is None:
        return f"{source.model} {source.revision}"
    found = sorted(glob.glob(os.path.join(glob.escape(source.folder), "*")))
    paths = [path for path in found if path.endswith(_DECIDING)]
    lines = [f"{os.path.basename(path)} {files.digest(path)}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def model_type(source: Source) -> str:
    """The type of a model as transformers names it; of a hub's it is asked, or remembered."""
    if source.folder is not None:
        return str(config(source).get("model_type"))
    return _hub_type(source.model, source.revision)


@lru_cache(maxsize=16)
def _hub_type(model: str, revision: str | None) -> str:
    import transformers

    try:
        found = transformers.AutoConfig.from_pretrained(
            model, revision=revision, trust_remote_code=False
        )
    except OSError as error:
        raise ValueError(f"model {model!r} can't be loaded: {error}") from error
    return str(found.model_type)


def _weight_names(folder: str) -> set[str] | None:
    """The names of the weights in a folder; None where torch is needed to read them."""
    paths = [p for p in glob.glob(os.path.join(glob.escape(folder), "*")) if p.endswith(_WEIGHTS)]
    if not paths:
        raise ValueError(f"{folder}: holds no weights, neither *.safetensors nor *.bin")
    if not all(path.endswith(".safetensors") for path in paths):
        return None
    return {name for path in paths for name in _header(path)}


def _header(path: str) -> dict[str, Any]:
    """What a file of safetensors says it holds: its first 8 bytes are the length of that."""
    try:
        with open(path, "rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            text = stream.read(size) if size <= _LONGEST_HEADER else b""
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: is no file of safetensors: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is no file of safetensors: its header is no JSON object")
    return found


# With torch


def load(source: Source, kind: str) -> Loaded:
    """The model as this class of transformers, once per process.

    Raises ValueError when it is not on this machine or its weights don't fit the class.
    """
    with _LOCK:
        return _load(source, kind)


@lru_cache(maxsize=4)
def _load(source: Source, kind: str) -> Loaded:
    import torch
    import transformers
    from safetensors import SafetensorError

    where = source.folder or source.model
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[source.precision]
    # `trust_remote_code` is said although it is the default: left out, transformers may ask.
    pinned: dict[str, Any] = {"revision": source.revision} if source.revision else {}
    pinned |= {"trust_remote_code": False}
    with _quiet(transformers):
        try:
            processors: Any = transformers.AutoProcessor
            processor = processors.from_pretrained(where, **pinned)
            model, found = getattr(transformers, kind).from_pretrained(
                where,
                dtype=dtype,
                output_loading_info=True,
                weights_only=True,
                ignore_mismatched_sizes=True,  # they are told of below, by name
                **pinned,
            )
        except (
            *(OSError, RuntimeError, ValueError, KeyError),
            *(SafetensorError, pickle.UnpicklingError),
        ) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:_TOLD]
            if isinstance(error, pickle.UnpicklingError):
                why = "its weights file holds more than weights, which is not run"
            raise ValueError(f"model {source.model!r} can't be loaded: {why}") from error
    lacking = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if lacking:
        shown = ", ".join(lacking[:3])
        raise ValueError(
            f"model {source.model!r}: its weights don't fit {type(model).__name__}:"
            f" {len(lacking)} are missing or of another shape, such as {shown}"
        )
    _check_words(source, model, processor)
    check_finite(model, f"model {source.model!r}: its weights", source.precision)
    return Loaded(model.eval().to(source.device), processor, source.device, dtype)


def _check_words(source: Source, model: Any, processor: Any) -> None:
    """Raises ValueError when the tokenizer knows tokens for which the model has no embedding."""
    tokenizer = getattr(processor, "tokenizer", processor)  # a model of text alone has no more
    if not hasattr(tokenizer, "__len__"):  # a model of pictures alone has none
        return
    known, held = len(tokenizer), model.get_input_embeddings().num_embeddings
    if known > held:
        raise ValueError(
            f"model {source.model!r}: its tokenizer has {known} tokens, its weights {held}"
        )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Neither progress bars nor reports: what is wrong is raised."""
    logging = transformers.utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def harmless(text: str, processor: Any) -> str:
    """A text in which no word is a control token: a blank parts what would be read as one."""
    special = {str(token) for token in processor.tokenizer.get_added_vocab()}
    special |= {str(token) for token in processor.tokenizer.all_special_tokens}
    return parted(text, special)


def parted(text: str, tokens: Iterable[str]) -> str:
    """The text with a blank after the first sign of each of these tokens, in any capitals."""
    present = [
        token for token in tokens if len(token.strip()) > 1 and token.lower() in text.lower()
    ]
    if not present:
        return text
    pattern = "|".join(map(re.escape, sorted(present, key=lambda token: (-len(token), token))))
    return re.sub(pattern, lambda m: f"{m[0][0]} {m[0][1:]}", text, flags=re.IGNORECASE)
