"""Watermarks that can be read: names of stock agencies, copyright lines, one text many times over.

True by evidence, otherwise not known: marks too faint or too fanciful to be read, and logos
without letters, are missed. How likely a picture is marked by its looks, `marks` tells.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

_LONGEST = 20_000  # characters that are looked at
_REPEATS = 3  # lines of one text: tiles, not a slogan
_SHORTEST = 4  # letters of such a text
# As readers see them: with o for 0, without spaces, cut at the edge of the picture.
_AGENCIES = {
    "Shutterstock": r"shutt?erst[o0]c?k",
    "Getty Images": r"gettyima?ges?",
    "Alamy": r"(?<![a-z])a+lamy(?![a-z])",
    "Dreamstime": r"dreamst[il1]me",
    "iStock": r"(?<![a-z])[il1|]st[o0]ck(?:ph[o0]t[o0])?(?![a-z])",
    "Depositphotos": r"deposit ?ph[o0]t[o0]s",
    "123RF": r"(?<![\w])123 ?rf(?![a-z])",
    "Adobe Stock": r"adobe ?st[o0]ck",
    "Fotolia": r"(?<![a-z])f[o0]t[o0]l[il1]a(?![a-z])",
    "Bigstock": r"bigst[o0]ck",
    "Can Stock Photo": r"can ?st[o0]ck ?ph[o0]t[o0]",
    "VectorStock": r"vect[o0]r ?st[o0]ck",
    "Pond5": r"(?<![a-z])p[o0]nd ?5(?!\d)",
    "Envato": r"(?<![a-z])envat[o0](?![a-z])",
    "Freepik": r"(?<![a-z])freepik",
    "Vecteezy": r"vecteezy",
    "Pngtree": r"pngtree",
    "Visual China": r"视觉中国|\bvcg\.c[o0]m",
    "PIXTA": r"(?<![a-z])pixta(?![a-z])",
    "Agefotostock": r"age ?f[o0]t[o0]st[o0]ck",
    "千图网": r"千图网|58pic",
    "昵图网": r"昵图网|nipic\.c[o0]m",
}
_COPYRIGHT = re.compile(
    r"©|\(c\) ?(?:19|20)\d\d|(?<![a-z])(?:copyright|all rights reserved)(?![a-z])"
)
_PATTERNS = {name: re.compile(pattern) for name, pattern in _AGENCIES.items()}


@dataclass(frozen=True)
class Watermark:
    """Readable watermarks in what `ocr` with `read: true` reads in a picture.

    `has_watermark` is true or NULL: true when the name of a stock agency stands in the picture,
    or one text of four letters or more on at least three lines. `watermarks` lists what was
    found, also `copyright`, which alone does not make it true: it may be a credit. Of names of
    agencies drawn once in white over 53 photographs it finds, with `ocr` at `side: 736,
    threshold: 0.3`, 9 at an opacity of .25, 24 at .4 and 37 at .6; none of 106 photographs
    without was taken for marked.
    """

    text: str = "ocr_text"

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [("has_watermark", pa.bool_()), ("watermarks", pa.list_(pa.string()))]
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.text,)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = [marks(text) for text in batch[self.text]]
        are_marked = [any(mark != "copyright" for mark in listed) for listed in found]
        return {
            "has_watermark": [True if is_marked else None for is_marked in are_marked],
            "watermarks": found,
        }


def marks(said: str) -> list[str]:
    """Names of agencies, `repeated: TEXT` and `copyright`, as the lines of a picture show them."""
    plain = said[:_LONGEST].casefold()
    found = [name for name, pattern in _PATTERNS.items() if pattern.search(plain)]
    lines = Counter(line.strip() for line in plain.splitlines())
    found += [
        f"repeated: {line[:40]}"
        for line, count in lines.items()
        if count >= _REPEATS and sum(map(str.isalpha, line)) >= _SHORTEST
    ]
    return [*found, "copyright"] if _COPYRIGHT.search(plain) else found
