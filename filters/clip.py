"""CLIP score: how well image and text agree, by a dual encoder.

Any open_clip model, or `embedded`, the small multilingual encoder that comes with this project.
Images are always prepared as the weights' training did it. It refuses weights of which that is
not known, activations that the weights were not trained with, and models without weights.
"""

import difflib
import glob
import hashlib
import importlib.util
import json
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import embedded

EMBEDDED = "embedded"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_FOLDER = "local-dir:"
_CONFIG = "open_clip_config.json"
_WEIGHTS = (".safetensors", ".bin", ".pth")  # what open_clip looks for in a model's folder
_TOKENIZER = (".json", ".txt", ".model")
_DEVICES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")  # CUDA, ROCm, and CUDA under WSL
_LOCK = threading.Lock()

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ClipScore:
    """Cosine of image and text embeddings, in [-1, 1]; NULL for a text in which nothing is read.

    `model` is `embedded`, a name of open_clip, or `local-dir:PATH` with `open_clip_config.json`
    and weights. `pretrained` is a tag of open_clip or the path of a weights file; a file says
    nothing of its preprocessing, so `preprocess_tag` must name the tag whose it shares. `sha256`
    pins the weights. `precision: auto` is bf16 on CUDA and fp32 elsewhere. `text` is the column
    of texts; `clip_truncated` says which are longer than the model reads. `embeddings` writes
    both unit vectors, too. Scores of different models are on different scales: thresholds do not
    carry over.
    """

    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    text: str = "caption"
    embeddings: bool = False
    batch_size: int = 32
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r}: known are {', '.join(PRECISIONS)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        self._check_weights()
        if self.model != EMBEDDED:
            _check_config(self.model)
        if self.precision == "auto":  # settled here: a worker may have another device
            object.__setattr__(self, "precision", "bf16" if self.device == "cuda" else "fp32")

    def _check_weights(self) -> None:
        local = self.model == EMBEDDED or self.model.startswith(_FOLDER)
        if local and self.pretrained is not None:
            raise ValueError(f"model {self.model!r} brings its weights; remove `pretrained`")
        if self.model.startswith("hf-hub:"):
            raise ValueError(
                f"model {self.model!r}: a hub's repository can change; download a revision and"
                f" name its folder: `model: {_FOLDER}PATH`"
            )
        if not local and self.pretrained is None:
            raise ValueError(
                f"model {self.model!r} needs `pretrained`, a tag of open_clip or a weights file;"
                " without weights its scores would be noise"
            )
        file = self._weights_file
        if file is None:
            return
        if not os.path.isabs(file) or not os.path.isfile(file):
            raise ValueError(f"pretrained {file!r}: there is no such file; its path is absolute")
        if self.preprocess_tag is None:
            raise ValueError(
                f"{file!r} is a weights file, which does not say how images are prepared; name"
                " the tag it shares that with, such as `preprocess_tag: openai`"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", self.text)

    @property
    def writes(self) -> pa.Schema:
        fields = [pa.field("clip_score", pa.float32())]
        if self.model != EMBEDDED:
            fields.append(pa.field("clip_truncated", pa.bool_()))
        if self.embeddings:
            fields += [pa.field(n, pa.list_(pa.float16())) for n in ("clip_image", "clip_text")]
        return pa.schema(fields)

    @property
    def image_request(self) -> int:
        """Twice the size the model sees, so that scaled decoding leaves hardly a trace."""
        return embedded.IMAGE_SIZE if self.model == EMBEDDED else 2 * _side(_config(self.model))

    @property
    def device(self) -> str:
        return "cpu" if self.model == EMBEDDED else _device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; a folder or file counts by its content."""
        return {
            "model": "local-dir" if self.model.startswith(_FOLDER) else self.model,
            "pretrained": None if self._weights_file else self.pretrained,
            "preprocess_tag": self.preprocess_tag,
            "precision": self.precision,
            "text": self.text,
            "embeddings": self.embeddings,
            "batch_size": self.batch_size,
        }

    @property
    def weights_digest(self) -> str:
        """Digest of all files the values depend on; of a tag, its name and the pinned digest."""
        if self.model == EMBEDDED:
            return embedded.weights_digest()
        if self.model.startswith(_FOLDER):
            files = _model_files(self.model.removeprefix(_FOLDER))
            lines = [f"{os.path.basename(path)} {_file_digest(path)}" for path in files]
            return hashlib.sha256("\n".join(lines).encode()).hexdigest()
        if self._weights_file is not None:
            return _file_digest(self._weights_file)
        return f"tag {self.pretrained} {self.sha256}"

    @property
    def _weights_file(self) -> str | None:
        """The path of the weights, known from a tag by its slashes."""
        return self.pretrained if self.pretrained and os.sep in self.pretrained else None

    def prepare(self) -> None:
        """Load the weights now. Raises when they are missing, damaged or not those meant."""
        if self.model == EMBEDDED:
            embedded.encode_images([np.zeros((1, 1, 3), np.uint8)])
            embedded.encode_texts([""])
        else:
            self._load()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts: list[str] = batch[self.text]
        if self.model == EMBEDDED:
            seen = embedded.encode_images(batch["image"])
            read, cut = embedded.encode_texts(texts), [False] * len(texts)
            blank = [not text.strip() for text in texts]
        else:
            seen, read, cut, blank = _encode(self._load(), batch["image"], texts, self.batch_size)
        scores = np.einsum("ij,ij->i", seen, read)
        if not np.isfinite(scores).all():
            raise ValueError("the model's answer is NaN or infinite")
        values: dict[str, list[Any]] = {
            "clip_score": [None if b else float(s) for s, b in zip(scores, blank, strict=True)],
            "clip_truncated": cut,
            "clip_image": list(seen.astype(np.float16)),
            "clip_text": [
                None if b else v for v, b in zip(read.astype(np.float16), blank, strict=True)
            ],
        }
        return {name: values[name] for name in self.writes.names}

    def _load(self) -> "_Loaded":
        """The model, once per process and set of weights, whatever else the scorer is asked."""
        source = _Source(
            self.model,
            self.pretrained,
            self.preprocess_tag,
            self.sha256,
            self.precision,
            self.device,
        )
        with _LOCK:
            return _loaded(source)


class _Source(NamedTuple):
    """What decides which model is in memory."""

    model: str
    pretrained: str | None
    preprocess_tag: str | None
    sha256: str | None
    precision: str
    device: str

    @property
    def is_file(self) -> bool:
        return self.pretrained is not None and os.sep in self.pretrained


class _Loaded(NamedTuple):
    model: Any
    transform: Any
    tokenize: Any
    device: str
    dtype: Any


# Encoding


def _encode(
    loaded: _Loaded, images: list[Pixels], texts: list[str], size: int
) -> tuple[Floats, Floats, list[bool], list[bool]]:
    """Unit vectors of images and texts; which texts are cut, and which are as good as empty."""
    tokens = loaded.tokenize(texts)
    empty = (tokens == loaded.tokenize([""])).all(dim=1).tolist()
    blank = [none or not text.strip() for none, text in zip(empty, texts, strict=True)]
    with _one_thread():
        parts = [
            _encode_batch(loaded, images[i : i + size], tokens[i : i + size], size)
            for i in range(0, len(texts), size)
        ]
    seen, read = (np.concatenate(side) for side in zip(*parts, strict=True))
    return _unit(seen), _unit(read), _is_cut(loaded.tokenize, texts, tokens), blank


def _encode_batch(
    loaded: _Loaded, images: list[Pixels], tokens: Any, size: int
) -> tuple[Floats, Floats]:
    """Features of one batch, filled up to `size` so that no value depends on its companions."""
    import torch
    from PIL import Image

    count = len(images)
    pixels = torch.stack([loaded.transform(Image.fromarray(image)) for image in images])
    if count < size:
        pixels = torch.cat([pixels, pixels.new_zeros((size - count, *pixels.shape[1:]))])
        tokens = torch.cat([tokens, tokens[-1:].expand(size - count, -1)])
    with torch.inference_mode():
        # CoCa normalises unless told otherwise, CLIP does not.
        seen = loaded.model.encode_image(pixels.to(loaded.device, loaded.dtype), normalize=False)
        read = loaded.model.encode_text(tokens.to(loaded.device), normalize=False)
    return seen[:count].float().cpu().numpy(), read[:count].float().cpu().numpy()


def _unit(vectors: Floats) -> Floats:
    result: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums that torch splits among threads round by their number; processes share the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_cut(tokenize: Any, texts: list[str], tokens: Any) -> list[bool]:
    """Whether a text has more tokens than the model reads; one that just fits is not cut."""
    context = tokens.shape[1]
    inner = getattr(tokenize, "tokenizer", None)
    if inner is None:  # open_clip's own: its last token is never the padding's number
        full = (tokens[:, -1] != 0).tolist()
        return [
            is_full and len(tokenize.encode(text)) + 2 > context
            for is_full, text in zip(full, texts, strict=True)
        ]
    special, kept = (False, context - 3) if tokenize.tokenizer_mode == "clips" else (True, context)
    found = inner([tokenize.clean_fn(t) for t in texts], add_special_tokens=special, verbose=False)
    return [len(ids) > kept for ids in found.input_ids]


# Loading


@lru_cache(maxsize=4)
def _loaded(source: _Source) -> _Loaded:
    import open_clip

    _check_tag(source)
    _check_digest(source)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="QuickGELU mismatch")
        model, transform = open_clip.create_model_from_pretrained(
            source.model,
            pretrained=source.pretrained,
            precision=source.precision,
            device=source.device,
            **_preprocessing(source),
        )
    model.eval()
    dtype = open_clip.get_input_dtype(source.precision) or model.logit_scale.dtype
    if "timm_model_name" in _config(source.model)["vision_cfg"]:
        _merge_branches(model.visual, dtype)
    return _Loaded(model, transform, _tokenizer(source.model), source.device, dtype)


def _merge_branches(visual: Any, dtype: Any) -> None:
    """Fold the branches that MobileCLIP has for training alone into one; in fp32, it rounds."""
    from timm.utils.model import reparameterize_model

    reparameterize_model(visual.float(), inplace=True)
    visual.to(dtype)


def _tokenizer(model: str) -> Any:
    import open_clip

    try:
        tokenize = open_clip.get_tokenizer(model)
    except OSError as error:
        raise ValueError(
            f"model {model!r}: its tokenizer is not on this machine; the folder of"
            f" `{_FOLDER}PATH` brings its own: {error}"
        ) from error
    if getattr(tokenize, "reduction_fn", None) is not None:
        tokenize.reduction_fn = None  # drops words at random: an augmentation
    return tokenize


def _tag_of(source: _Source) -> str | None:
    """The tag that says how the weights were trained; None for a folder, which says it itself."""
    return source.preprocess_tag if source.is_file else source.pretrained


def _check_tag(source: _Source) -> None:
    """Raises ValueError for a tag that open_clip has not, and for the wrong activation."""
    import open_clip

    tag = _tag_of(source)
    if tag is None:
        return
    known = open_clip.get_pretrained_cfg(source.model, tag)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(source.model)) or "none"
        raise ValueError(f"{source.model} has no tag {tag!r}; known are {tags}")
    if known.get("quick_gelu", False) != _config(source.model).get("quick_gelu", False):
        raise ValueError(
            f"{tag!r} was not trained with the activation of {source.model};"
            f" use {source.model}-quickgelu"
        )


def _check_digest(source: _Source) -> None:
    """Raises ValueError when the weights are not those that `sha256` pins."""
    import open_clip

    if source.sha256 is None:
        return
    if source.model.startswith(_FOLDER):
        files = _model_files(source.model.removeprefix(_FOLDER))
        paths = [path for path in files if path.endswith(_WEIGHTS)]
    elif source.is_file:
        paths = [str(source.pretrained)]
    else:
        known = open_clip.get_pretrained_cfg(source.model, source.pretrained)
        paths = [open_clip.download_pretrained(known)]
    for path in paths:
        if _file_digest(path) != source.sha256.lower():
            raise ValueError(f"{path}: sha256 is {_file_digest(path)}, pinned is {source.sha256}")


def _preprocessing(source: _Source) -> dict[str, Any]:
    """For a weights file: what open_clip knows of the tag whose preprocessing it shares."""
    import open_clip

    if not source.is_file:
        return {}
    known = open_clip.get_pretrained_cfg(source.model, source.preprocess_tag)
    names = ("mean", "std", "interpolation", "resize_mode")
    return {f"image_{name}": known[name] for name in names if name in known}


# What can be known without loading torch


def _check_config(model: str) -> None:
    """Raises ValueError for an unknown model, and for a folder that doesn't say what it needs."""
    text = _config(model).get("text_cfg", {})
    if "trust_remote_code" in text.get("tokenizer_kwargs", {}):
        raise ValueError(f"model {model!r} asks to run code that it brings: trust_remote_code")
    if not model.startswith(_FOLDER):
        return
    folder = model.removeprefix(_FOLDER)
    prepared = _read_json(os.path.join(folder, _CONFIG)).get("preprocess_cfg", {})
    if not {"mean", "std"} <= prepared.keys():
        raise ValueError(
            f"{os.path.join(folder, _CONFIG)}: has no `preprocess_cfg` with mean and std, so how"
            " images are prepared for these weights is not known"
        )
    weights = [path for path in _model_files(folder) if path.endswith(_WEIGHTS)]
    if len(weights) != 1:
        names = ", ".join(os.path.basename(path) for path in weights) or "none"
        raise ValueError(f"{folder}: must hold one weights file, has {names}")


@lru_cache(maxsize=16)
def _config(model: str) -> dict[str, Any]:
    """The architecture of a model. Raises ValueError for an unknown one."""
    if model.startswith(_FOLDER):
        folder = model.removeprefix(_FOLDER)
        if not os.path.isabs(folder):
            raise ValueError(f"model {model!r}: the path after {_FOLDER} must be absolute")
        found = _read_json(os.path.join(folder, _CONFIG)).get("model_cfg")
        if not isinstance(found, dict) or not {"vision_cfg", "text_cfg"} <= found.keys():
            raise ValueError(f"{os.path.join(folder, _CONFIG)}: has no `model_cfg` of two towers")
        return found
    configs = _known_configs()
    if model not in configs:
        near = ", ".join(difflib.get_close_matches(model, configs, 5, 0.5)) or "nothing near"
        raise ValueError(f"open_clip knows no model {model!r}; it knows {near}")
    return _read_json(configs[model])


@lru_cache(maxsize=1)
def _known_configs() -> dict[str, str]:
    """The files that open_clip keeps its architectures in, by name."""
    spec = importlib.util.find_spec("open_clip")
    folders = (spec.submodule_search_locations if spec else None) or []
    paths = [path for folder in folders for path in glob.glob(f"{folder}/model_configs/*.json")]
    return {os.path.basename(path).removesuffix(".json"): path for path in sorted(paths)}


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is no JSON object")
    return found


def _side(config: dict[str, Any]) -> int:
    """The side in pixels of what the model sees."""
    size = config["vision_cfg"].get("image_size", 224)
    return int(max(size)) if isinstance(size, list | tuple) else int(size)


def _device() -> str:
    """`cuda` where there is a device for it; asked of the system, since torch is slow to import."""
    return "cuda" if any(map(glob.glob, _DEVICES)) and _cuda_works() else "cpu"


@lru_cache(maxsize=1)
def _cuda_works() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _model_files(folder: str) -> list[str]:
    """Configuration, weights and tokenizer in a model's folder, sorted."""
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    return [path for path in found if path.endswith((*_TOKENIZER, *_WEIGHTS))]


def _file_digest(path: str) -> str:
    status = os.stat(path)
    return _digest_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_of(path: str, _size: int, _modified_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
