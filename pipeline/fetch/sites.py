"""The site that a host belongs to, by the public suffix list that ships in a package."""

from functools import cache
from typing import Any

from pipeline.sources.addresses import written_address


@cache
def _suffixes() -> Any:
    """With the list's private part: pages of two customers of one hoster are two sites."""
    from tldextract import TLDExtract

    return TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


def site_of(host: str) -> str:
    """`img.example.co.uk` belongs to `example.co.uk`; an address or a bare name to itself.

    Under an end that the list does not know a domain has two labels.
    """
    found = _suffixes()(host)
    if found.top_domain_under_public_suffix:
        return str(found.top_domain_under_public_suffix)
    if found.suffix or written_address(host) is not None:
        return host
    return ".".join(host.split(".")[-2:])
