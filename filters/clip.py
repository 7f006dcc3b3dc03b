"""CLIP score: how well image and text agree, by a dual encoder.

Any open_clip model, or `embedded`, the small multilingual encoder that comes with this project.
The preprocessing is always the one that belongs to the weights.
"""

import glob
import hashlib
import os
import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters import embedded

EMBEDDED = "embedded"
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
_LOCK = threading.Lock()


class _Loaded(NamedTuple):
    model: Any
    transform: Any
    tokenize: Any
    device: str
    dtype: Any


@dataclass(frozen=True)
class ClipScore:
    """Cosine of image and text embeddings, in [-1, 1]; NULL for a caption of white space.

    `model` is `embedded`, a name of open_clip, or `local-dir:PATH` with `open_clip_config.json`
    and weights. `pretrained` is a tag of open_clip or a weights file; a file says nothing of its
    preprocessing, so `preprocess_tag` must name the tag whose it shares. `sha256` pins a weights
    file. `text` is the column of texts. `embeddings` writes the normalised vectors too. Scores
    of different models are on different scales: thresholds do not carry over.
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
        if self.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise ValueError(f"precision {self.precision!r}: known are auto, fp32, bf16, fp16")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        local = self.model == EMBEDDED or self.model.startswith("local-dir:")
        if local and self.pretrained is not None:
            raise ValueError(f"model {self.model!r} brings its weights; remove `pretrained`")
        if not local and self.pretrained is None:
            raise ValueError(
                f"model {self.model!r} needs `pretrained`, a tag of open_clip or a weights file;"
                " without weights its scores would be noise"
            )
        if self._weights_file is not None and self.preprocess_tag is None:
            raise ValueError(
                f"{self.pretrained!r} is a weights file, which does not say how images are"
                " prepared; name the tag it shares that with: `preprocess_tag: openai`"
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
        """Twice the size the model sees, so that scaled decoding leaves no trace."""
        return embedded.IMAGE_SIZE if self.model == EMBEDDED else 2 * _image_size(self.model)

    @property
    def device(self) -> str:
        return "cpu" if self.model == EMBEDDED else _device()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values; the precision as it is on this machine."""
        return {
            "model": self.model if not self._folder else "local-dir",
            "pretrained": None if self._weights_file else self.pretrained,
            "preprocess_tag": self.preprocess_tag,
            "precision": self._precision,
            "text": self.text,
            "embeddings": self.embeddings,
            "batch_size": self.batch_size,
        }

    @property
    def weights_digest(self) -> str:
        if self.model == EMBEDDED:
            return embedded.weights_digest()
        if self._folder is not None:
            return "-".join(_file_digest(p, os.path.getsize(p)) for p in _model_files(self._folder))
        if self._weights_file is not None:
            return _file_digest(self._weights_file, os.path.getsize(self._weights_file))
        return f"tag {self.pretrained}"

    @property
    def _folder(self) -> str | None:
        kind, colon, path = self.model.partition("local-dir:")
        return path if colon and not kind else None

    @property
    def _weights_file(self) -> str | None:
        return self.pretrained if self.pretrained and os.path.isfile(self.pretrained) else None

    @property
    def _precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        return "bf16" if self.device == "cuda" else "fp32"

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        texts = batch[self.text]
        images, vectors, truncated = self._encode(batch["image"], texts)
        scores = np.einsum("ij,ij->i", images, vectors)
        blank = [not text.strip() for text in texts]
        values: dict[str, list[Any]] = {
            "clip_score": [None if b else float(s) for s, b in zip(scores, blank, strict=True)]
        }
        if self.model != EMBEDDED:
            values["clip_truncated"] = truncated
        if self.embeddings:
            values["clip_image"] = list(images.astype(np.float16))
            values["clip_text"] = list(vectors.astype(np.float16))
        return values

    def _encode(
        self, images: list[npt.NDArray[np.uint8]], texts: list[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], list[bool]]:
        if self.model == EMBEDDED:
            return embedded.encode_images(images), embedded.encode_texts(texts), []
        loaded = _load(self)
        size = self.batch_size
        parts = [
            _encode_batch(loaded, images[i : i + size], texts[i : i + size], size)
            for i in range(0, len(texts), size)
        ]
        pixels, words, cut = zip(*parts, strict=True)
        return np.concatenate(pixels), np.concatenate(words), [c for part in cut for c in part]


