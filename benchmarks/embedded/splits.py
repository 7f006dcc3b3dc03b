"""Which captions the embedded encoder may learn from: a fixed function of the caption alone.

`part` never changes: the shipped heads, their held-out figures and the quickstart pack all
rest on it. It needs nothing but the standard library.
"""

import hashlib
import re
import unicodedata
from typing import Literal

Part = Literal["train", "validation", "test"]

_ARTICLE = re.compile(r"^(a|an|the) (?=\S)")
_TRAIN, _VALIDATION = 0.70, 0.80  # upper ends of the shares; the rest is test


def canonical(caption: str) -> str:
    """The caption as splits compare it: NFC, lower case, no leading article, no stop at the end.

    "A Cat." and "cat" are one concept; they must not meet on both sides of a split.
    """
    text = " ".join(unicodedata.normalize("NFC", caption).lower().split())
    return _ARTICLE.sub("", text.rstrip(".!")).strip()


def part(caption: str) -> Part:
    """Where every pair with this caption belongs: about 70 % train, 10 % validation, 20 % test."""
    name = canonical(caption).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(name, digest_size=8, person=b"embedded-split").digest()
    share = int.from_bytes(digest, "big") / 2**64
    if share < _TRAIN:
        return "train"
    return "validation" if share < _VALIDATION else "test"
