"""How each kind of server is asked, and how its answers are read: pure functions, no I/O.

OpenAI, vLLM, SGLang and llama.cpp share /chat/completions and differ in what they take besides;
Ollama is asked by its own /api/chat, where a schema is a `format`. Sampling defaults that vLLM and
others read from a model's files are switched off, and so is thinking: it would eat `max_tokens`
and come before the token whose log probability is wanted. Whatever is no answer is an error.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from filters import served_vectors as vectors
from filters.served_errors import (
    BadAnswer,
    Filtered,
    NotOfSchema,
    Unsupported,
    beginning,
)
from filters.served_types import Answer, Request, data_address, media_type

OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "library": "ollama"}
HOSTED = ("openai", "openai-internal", "system")  # owners that OpenAI itself names
NEW_LIMIT, PLAIN_JSON = "max_completion_tokens", "json_object"  # what a server wants otherwise


def path_of(kind: str, base: str, request: Request) -> str:
    """The address that a request is sent to."""
    if request.vector is not None:
        return f"{base}{vectors.PATH}"
    if kind == "ollama":
        return f"{base.removesuffix('/v1')}/api/chat"
    return f"{base}/chat/completions"


def body_of(request: Request, model: str, kind: str, habits: frozenset[str]) -> dict[str, Any]:
    """The JSON to send; `habits` are what a server was found to want otherwise."""
    if request.vector is not None:
        asked: dict[str, Any] = vectors.body_of(request, model, _messages(request))
        return asked
    if kind == "ollama":
        return _ollama_body(request, model)
    limit = NEW_LIMIT if NEW_LIMIT in habits else "max_tokens"
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(request),
        limit: request.max_tokens,
        "temperature": request.temperature,
        **_OPEN_SAMPLING.get(kind, {}),
    }
    if request.temperature > 0:
        body["top_p"] = request.top_p
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.schema is not None:
        body["response_format"] = _response_format(request.schema, kind, habits)
    return body


_NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
_OPEN_SAMPLING: dict[str, dict[str, Any]] = {  # without these, a model's own defaults are taken
    "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **_NO_THINKING},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **_NO_THINKING},
    "llamacpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, **_NO_THINKING},
}


def _messages(request: Request) -> list[dict[str, Any]]:
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    if not request.images:
        return [*system, {"role": "user", "content": request.prompt}]
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_address(image)}} for image in request.images
    ]
    parts.append({"type": "text", "text": request.prompt})
    return [*system, {"role": "user", "content": parts}]


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode("ascii")


def _response_format(schema: dict[str, Any], kind: str, habits: frozenset[str]) -> dict[str, Any]:
    if PLAIN_JSON in habits:
        return {"type": "json_object"}
    strict = schema.get("additionalProperties") is False  # else OpenAI takes no strict schema
    named = {"name": "answer", "schema": schema, "strict": strict}
    found = {"type": "json_schema", "json_schema": named}
    return found | ({"schema": schema} if kind == "llamacpp" else {})  # where older ones look


def _ollama_body(request: Request, model: str) -> dict[str, Any]:
    user: dict[str, Any] = {"role": "user", "content": request.prompt}
    if request.images:
        user["images"] = [_base64(image) for image in request.images]
    system = [] if request.system is None else [{"role": "system", "content": request.system}]
    options: dict[str, Any] = {
        "temperature": request.temperature,
        "num_predict": request.max_tokens,
        "top_p": request.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
    }
    if request.seed is not None:
        options["seed"] = request.seed
    if request.stop:
        options["stop"] = list(request.stop)
    body = {"model": model, "messages": [*system, user], "stream": False, "think": False}
    body["options"] = options
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.schema is not None:
        body["format"] = request.schema
    return body


def habit_of(refusal: str, request: Request, habits: frozenset[str]) -> str | None:
    """What to do otherwise after a 400 of an OpenAI-like server; None if nothing new is known."""
    if NEW_LIMIT in refusal and NEW_LIMIT not in habits:
        return NEW_LIMIT
    about_schema = "response_format" in refusal or "json_schema" in refusal
    if request.schema is not None and about_schema and PLAIN_JSON not in habits:
        return PLAIN_JSON
    return None


def kind_of_models(body: Any, headers: Mapping[str, str], model: str) -> str | None:
    """The kind of server that answered GET /models so; None if it may be anything."""
    if "llama.cpp" in headers.get("Server", "").lower():
        return "llamacpp"
    listed = body.get("data") if isinstance(body, dict) else None
    cards = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    cards.sort(key=lambda card: card.get("id") != model)
    owner = str(cards[0].get("owned_by", "")) if cards else ""
    return "openai" if owner in HOSTED else OWNERS.get(owner)


def model_of_models(body: Any, model: str) -> str | None:
    """What the model really is, by the `root` that vLLM and SGLang list; None if not said."""
    listed = body.get("data") if isinstance(body, dict) else None
    cards = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    return next((_plain_name(card.get("root")) for card in cards if card.get("id") == model), None)


def _plain_name(said: Any) -> str | None:
    """A name of a model as a server says it; of a path, which is nobody's business, the end."""
    if not isinstance(said, str) or not said.strip():
        return None
    name = clean(said.strip())
    is_path = name.startswith(("/", "~", ".")) or "\\" in name
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] if is_path else name


_REASONING = ("reasoning_content", "reasoning", "thinking")
_THOUGHT = re.compile(
    r"\s*(?:<think(?:ing)?>)?(?:(?!</?think(?:ing)?>).)*</think(?:ing)?>\s*", re.S
)


