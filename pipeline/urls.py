"""How URLs and hosts are compared that mean the same, though written in more than one way."""

from urllib.parse import unquote_to_bytes, urlsplit

import idna


def host_of(host: str) -> str:
    """A host as names are compared: lower case, in ASCII where it can be, no dot at the end."""
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return in_ascii(host)
    except UnicodeError:
        return host


def in_ascii(host: str) -> str:
    """A host as browsers write it in ASCII (UTS 46); also finds the digits in `１２７．０．０．１`.

    Raises UnicodeError for what is no host.
    """
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return host.encode("idna").decode()  # IDNA 2003 knows emoji and more


def canonical(url: str) -> tuple[str, str | None]:
    """How URLs are compared, and the host: whatever scheme, case, escapes or fragment it has."""
    try:
        parts = urlsplit(url.strip())
        host, port = host_of(parts.hostname or ""), parts.port
    except ValueError:
        return url.strip(), None
    if not host:
        return url.strip(), None
    shown = "" if port in (None, 80, 443) else f":{port}"
    query = f"?{_plain(parts.query)}" if parts.query else ""
    return f"{host}{shown}{_plain(parts.path) or '/'}{query}", host


def _plain(text: str) -> str:
    if "%" not in text:
        return text
    raw = unquote_to_bytes(text.encode("utf-8", "surrogatepass"))
    return raw.decode("utf-8", "surrogateescape")