def _encode_batch(
    loaded: _Loaded, images: list[npt.NDArray[np.uint8]], texts: list[str], size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], list[bool]]:
    """Embeddings of one batch, filled up to `size` so that no value depends on its companions."""
    import torch
    from PIL import Image

    count = len(texts)
    pixels = torch.stack([loaded.transform(Image.fromarray(image)) for image in images])
    tokens = loaded.tokenize(texts)
    if count < size:
        pixels = torch.cat([pixels, pixels.new_zeros((size - count, *pixels.shape[1:]))])
        tokens = torch.cat([tokens, tokens[-1:].expand(size - count, -1)])
    with torch.inference_mode():
        seen = loaded.model.encode_image(pixels.to(loaded.device, loaded.dtype), normalize=False)
        read = loaded.model.encode_text(tokens.to(loaded.device), normalize=False)
    found = [_normalised(features[:count].float().cpu().numpy()) for features in (seen, read)]
    return found[0], found[1], [_is_cut(row) for row in tokens[:count]]


def _normalised(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def _is_cut(tokens: Any) -> bool:
    """Whether a text fills the context: open_clip's tokenizers cut what is beyond it."""
    return bool((tokens != 0).all())


def _load(scorer: ClipScore) -> _Loaded:
    """The model, once per process. Raises ValueError when the weights are not those meant."""
    with _LOCK:
        return _loaded(scorer, scorer.device)


@lru_cache(maxsize=4)
def _loaded(scorer: ClipScore, device: str) -> _Loaded:
    import open_clip

    if scorer.sha256 is not None and scorer.sha256 not in scorer.weights_digest:
        raise ValueError(f"weights of {scorer.model} have digest {scorer.weights_digest}")
    pretrained = scorer.pretrained
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*QuickGELU mismatch.*")
        model, transform = open_clip.create_model_from_pretrained(
            scorer.model,
            pretrained=pretrained,
            precision=scorer._precision,
            device=device,
            **_preprocessing(scorer),
        )
    model.eval()
    tokenize = open_clip.get_tokenizer(scorer.model)
    return _Loaded(model, transform, tokenize, device, open_clip.get_input_dtype(scorer._precision))


def _preprocessing(scorer: ClipScore) -> dict[str, Any]:
    """For a weights file: what open_clip knows of the tag whose preprocessing it shares."""
    import open_clip

    if scorer._weights_file is None:
        return {}
    known = open_clip.get_pretrained_cfg(scorer.model, scorer.preprocess_tag)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(scorer.model)) or "none"
        raise ValueError(f"{scorer.model} has no tag {scorer.preprocess_tag!r}; known are {tags}")
    names = {
        "mean": "image_mean",
        "std": "image_std",
        "interpolation": "image_interpolation",
        "resize_mode": "image_resize_mode",
    }
    return {names[key]: known[key] for key in names if key in known}


@lru_cache(maxsize=16)
def _image_size(model: str) -> int:
    """The side in pixels of what the model sees. Raises ValueError for an unknown model."""
    if model.startswith("local-dir:"):
        import json

        path = os.path.join(model.removeprefix("local-dir:"), "open_clip_config.json")
        if not os.path.isfile(path):
            raise ValueError(f"model {model!r}: there is no file {path}")
        with open(path, encoding="utf-8") as stream:
            return _side(json.load(stream)["model_cfg"])
    import open_clip

    config = open_clip.get_model_config(model)
    if config is None:
        raise ValueError(f"open_clip knows no model {model!r}")
    return _side(config)


def _side(config: dict[str, Any]) -> int:
    size = config["vision_cfg"].get("image_size", 224)
    return int(max(size)) if isinstance(size, list | tuple) else int(size)


def _device() -> str:
    """`cuda` where there is a device for it; asked of the system, since torch is slow to import."""
    return "cuda" if glob.glob("/dev/nvidia[0-9]*") and _cuda_works() else "cpu"


@lru_cache(maxsize=1)
def _cuda_works() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _model_files(folder: str) -> list[str]:
    """The configuration and the weights in a model's folder, sorted."""
    found = [p for pattern in ("*.json", *_WEIGHTS) for p in glob.glob(f"{folder}/{pattern}")]
    return sorted(found)


@lru_cache(maxsize=64)
def _file_digest(path: str, _size: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
