"""The frozen encoders whose vectors a head looks at, and their vectors kept on disk.

Vectors are kept in chunks beside the head, so that a training that was killed does not encode
again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import storage
from pipeline.catalog import scorer_class
from pipeline.errors import DamagedFile, RecipeError
from pipeline.instances import fingerprint
from pipeline.keys import digest
from pipeline.reward.config import Configuration, EncoderOptions

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

FOLDER = "local-dir:"
"""How open_clip names a model in a folder."""
_CHUNK = 128


@dataclass(frozen=True)
class Encoder:
    """A dual encoder, as the scorer `clip` runs it; unit vectors come as a recipe would store them.

    Images and texts are encoded apart, each with the vector that it would have in a pair.
    """

    scorer: Any

    @property
    def name(self) -> str:
        return str(self.scorer.encoder)

    @property
    def digest(self) -> str:
        """Names the files that its vectors depend on."""
        return str(self.scorer.weights_digest)

    @cached_property
    def fingerprint(self) -> str:
        """Names everything that its vectors depend on."""
        return fingerprint(self.scorer, {}, "")

    @cached_property
    def dimension(self) -> int:
        return int(self.scorer.encode_texts(["a"]).shape[1])

    @property
    def short_side(self) -> int:
        """Pixels of the short side that are enough."""
        return int(self.scorer.image_request)

    def images(self, images: Sequence[Pixels]) -> Floats:
        return _stored(self.scorer.encode_images(list(images)))

    def texts(self, texts: Sequence[str]) -> Floats:
        return _stored(self.scorer.encode_texts(list(texts)))


def choose_encoder(options: EncoderOptions | None = None) -> Encoder:
    """The encoder with these parameters, by default the embedded one; their paths must be whole.

    Raises RecipeError for what is known to be wrong before a model is loaded.
    """
    given = (options or EncoderOptions()).model_dump(exclude_none=True)
    try:
        return Encoder(scorer_class("clip")(**given))
    except ValueError as error:
        raise RecipeError(str(error)) from None


def encoder_of(config: Configuration, options: EncoderOptions) -> Encoder:
    """The encoder that a configuration names under `encoder:`, and whose weights are there."""
    try:
        encoder = choose_encoder(located(config, options))
        encoder.scorer.weights_digest  # noqa: B018 - raises ValueError when they are not there
    except RecipeError as error:
        raise config.error(error.message, "encoder") from None
    except ValueError as error:
        raise config.error(str(error), "encoder") from None
    return encoder


def located(config: Configuration, options: EncoderOptions) -> EncoderOptions:
    """The same with paths that don't depend on where the configuration lies."""
    changed: dict[str, str] = {}
    if options.model.startswith(FOLDER):
        changed["model"] = FOLDER + config.resolve(options.model.removeprefix(FOLDER))
    if options.weights is not None:
        changed["weights"] = config.resolve(options.weights)
    if options.pretrained is not None and "/" in options.pretrained:
        changed["pretrained"] = config.resolve(options.pretrained)
    return options.model_copy(update=changed)


def _stored(vectors: npt.NDArray[Any]) -> Floats:
    """Vectors as columns have them: in half precision."""
    return vectors.astype(np.float16).astype(np.float32)


def encode_texts(encoder: Encoder, texts: Sequence[str], folder: str) -> Floats:
    """A vector for every text, in order; what `folder` has already is not encoded again."""
    items = ((text, text.encode("utf-8", "surrogatepass")) for text in texts)
    found = kept_in_chunks(items, f"texts {encoder.fingerprint}", folder, encoder.texts)
    return found if len(found) else np.zeros((0, encoder.dimension), np.float32)


def encode_images(encoder: Encoder, images: Iterable[tuple[Pixels, bytes]], folder: str) -> Floats:
    """A vector for every image, in order: its pixels, and the digest of its bytes."""
    found = kept_in_chunks(images, f"images {encoder.fingerprint}", folder, encoder.images)
    return found if len(found) else np.zeros((0, encoder.dimension), np.float32)


def kept_in_chunks(
    items: Iterable[tuple[Any, bytes]],
    what: str,
    folder: str,
    encode: Callable[[list[Any]], Floats],
    dtype: type[Any] = np.float32,
) -> npt.NDArray[Any]:
    """What `encode` says of the items [n, d], in half precision; `folder` keeps it in chunks.

    An item comes with the bytes that name it; `what` names the rest that the answer depends on.
    """
    parts = []
    for chunk in _chunks(items):
        name = digest(what.encode(), *(data for _, data in chunk)).hex()
        path = storage.join(folder, f"{name}.vectors")
        if storage.exists(path):
            part = np.frombuffer(_checked(path), np.float16).reshape(len(chunk), -1)
        else:
            part = encode([item for item, _ in chunk]).astype(np.float16)
            raw = part.tobytes()
            storage.write_atomic(path, hashlib.sha256(raw).digest() + raw)
        parts.append(part.astype(dtype))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype)


def _checked(path: str) -> bytes:
    raw = storage.read_bytes(path)
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise DamagedFile(f"{path}: is damaged, remove it and run again")
    return raw[32:]


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
