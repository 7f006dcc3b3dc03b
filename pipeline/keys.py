"""Names and draws that depend on content alone: the same pair has the same key in every run."""

import hashlib
import struct

KEY_BYTES = 16


def pair_key(*, url: str | None, image_sha256: bytes | None, caption: str | None) -> bytes:
    """The 16-byte key of a pair: BLAKE2b-128 over its length-prefixed parts.

    A pair that came by URL is named by the URL as given, any other by the SHA-256 of its image
    bytes; the caption enters as given, and no caption differs from an empty one. Raises
    ValueError when there is neither URL nor hash.
    """
    if url is not None:
        kind, name = b"url", url.encode("utf-8", "surrogatepass")
    elif image_sha256 is not None:
        kind, name = b"sha256", image_sha256
    else:
        raise ValueError("a pair needs a url or the hash of its image to have a key")
    text = None if caption is None else caption.encode("utf-8", "surrogatepass")
    return digest(kind, name, text)


def digest(*parts: bytes | None, size: int = KEY_BYTES) -> bytes:
    """BLAKE2b of parts of which each is length-prefixed, so that no two lists collide."""
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        if part is None:
            state.update(b"\x00")
        else:
            state.update(b"\x01" + struct.pack("<Q", len(part)) + part)
    return state.digest()


def draw_bits(key: bytes, seed: int, salt: str) -> int:
    """64 uniform bits that depend on nothing but the key, the seed and what they are for."""
    return int.from_bytes(digest(str(seed).encode(), salt.encode(), key, size=8), "big")


def draw(key: bytes, seed: int, salt: str) -> float:
    """A number in [0, 1) from the upper 53 of `draw_bits`."""
    return (draw_bits(key, seed, salt) >> 11) / (1 << 53)
