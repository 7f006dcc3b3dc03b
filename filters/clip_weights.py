"""The models of open_clip: what can be known of one before torch is loaded, and loading it.

Images are always prepared as the weights' training did it. It refuses weights of which that is
not known, activations that the weights were not trained with, models without weights, and
folders that want to run code of their own.
"""

import difflib
import glob
import hashlib
import importlib.util
import os
import threading
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

from filters import clip_text, files
from filters.finite import check_finite

FOLDER = "local-dir:"
_CONFIG = "open_clip_config.json"
_WEIGHTS = (".safetensors", ".bin", ".pth")  # what open_clip looks for in a model's folder
_TOKENIZER = (".json", ".txt", ".model")
_DEVICES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")  # CUDA, ROCm, and CUDA under WSL
_LOCK = threading.Lock()
_RIBBON = 20  # times as long as wide: open_clip would enlarge such a picture to gigabytes


class Source(NamedTuple):
    """Where a model comes from, and how it is held in memory.

    `model` is a name of open_clip or `local-dir:PATH`. `pretrained` is a tag or, known by its
    slashes, the path of a weights file; `preprocess_tag` is for such a file.
    """

    model: str
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "fp32"
    device: str = "cpu"
    channels_last: bool = False
    compile: bool = False

    @property
    def folder(self) -> str | None:
        """The folder of a model that is one."""
        return self.model.removeprefix(FOLDER) if self.model.startswith(FOLDER) else None

    @property
    def file(self) -> str | None:
        """The path of the weights, where the recipe gives it."""
        return self.pretrained if self.pretrained and os.sep in self.pretrained else None

    @property
    def tag(self) -> str | None:
        """The tag that says how images are prepared; None for a folder, which says it itself."""
        return self.preprocess_tag if self.file else self.pretrained


class Loaded(NamedTuple):
    """A model ready to encode.

    `empty` [1, context] are the tokens of the empty text; `crops` says that of a picture the
    middle square is seen, not all.
    """

    model: Any
    transform: Any
    tokenize: Any
    empty: Any
    crops: bool
    device: str
    dtype: Any


# Without torch


def check(source: Source) -> None:
    """Raises ValueError for all that can be wrong with a source and is known without torch."""
    if source.model.startswith("hf-hub:"):
        raise ValueError(
            f"model {source.model!r}: a repository of a hub can change; download a revision and"
            f" name its folder: `model: {FOLDER}PATH`"
        )
    if source.folder is not None and source.pretrained is not None:
        raise ValueError(f"model {source.model!r} brings its weights; remove `pretrained`")
    if source.folder is None and source.pretrained is None:
        raise ValueError(
            f"model {source.model!r} needs `pretrained`, a tag of open_clip or a weights file;"
            " without weights its scores would be noise"
        )
    if source.file is not None:
        _check_file(source)
    if "trust_remote_code" in config(source)["text_cfg"].get("tokenizer_kwargs", {}):
        raise ValueError(f"model {source.model!r} wants to run code of its own: trust_remote_code")
    if source.folder is not None:
        _check_folder(source.folder)


def _check_file(source: Source) -> None:
    if not os.path.isabs(str(source.file)) or not os.path.isfile(str(source.file)):
        raise ValueError(f"pretrained {source.file!r}: there is no such file; give its whole path")
    if source.preprocess_tag is None:
        raise ValueError(
            f"{source.file!r} is a weights file, which does not say how images are prepared; name"
            " the tag it shares that with, such as `preprocess_tag: openai`"
        )


def _check_folder(folder: str) -> None:
    path = os.path.join(folder, _CONFIG)
    if not {"mean", "std"} <= files.read_json(path).get("preprocess_cfg", {}).keys():
        raise ValueError(
            f"{path}: has no `preprocess_cfg` with mean and std, so how images are prepared for"
            " these weights is not known"
        )
    weights = [p for p in _model_files(folder) if p.endswith(_WEIGHTS)]
    if len(weights) != 1:
        names = ", ".join(os.path.basename(p) for p in weights) or "none"
        raise ValueError(f"{folder}: must hold one weights file, holds {names}")


def config(source: Source) -> dict[str, Any]:
    """The architecture: `vision_cfg`, `text_cfg` and so on. Raises ValueError for unknown ones."""
    return _config(source.model)


@lru_cache(maxsize=16)
def _config(model: str) -> dict[str, Any]:
    folder = Source(model).folder
    if folder is not None:
        if not os.path.isabs(folder):
            raise ValueError(f"model {model!r}: the path after {FOLDER} must be absolute")
        found = files.read_json(os.path.join(folder, _CONFIG)).get("model_cfg")
        if not isinstance(found, dict) or not {"vision_cfg", "text_cfg"} <= found.keys():
            raise ValueError(f"{os.path.join(folder, _CONFIG)}: has no `model_cfg` of two towers")
        return found
    known = _known_configs()
    if model not in known:
        near = difflib.get_close_matches(model, known, 5, 0.4) or sorted(known)
        raise ValueError(f"open_clip knows no model {model!r}; it knows {', '.join(near)}")
    return files.read_json(known[model])


@lru_cache(maxsize=1)
def _known_configs() -> dict[str, str]:
    """The files that open_clip keeps its architectures in, by name."""
    spec = importlib.util.find_spec("open_clip")
    folders = (spec.submodule_search_locations if spec else None) or []
    paths = [path for folder in folders for path in glob.glob(f"{folder}/model_configs/*.json")]
    return {os.path.basename(path).removesuffix(".json"): path for path in sorted(paths)}


