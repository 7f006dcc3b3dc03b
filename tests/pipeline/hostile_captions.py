"""A captioner that writes what nobody should: for tests of builds, reports and training data."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from recaption import captions
from recaption.captions import Caption

SCRIPT = "</q></p><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"
BIDI = "\u202eevil\u202c \u2067isolated \u200f\u061c\ufeff"
HEBREW = "כלב חום רץ על הדשא"
CONTROLS = "nul \x00 bell \x07 escape \x1b[31mred\x1b[0m line\u2028end"
LONG = "ein sehr langer Satz " * 5000
TEXTS = {
    "script": SCRIPT,
    "bidi": BIDI,
    "hebrew": HEBREW,
    "controls": CONTROLS,
    "long": LONG,
    "surrogate": "half \ud83d a sign",
}


@dataclass(frozen=True)
class Hostile:
    """`count` captions of one kind a row, the first of them as it is, others numbered.

    Of kind `nothing` are lists of NULLs, and `no text` is a caption without any.
    """

    kind: str = "script"
    count: int = 1
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self.kind == "nothing":
            return {captions.COLUMN: [[None] * self.count for _ in batch["caption"]]}
        if self.kind == "no text":
            blank: Any = Caption("").row | {"text": None, "flags": None}
            return {captions.COLUMN: [[blank] * self.count for _ in batch["caption"]]}
        text = TEXTS[self.kind]
        flags = ("<b>unsure</b>", BIDI, *(f"f{n}" for n in range(20)))
        made = [
            Caption(text if n == 0 else f"{n} {text}", "<en>", kind=SCRIPT, flags=flags)
            for n in range(self.count)
        ]
        return {captions.COLUMN: [captions.rows(made) for _ in batch["caption"]]}