def after_thinking(text: str) -> str:
    """An answer without the thoughts before it, in which some models' templates begin already."""
    match = _THOUGHT.match(text)
    if match is not None:
        return text[match.end() :]
    return "" if text.lstrip().startswith(("<think>", "<thinking>")) else text


def answer_of(body: Any, request: Request, kind: str) -> Answer:
    """The answer in a body of status 200. Raises BadAnswer, Filtered or Unsupported."""
    if request.vector is not None:
        model = _plain_name(body.get("model")) if isinstance(body, dict) else None
        answer: Answer = replace(vectors.answer_of(body, request), model=model)
        return answer
    try:
        message, finish, tokens, places = (_ollama_parts if kind == "ollama" else _parts)(body)
        text = message.get("content")
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        refusal = message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadAnswer(f"no chat answer: {beginning(json.dumps(body))}") from error
    if finish == "content_filter" or refusal:
        raise Filtered(f"the answer was withheld: {beginning(str(refusal or finish))}")
    if not text and any(message.get(name) for name in _REASONING):
        raise BadAnswer(f"reasoning without an answer in {request.max_tokens} tokens")
    if not isinstance(text or "", str):
        raise BadAnswer(f"no text: {beginning(json.dumps(text))}")
    text = clean(text or "")
    estimate = (request.tokens_in, min(len(text) // 4 + 1, request.max_tokens))
    tokens_in, tokens_out = (_count(n, e) for n, e in zip(tokens, estimate, strict=True))
    logprobs = _logprobs(places, kind) if request.top_logprobs else ()
    said = after_thinking(text)
    data = None if request.schema is None else data_of(said, request.schema, finish)
    return Answer(
        text, finish, tokens_in, tokens_out, logprobs, data, _plain_name(body.get("model"))
    )


def _parts(body: Any) -> tuple[Any, str, tuple[Any, Any], Any]:
    choice = body["choices"][0]
    usage = body.get("usage") or {}
    tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    places = (choice.get("logprobs") or {}).get("content")
    return choice["message"], str(choice.get("finish_reason") or "stop"), tokens, places


def _ollama_parts(body: Any) -> tuple[Any, str, tuple[Any, Any], Any]:
    tokens = body.get("prompt_eval_count"), body.get("eval_count")
    return body["message"], str(body.get("done_reason") or "stop"), tokens, body.get("logprobs")


def _count(found: Any, estimate: int) -> int:
    return found if isinstance(found, int) and 0 <= found < 1 << 40 else estimate


def _logprobs(places: Any, kind: str) -> tuple[dict[str, float], ...]:
    if not places:
        raise Unsupported(f"the server gives no log probabilities (asked as {kind})")
    try:
        return tuple(_likeliest(place) for place in places)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise BadAnswer(f"no log probabilities: {beginning(json.dumps(places))}") from error


def _likeliest(place: Any) -> dict[str, float]:
    """Log probability by token. Of tokens that read the same, probabilities add up."""
    listed = place.get("top_logprobs") or [place]
    found: dict[str, float] = {}
    for entry in listed:
        token, value = clean(entry["token"]), float(entry["logprob"])
        if value > 1e-3 or math.isnan(value):  # rounding may give a little more than 0
            raise ValueError(f"log probability {value}")
        if math.isinf(value):
            continue
        before = found.get(token)
        found[token] = value if before is None else _sum(before, value)
    return found


def _sum(first: float, second: float) -> float:
    high, low = max(first, second), min(first, second)
    return high + math.log1p(math.exp(low - high))


def clean(text: str) -> str:
    """The text without lone surrogates, which no file could hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def data_of(text: str, schema: dict[str, Any], finish: str) -> Any:
    """The JSON in an answer, also inside a code fence or other words. Raises NotOfSchema."""
    data = _json_in(text)
    problem = "no JSON" if data is None else _problem(data, schema)
    if problem is None:
        return data
    cut = ", cut at max_tokens" if finish == "length" else ""
    raise NotOfSchema(f"{problem}{cut}: {beginning(text)}")


def _json_in(text: str) -> Any:
    """Parsed JSON; None where there is none, also for the word null, which no schema asks for."""
    start, end = text.find("{"), text.rfind("}")
    for part in (text, text[start : end + 1] if 0 <= start < end else ""):
        try:
            data = json.loads(part, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
        written = json.dumps(data, ensure_ascii=False)
        return data if clean(written) == written else json.loads(clean(written))
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _problem(data: Any, schema: dict[str, Any]) -> str | None:
    """What of the data is not of the schema, if something is."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        error = best_match(_validator(json.dumps(schema)).iter_errors(data))
    except Unresolvable as lost:
        raise Unsupported(f"schema: {beginning(str(lost))}") from lost
    return None if error is None else beginning(f"{error.json_path}: {error.message}")


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """Checks data; references to other documents are never fetched. Raises Unsupported."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        raise Unsupported(f"schema: {beginning(error.message)}") from error
    return Draft202012Validator(json.loads(schema), registry=Registry())


def error_in(body: Any) -> tuple[int | None, str] | None:
    """Status and text of an error that came with status 200, as gateways send them."""
    error = body.get("error") if isinstance(body, dict) and "choices" not in body else None
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return (code if isinstance(code, int) and code >= 400 else None), json.dumps({"error": error})


def check(request: Request, kind: str) -> None:
    """Raises Unsupported for what is known to fail, before it is sent."""
    if request.vector is not None:
        vectors.check(request, kind)
    if kind == "llamacpp" and any(media_type(image) == "image/webp" for image in request.images):
        raise Unsupported("llama.cpp reads no WebP; send JPEG or PNG")
    if request.schema is not None:
        _validator(json.dumps(request.schema))
