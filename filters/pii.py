"""Personal data in captions: how much of it, of which kind, and the caption without it.

Rules, not a model: what has a checksum or a clear form is found reliably; of names only those
with a title or a common given name, and captions that capitalise every word mislead it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from filters import names
from filters.personal import KINDS, find

LONGEST = 100_000
"""Characters of a text that are looked at; what follows is left out of the redacted text."""
_TOKENS = {
    "email": "<EMAIL>",
    "phone": "<PHONE>",
    "iban": "<IBAN>",
    "card": "<CARD>",
    "ip": "<IP>",
    "name": "<PERSON>",
}

_COLUMNS: dict[str, pa.DataType] = {
    "pii": pa.int32(),
    **{f"pii_{kind}s": pa.int32() for kind in KINDS},
    "caption_redacted": pa.string(),
}


@dataclass(frozen=True)
class PersonalData:
    """What of a text is personal, by kind, and the text with a token in place of each.

    `kinds` are those looked for: e-mail addresses, telephone numbers (with a country's code, in
    North American or French groups, or after a word such as "tel."), IBANs and card numbers by
    their checksums, public addresses of machines, names of persons. `pii` counts all of them,
    `pii_emails` and so on those of a kind; a kind not looked for is NULL. `caption_redacted` is
    the text with `<EMAIL>`, `<PHONE>`, `<IBAN>`, `<CARD>`, `<IP>` and, as Conceptual 12M has it
    (Changpinyo et al., arXiv:2102.08981), `<PERSON>` in their places; the same text when there
    is nothing.
    """

    text: str = "caption"
    kinds: tuple[str, ...] = KINDS

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __post_init__(self) -> None:
        if isinstance(self.kinds, str) or not self.kinds or not set(self.kinds) <= set(KINDS):
            raise ValueError(f"kinds is a list of {', '.join(KINDS)}; got {self.kinds!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def weights_digest(self) -> str:
        return names.digest()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [self._measure(text[:LONGEST]) for text in batch[self.text]]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _measure(self, text: str) -> dict[str, Any]:
        found = find(text, self.kinds)
        counts: dict[str, Any] = {f"pii_{kind}s": None for kind in KINDS}
        for kind in self.kinds:
            counts[f"pii_{kind}s"] = sum(each.kind == kind for each in found)
        parts, at = [], 0
        for each in found:
            parts += [text[at : each.start], _TOKENS[each.kind]]
            at = each.end
        return {"pii": len(found), **counts, "caption_redacted": "".join(parts) + text[at:]}
