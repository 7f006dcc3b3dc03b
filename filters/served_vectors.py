"""Embeddings of a picture and text by a model server: how they are asked for, and what comes back.

POST /embeddings, of which servers take two forms. `messages` is vLLM's for models of pictures: a
chat as for an answer, put through the model's chat template up to where the answer would begin.
`input` is SGLang's, and that of some gateways: a list with one object of `image`, an address that
holds its data, and `text`. Text alone goes the same way as a picture does, so that both end alike;
a plain string would pass the template by. Whatever is no vector of finite numbers is an error.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.served_errors import BadAnswer, Unsupported, beginning
from filters.served_types import Answer, Request, data_address

PATH = "/embeddings"
_MOST = 1 << 16  # numbers of a vector; those of models have some thousands
_WITHOUT = ("ollama", "llamacpp")

Floats = npt.NDArray[np.float32]


def body_of(request: Request, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON to send; `messages` are the request as a chat."""
    body: dict[str, Any] = {"model": model, "encoding_format": "float"}
    if request.vector == "messages":
        return body | {"messages": messages, "add_generation_prompt": True}
    shown = {"image": data_address(request.images[0])} if request.images else {}
    return body | {"input": [{**shown, "text": request.prompt}]}


def check(request: Request, kind: str) -> None:
    """Raises Unsupported for what is known to fail, before it is sent."""
    if kind in _WITHOUT:
        raise Unsupported(f"{kind} gives no embeddings of pictures that are known here")
    if kind == "sglang" and request.vector == "messages":
        raise Unsupported("SGLang takes no `messages` for embeddings: the form is `input`")


def answer_of(body: Any, request: Request) -> Answer:
    """The vector in a body of status 200. Raises BadAnswer for what is none."""
    try:
        listed = body["data"]
        given = [entry["embedding"] for entry in listed]
        usage = body.get("usage") or {}
        tokens = usage.get("prompt_tokens")
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(f"no embedding: {beginning(json.dumps(body))}") from error
    if len(given) != 1:
        raise BadAnswer(f"{len(given)} embeddings for one request")
    vector = _numbers(given[0])
    if not np.isfinite(vector).all():
        raise BadAnswer("an embedding with a number that is not finite")
    if not vector.any():
        raise BadAnswer("an embedding of zeros")
    count = tokens if isinstance(tokens, int) and 0 <= tokens < 1 << 40 else request.tokens_in
    data = base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return Answer("", "stop", count, 0, data=data)


def vector_of(answer: Answer) -> Floats:
    """The vector [d] that an answer holds, as the server gave it."""
    return np.frombuffer(base64.b64decode(answer.data), "<f4").astype(np.float32)


def _numbers(given: Any) -> Floats:
    """A list of numbers, or the base64 of little-endian float32. Raises BadAnswer for others."""
    if isinstance(given, str):
        try:
            data = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadAnswer(f"an embedding that is no base64: {beginning(given)}") from error
        if not data or len(data) % 4:
            raise BadAnswer(f"an embedding of {len(data)} bytes, no float32")
        return _of_size(np.frombuffer(data, "<f4").astype(np.float32))
    if not isinstance(given, list) or not given or not _are_numbers(given):
        raise BadAnswer(f"an embedding that is no list of numbers: {beginning(json.dumps(given))}")
    try:
        with np.errstate(over="ignore"):
            return _of_size(np.array(given, np.float64).astype(np.float32))
    except OverflowError as error:  # a whole number beyond all floats
        raise BadAnswer("an embedding with a number that is not finite") from error


def _are_numbers(given: Sequence[Any]) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)


def _of_size(vector: Floats) -> Floats:
    if len(vector) > _MOST:
        raise BadAnswer(f"an embedding of {len(vector)} numbers")
    return vector
