"""What is asked of a model server and what it answers: plain values, checked when made.

Refuses with ValueError endpoints that are no plain http or https addresses, pictures that
servers don't take, and parameters out of their range.
"""

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

KINDS = ("auto", "openai", "vllm", "sglang", "llamacpp", "ollama")
VECTOR_FORMS = ("messages", "input")
TOP_LOGPROBS = 20  # most that OpenAI and vLLM give by default
_FORMAT = 1  # raised when the same request would be sent in a way that changes answers
_PATCH = 28  # pixels of a side that make a token with Qwen's vision towers; the estimate's unit
_UNKNOWN_IMAGE = 1000  # tokens
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBERS = {  # of a server, and whether they are whole
    "concurrency": True,
    "attempts": True,
    "max_requests": True,
    "max_tokens": True,
    "timeout": False,
    "backoff": False,
}


@dataclass(frozen=True)
class Server:
    """A model and where it is served. Only `model` is part of an answer's identity.

    `endpoints` are base addresses such as "http://127.0.0.1:8000/v1"; requests are shared among
    them by load, and one that fails is rested. `api_key_env` names the environment variable that
    holds the key. `kind` says how schemas and log probabilities are asked for; `auto` finds out.
    `concurrency` is of one process, over all its threads. `timeout` is in seconds, of one attempt
    with all its bytes. The first wait between attempts is `backoff` seconds, each further one
    twice as long. `max_requests` and `max_tokens` are the budget of a build for this model, over
    all its runs and processes if there is a cache, else of the process; attempts count, answers
    from the cache don't. Tokens are reserved by an estimate and then counted as the server says,
    so that requests under way together may exceed it by the estimate's error.
    """

    endpoints: tuple[str, ...]
    model: str
    api_key_env: str | None = None
    kind: str = "auto"
    concurrency: int = 8
    timeout: float = 120.0
    attempts: int = 5
    backoff: float = 0.5
    max_requests: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        is_list = isinstance(self.endpoints, tuple | list)
        if not (is_list and self.endpoints and all(isinstance(u, str) for u in self.endpoints)):
            raise ValueError(f"endpoints must be a list of addresses, got {self.endpoints!r}")
        plain = tuple(check_endpoint(url) for url in self.endpoints)
        if len(set(plain)) < len(plain):
            raise ValueError(f"endpoints: an address is given twice: {', '.join(plain)}")
        object.__setattr__(self, "endpoints", plain)
        if not self.model or not isinstance(self.model, str):
            raise ValueError("model must be the name that the server knows the model by")
        if self.api_key_env is not None and not _VARIABLE.fullmatch(str(self.api_key_env)):
            raise ValueError(  # what it says may be the key
                "api_key_env must be the name of an environment variable that holds the key"
            )
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: known are {', '.join(KINDS)}")
        for name, is_whole in _NUMBERS.items():
            value = getattr(self, name)
            is_number = isinstance(value, int if is_whole else int | float)
            if value is not None and (isinstance(value, bool) or not is_number):
                what = "a whole number" if is_whole else "a number"
                raise ValueError(f"{name} must be {what}, got {value!r}")
        for name in ("concurrency", "attempts", "timeout"):
            value = getattr(self, name)
            if value is None or not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("max_requests", "max_tokens", "backoff"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0, got {value}")


def check_endpoint(url: str) -> str:
    """The address without a slash at its end. Raises ValueError for what is no base address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text may repeat the address
        shown = repr(url) if "@" not in url else "with credentials"
        raise ValueError(f"endpoint {shown}: is no address") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"endpoint at {host}: an address must hold no credentials; `api_key_env` names the"
            " environment variable that holds the key"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"endpoint {url!r}: must begin with http:// or https:// and a host")
    if parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise ValueError(f"endpoint {url!r}: must be an address without query or spaces")
    plain = url.rstrip("/")
    for path in ("/chat/completions", "/embeddings"):
        if plain.endswith(path):
            raise ValueError(f"endpoint {url!r}: leave out {path}; it is added")
    return plain


@dataclass(frozen=True)
class Request:
    """A question to the model. All of it is identity: equal requests have one answer.

    `images` are the bytes of JPEG, PNG or WebP files and come before the prompt. `schema` is a
    JSON schema for the answer; the order of its properties is the order they are written in.
    `top_logprobs` asks for the log probabilities of so many tokens at each place. At temperature
    0 the likeliest answer is asked for, with no other sampling default of the server. `vector`
    asks for an embedding of prompt and image in place of words, in a form of `served_vectors`.
    """

    prompt: str
    images: tuple[bytes, ...] = ()
    system: str | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    schema: dict[str, Any] | None = None
    top_logprobs: int = 0
    stop: tuple[str, ...] = ()
    vector: str | None = None

    def __post_init__(self) -> None:
        for number, image in enumerate(self.images, 1):
            if media_type(image) is None:
                raise ValueError(f"image {number} of a request is no JPEG, PNG or WebP file")
        if isinstance(self.stop, str):
            raise ValueError(f"stop must be a tuple of texts, got {self.stop!r}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be from 0 to 2, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if not 0 <= self.top_logprobs <= TOP_LOGPROBS:
            raise ValueError(
                f"top_logprobs must be from 0 to {TOP_LOGPROBS}, got {self.top_logprobs}"
            )
        if self.vector is not None and self.vector not in VECTOR_FORMS:
            raise ValueError(f"vector {self.vector!r}: known are {', '.join(VECTOR_FORMS)}")
        if self.vector is not None and len(self.images) > 1:
            raise ValueError(f"a vector is of one image at most, got {len(self.images)}")

    def key(self, model: str) -> bytes:
        """32 bytes that name the answer: the digest of everything that decides about it."""
        pictures = [hashlib.sha256(image).hexdigest() for image in self.images]
        sampling = [self.max_tokens, float(self.temperature), float(self.top_p), self.seed]
        rest = [self.schema, self.top_logprobs, list(self.stop)]
        parts = [_FORMAT, model, self.system, self.prompt, pictures, sampling, rest]
        parts += [] if self.vector is None else [self.vector]
        return hashlib.sha256(json.dumps(parts).encode()).digest()

    @property
    def tokens_in(self) -> int:
        """An estimate: four bytes of text, or a square of 28 pixels, are a token."""
        text = f"{self.system or ''}{self.prompt}".encode("utf-8", "surrogatepass")
        return len(text) // 4 + 16 + sum(map(_image_tokens, self.images))

    @property
    def tokens_out(self) -> int:
        """The most that are answered; a vector is made of none."""
        return self.max_tokens if self.vector is None else 0


@dataclass(frozen=True)
class Answer:
    """What a model said. `finish` is "stop", or "length" when it was cut at `max_tokens`.

    `tokens_in` and `tokens_out` are the server's count, or an estimate where it gives none.
    `logprobs` holds for each answered token the likeliest ones with their natural logarithms;
    tokens that read the same are one, with the sum of their probabilities. `data` is the answer
    as JSON when a schema was asked for, and of that schema; of a vector it is what
    `served_vectors.vector_of` reads. `model` is what the server says it is that answered, where
    that is more than the name it was asked by.
    """

    text: str
    finish: str
    tokens_in: int
    tokens_out: int
    logprobs: tuple[dict[str, float], ...] = ()
    data: Any = None
    model: str | None = None


@dataclass(frozen=True)
class Costs:
    """What asking would cost: requests to be sent, and an estimate of tokens.

    `cached` are distinct requests whose answer is there, `repeated` those equal to another of
    the same call. `tokens_out` is the most that may be answered.
    """

    requests: int
    cached: int
    repeated: int
    tokens_in: int
    tokens_out: int


def media_type(image: bytes) -> str | None:
    """The type of an image file by its first bytes; None for all that servers don't take."""
    if image.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else None


def data_address(image: bytes) -> str:
    """An image file as an address that holds all of it."""
    return f"data:{media_type(image)};base64,{base64.b64encode(image).decode('ascii')}"


def _image_tokens(image: bytes) -> int:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as opened:  # reads the header alone
            width, height = opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return _UNKNOWN_IMAGE
    return max(1, math.ceil(width / _PATCH) * math.ceil(height / _PATCH))
