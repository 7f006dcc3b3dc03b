"""From what aiohttp raises to one reason of the list, and whether the request was sent at all."""

import errno
import ssl

import aiohttp
from aiohttp import http_exceptions

from pipeline.fetch.outcome import Refusal
from pipeline.fetch.resolver import Blocked, dns_refusal

FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
_HERE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_FLOODS = ("too many headers", "header value is too long", "got more than")


def refusal_of(error: BaseException) -> Refusal:
    """The reason of one of FAILURES. Raises it again when it is this machine that fails."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return dns_refusal(error.os_error)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Refusal("tls", _text(error), unsent=True)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Refusal("timeout", "no connection in time", unsent=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unconnected(error.os_error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return Refusal("truncated", _text(error))
    if isinstance(error, aiohttp.ClientResponseError):
        return _unread(error)
    if isinstance(error, aiohttp.InvalidURL):
        return Refusal("bad_url", _text(error), unsent=True)
    if isinstance(error, TimeoutError):
        return Refusal("timeout", _text(error))
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return Refusal("reset", _text(error))
    return Refusal("bad_answer", _text(error))


def _unconnected(error: OSError) -> Refusal:
    if isinstance(error, Blocked):
        return Refusal("blocked_address", str(error), unsent=True)
    if error.errno in _HERE:
        raise error
    if error.errno == errno.ETIMEDOUT:
        return Refusal("timeout", _text(error), unsent=True)
    return Refusal("refused", _text(error), unsent=True)


def _unread(error: aiohttp.ClientResponseError) -> Refusal:
    """The head of the answer could not be read: too long, or not HTTP."""
    cause, said = error.__cause__, error.message.lower()
    long = isinstance(cause, http_exceptions.LineTooLong)
    if long or any(sign in said for sign in _FLOODS):
        return Refusal("header_flood", _text(error))
    return Refusal("bad_answer", _text(error))


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
