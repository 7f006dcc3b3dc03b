"""What can go wrong with a request to a model server, by what can be done about it.

ServedError
├── ServerUnavailable   nobody answers, or says that it is busy, again and again
├── TimedOut            no whole answer within the time limit, though others were answered
├── ServerFailed        an error of the server's own at this request, again and again
├── BadAnswer           what came back is no answer: no JSON, too large, empty
│   └── NotOfSchema     the text is not of the JSON schema that was asked for
└── Refused             the server will not answer this, however often it is asked
    ├── Unauthorized    the key is missing or not accepted
    ├── TooLong         prompt, images and answer do not fit into the model's context
    ├── Filtered        by a content filter, or by the model itself
    ├── NotThere        no such path or model: the address or a name is wrong
    ├── Unsupported     it can't do what was asked: images, log probabilities, vectors
    └── BudgetSpent     not sent: the budget of the build, or of the account, is used up

Messages are of one line, begin with the HTTP status if there is one, and never hold a key.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

BEGINNING = 200  # characters of a server's own words that are quoted
MAX_WAIT_S = 60.0  # longest that a server's Retry-After is obeyed


class ServedError(Exception):
    """No answer to a request. `retriable`: the same request may well be answered another day.

    What is retriable says nothing about the pair: to write NULL for it would be wrong. An error
    of a kind that is not may be so by itself: when the server failed at everything, and the first
    time that it fails at this request. Then it `is_alone`: others are answered, and may be asked.
    """

    retriable: bool = False
    is_alone: bool = False


class ServerUnavailable(ServedError):
    """No endpoint answers; the message names them."""

    retriable = True


class TimedOut(ServedError):
    """No whole answer within the time limit."""


class ServerFailed(ServedError):
    """The server failed at this request at every attempt, while it answered others."""


class BadAnswer(ServedError):
    """What came back is no answer."""


class NotOfSchema(BadAnswer):
    """The text is not of the schema that was asked for."""


class Refused(ServedError):
    """The server will not answer this request."""


class Unauthorized(Refused):
    """The key is missing or not accepted."""

    retriable = True


class TooLong(Refused):
    """The request does not fit into the model's context."""


class Filtered(Refused):
    """A content filter or the model refused."""


class NotThere(Refused):
    """The server knows no such path, or no such model."""

    retriable = True


class Unsupported(Refused):
    """The server or the model, as it was started, can't do what was asked."""

    retriable = True


class BudgetSpent(Refused):
    """The request was not sent, or not served, for want of budget."""

    retriable = True


class Again(Exception):
    """An attempt failed in a way that may pass; `error` is what to say if it was the last.

    `wait_s` is how long the server wants to be left alone; `rests` says that the endpoint as a
    whole should be, not this request alone; `was_sent` that the server may have begun to answer.
    """

    def __init__(
        self,
        error: ServedError,
        wait_s: float | None = None,
        rests: bool = False,
        was_sent: bool = True,
    ) -> None:
        super().__init__(str(error))
        self.error, self.wait_s, self.rests, self.was_sent = error, wait_s, rests, was_sent


# By what the servers say; seen in vLLM, SGLang, llama.cpp (some of it with status 500) and OpenAI.
_TOO_LONG = (
    "context_length_exceeded",
    "exceed_context_size",
    "context length",
    "context size",
    "context window",
    "maximum model length",
    "prompt is too long",
    "too long to fit",
    "max_model_len",
)
_FILTERED = (
    "content_filter",
    "content_policy",
    "content management policy",
    "responsibleaipolicy",
    "safety system",
    "data_inspection_failed",
)
_NO_IMAGES = (
    "image input is not supported",
    "does not support image",
    "not support multimodal",
    "not a multimodal model",
    "image_url is only supported",
)
# Of a server that was started for something else, or that takes embeddings in another form.
_NO_VECTORS = ("not support embeddings", "embedding model by default")
_NO_FIELD = re.compile(r"(?:input|messages)\\?[\"']\s*[\])].{0,80}field required", re.S)
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit", "exceeded your current quota")
_BUSY = (408, 409, 425, 429, 502, 503, 504)


def beginning(text: str) -> str:
    """The beginning of a text in one printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 8 * BEGINNING]).split())
    return line if len(line) <= BEGINNING else line[:BEGINNING] + "…"


def said(body: str) -> str:
    """What the body of an error says, out of the JSON that servers wrap it in."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return beginning(body)
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    return beginning(found if isinstance(found, str) else json.dumps(found))


def failure(
    status: int, body: str, headers: Mapping[str, str], key_env: str | None
) -> ServedError | Again:
    """What an HTTP status that is not 200, or an error in place of an answer, means."""
    message = f"{status}: {said(body)}"
    low = body.lower()
    if status in (401, 403) and not _any(_FILTERED, low):
        return Unauthorized(f"{message}; {_about_key(key_env)}")
    for phrases, error in ((_TOO_LONG, TooLong), (_FILTERED, Filtered), (_NO_IMAGES, Unsupported)):
        if (status == 500 or 400 <= status < 429) and _any(phrases, low):
            return error(message)
    if (status in (500, 501) or 400 <= status < 429) and _any(_NO_VECTORS, low):
        return Unsupported(message)
    if status in (400, 422) and _NO_FIELD.search(low):
        return Unsupported(message)
    if status == 429 and _any(_NO_QUOTA, low):
        return BudgetSpent(message)
    if status in _BUSY:
        return Again(ServerUnavailable(message), retry_after(headers), rests=True)
    if status >= 500 and status != 501:
        return Again(ServerFailed(message))
    if status in (404, 405):
        return NotThere(f"{message}; are the endpoint's path and the model's name right?")
    if status == 400 and "logprobs" in low:
        return Unsupported(message)
    if 300 <= status < 400:
        return NotThere(f"{status}: the server redirects; redirects are not followed")
    return Refused(message)


def _any(phrases: tuple[str, ...], text: str) -> bool:
    return any(phrase in text for phrase in phrases)


def _about_key(key_env: str | None) -> str:
    if key_env is None:
        return "no key was sent: `api_key_env` names the environment variable that holds it"
    return f"the key is the one in the environment variable {key_env}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which may be a number or a date; at most MAX_WAIT_S."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_WAIT_S) if seconds == seconds else None
