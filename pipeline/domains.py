"""The registered domain of a URL: what a site is, for reports and for groups."""

from functools import cache
from typing import Any
from urllib.parse import urlsplit


@cache
def _suffixes() -> Any:
    """The public suffix list that ships in the package: no look-up, no cache on disk."""
    from tldextract import TLDExtract

    return TLDExtract(suffix_list_urls=(), cache_dir=None)


def registered_domain(url: str | None) -> str | None:
    """`cdn.example.co.uk` belongs to `example.co.uk`; an address stays itself, no host is NULL."""
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    if not host:
        return None
    domain = _suffixes()(host).top_domain_under_public_suffix
    return str(domain) if domain else host


def is_public_suffix(host: str) -> bool:
    """Whether a host is one under which anybody may have a name, such as `com` or `co.uk`.

    What ends in no known suffix counts as such: it is no domain of the web.
    """
    return not _suffixes()(host).top_domain_under_public_suffix
