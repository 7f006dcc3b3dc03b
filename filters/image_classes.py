"""Image classifiers of transformers: how likely each class of theirs is for a picture.

Any model that `AutoModelForImageClassification` loads, from a folder or a pinned revision of a hub.
Refuses a class that the model does not have, naming those it has.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filters import hub_weights
from filters.hub_weights import Loaded, Source
from filters.threads import one_thread

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

KIND = "AutoModelForImageClassification"
_SHOWN = 8
_MULTI_LABEL = "multi_label_classification"


def check(source: Source, labels: Sequence[str]) -> None:
    """Raises ValueError for what can be known to be wrong without torch."""
    hub_weights.check(source, {"": ""})
    if source.folder is not None:
        places(hub_weights.config(source), labels, source.model)


def places(config: dict[str, Any], labels: Sequence[str], model: str) -> list[int]:
    """The places of classes in a model's answer. Raises ValueError for one it does not have."""
    known = {name: place for place, name in hub_weights.class_names(config, model).items()}
    for label in labels:
        if label not in known:
            more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
            shown = (", ".join(map(repr, [*known][:_SHOWN])) or "no names") + more
            raise ValueError(f"model {model!r} has no class {label!r}; it has {shown}")
    return [known[label] for label in labels]


def load(source: Source) -> Loaded:
    """The model and its image processor, once per process."""
    return hub_weights.load(source, KIND)


def likelihoods(
    loaded: Loaded, images: Sequence[Pixels], labels: Sequence[str], size: int
) -> Floats:
    """How likely each of these classes is, [n, labels], in batches filled up to `size`.

    The softmax over all classes; of a model that was trained for several classes of one picture,
    or that has one class alone, the sigmoid of each.
    """
    config = loaded.model.config.to_dict()
    chosen = places(config, labels, getattr(loaded.model, "name_or_path", ""))
    is_apart = config.get("problem_type") == _MULTI_LABEL or len(config["id2label"]) == 1
    parts = list(_batches(loaded, images, size, is_apart))
    found = np.concatenate(parts) if parts else np.zeros((0, len(config["id2label"])), np.float32)
    if not np.isfinite(found).all():
        raise ValueError("what the model says is NaN or infinite")
    likely: Floats = found[:, chosen].astype(np.float32)
    return likely


def _batches(
    loaded: Loaded, images: Sequence[Pixels], size: int, is_apart: bool
) -> Iterator[Floats]:
    import torch

    for start in range(0, len(images), size):
        seen = [_prepared(loaded, image) for image in images[start : start + size]]
        pixels = torch.cat([*seen, *[torch.zeros_like(seen[0])] * (size - len(seen))])
        with torch.inference_mode(), one_thread():
            logits = loaded.model(pixel_values=pixels.to(loaded.device, loaded.dtype)).logits
            odds = torch.sigmoid(logits.float()) if is_apart else torch.softmax(logits.float(), -1)
        yield odds[: len(seen)].cpu().numpy()


def _prepared(loaded: Loaded, image: Pixels) -> Any:
    """A picture as the weights' own processor makes it: [1, 3, h, w]."""
    from PIL import Image

    return loaded.processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
