"""Which network addresses may be fetched from: those of the public internet, and no others.

Nothing is looked up here: a host name is judged by the address it leads to, when it is met.
"""

import ipaddress
import socket

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Public as far as the tables of Python go, and yet not for us.
_REFUSED: tuple[_Network, ...] = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure answers with a machine's own metadata here
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments; Oracle's metadata is among them
    ipaddress.ip_network("192.88.99.0/24"),  # relays to IPv6, withdrawn in RFC 7526
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_public(address: str) -> bool:
    """Whether a numeric address lies in the public internet; of an IPv6 tunnel, where it ends.

    Private, loopback, link-local, shared, multicast, reserved and metadata addresses do not.
    What is not a numeric address is not public.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(_is_public(inner) for inner in (parsed, *_embedded(parsed)))


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return True  # only another way to write the address inside
        if address.is_site_local:
            return False
    refused = any(address in network for network in _REFUSED)
    other = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not other and not refused


def _embedded(address: _Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]


def written_address(host: str) -> str | None:
    """The address that a host spells out, also as `2130706433` or `0x7f.1`; None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None