def image_side(source: Source) -> int:
    """The side in pixels of what the model sees, the longer one where they differ."""
    size = config(source)["vision_cfg"].get("image_size", 224)
    return int(max(size)) if isinstance(size, list | tuple) else int(size)


def digest(source: Source) -> str:
    """Names the files that values depend on by their content; for a tag, it and the pinned one."""
    if source.folder is not None:
        lines = [f"{os.path.basename(p)} {files.digest(p)}" for p in _model_files(source.folder)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return files.digest(source.file) if source.file else f"tag {source.tag} {source.sha256}"


def _model_files(folder: str) -> list[str]:
    """Configuration, weights and tokenizer in a model's folder, sorted."""
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "*")))
    return [path for path in found if path.endswith((*_TOKENIZER, *_WEIGHTS))]


def best_device() -> str:
    """`cuda` where it works, else `cpu`; torch is asked only on a machine with such a device."""
    return "cuda" if any(map(glob.glob, _DEVICES)) and _cuda_works() else "cpu"


@lru_cache(maxsize=1)
def _cuda_works() -> bool:
    import torch

    return bool(torch.cuda.is_available())


# With torch


def load(source: Source) -> Loaded:
    """The model, once per process. Raises when its weights are missing or not those meant."""
    with _LOCK:
        return _load(source)


@lru_cache(maxsize=4)
def _load(source: Source) -> Loaded:
    import open_clip
    import torch

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
    check_finite(model, f"model {source.model!r}: {_held_in(source)}", source.precision)
    dtype = open_clip.get_input_dtype(source.precision) or torch.float32
    if "timm_model_name" in config(source)["vision_cfg"]:
        _merge_branches(model.visual, dtype)
    _lower_loose_parameters(model, dtype)
    if source.channels_last:
        model.to(memory_format=torch.channels_last)
    if source.compile:
        _compile(model)
    tokenize = tokenizer(source.model)
    crops = model.visual.preprocess_cfg["resize_mode"] == "shortest"
    return Loaded(model, transform, tokenize, tokenize([""]), crops, source.device, dtype)


def _merge_branches(visual: Any, dtype: Any) -> None:
    """Fold branches that only training needs (MobileCLIP has some) into one, with fp32's digits."""
    from timm.utils.model import reparameterize_model

    reparameterize_model(visual.float(), inplace=True)
    visual.to(dtype)


def _compile(model: Any) -> None:
    """Have torch compile both towers when they are first used; every batch has one shape."""
    import torch

    for name in ("encode_image", "encode_text"):
        setattr(model, name, torch.compile(getattr(model, name), dynamic=False))


def _lower_loose_parameters(model: Any, dtype: Any) -> None:
    """Bring to the model's precision what open_clip forgets; CoCa in half precision fails else."""
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] in ("query", "cls_emb"):
            parameter.data = parameter.data.to(dtype)


def tokenizer(model: str) -> Any:
    """What a model of open_clip reads texts with. It leaves nothing to chance or to captions."""
    import open_clip

    try:
        tokenize = open_clip.get_tokenizer(model)
    except OSError as error:
        raise ValueError(
            f"model {model!r}: its tokenizer is not on this machine; the folder of"
            f" `{FOLDER}PATH` brings its own: {error}"
        ) from error
    if getattr(tokenize, "reduction_fn", None) is not None:
        tokenize.reduction_fn = None  # it drops words at random: an augmentation
    clip_text.guard(tokenize)
    return tokenize


def _check_tag(source: Source) -> None:
    """Raises ValueError for a tag that open_clip has not, and for the wrong activation."""
    import open_clip

    if source.tag is None:
        return
    known = open_clip.get_pretrained_cfg(source.model, source.tag)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(source.model)) or "none"
        raise ValueError(f"{source.model} has no tag {source.tag!r}; known are {tags}")
    # Weights of a tag run with the other activation, too, and score worse: open_clip warns only.
    if known.get("quick_gelu", False) != config(source).get("quick_gelu", False):
        raise ValueError(
            f"{source.tag!r} was not trained with the activation of {source.model};"
            f" take {source.model}-quickgelu"
        )


def _held_in(source: Source) -> str:
    """What to call the file of the weights."""
    if source.folder is not None:
        return next(path for path in _model_files(source.folder) if path.endswith(_WEIGHTS))
    return source.file or f"tag {source.pretrained!r}"


def _check_digest(source: Source) -> None:
    """Raises ValueError when the weights are not those that `sha256` pins."""
    import open_clip

    if source.sha256 is None:
        return
    if source.folder is not None:
        path = _held_in(source)
    elif source.file is not None:
        path = source.file
    else:
        known = open_clip.get_pretrained_cfg(source.model, source.pretrained)
        path = open_clip.download_pretrained(known)
    if files.digest(path) != source.sha256.lower():
        raise ValueError(f"{path}: sha256 is {files.digest(path)}, pinned is {source.sha256}")


def _preprocessing(source: Source) -> dict[str, Any]:
    """For a weights file, what its tag says: left alone, open_clip takes OpenAI's for any model."""
    import open_clip

    if source.file is None:
        return {}
    known = open_clip.get_pretrained_cfg(source.model, source.tag)
    names = ("mean", "std", "interpolation", "resize_mode")
    return {f"image_{name}": known[name] for name in names if name in known}


def prepared(loaded: Loaded, image: Any) -> Any:
    """What the model sees of a picture; of a ribbon whose ends are cut off, the middle alone."""
    from PIL import Image

    height, width = image.shape[:2]
    most = _RIBBON * min(height, width)
    if loaded.crops and max(height, width) > most:
        top, left = max(0, height - most) // 2, max(0, width - most) // 2
        image = image[top : top + most, left : left + most]
    return loaded.transform(Image.fromarray(image))
