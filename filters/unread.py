"""Texts in which nothing is read: one rule and one wording for all scorers of a text and a picture.

NULL never reaches a scorer. A text that is there and says nothing to the model – blank, of control
tokens alone, of signs that its tokenizer drops – has no score, and this reason.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

UNREAD = ValueError("nothing is read in the text")
"""The reason why such a row has no value: a scorer returns it in place of the first."""
_SEEN = "LNPS"  # general categories of what shows by itself: letters, numbers, marks of text, signs


class Unread(ValueError):
    """The same of a row that has other values nonetheless: `kept`, by the names of columns."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        super().__init__(f"{type(UNREAD).__name__}: {UNREAD}")
        self.kept = kept


def is_blank(text: str) -> bool:
    """Whether nothing of a text shows: white space, control signs, joiners and accents alone."""
    return not any(unicodedata.category(sign)[0] in _SEEN for sign in text)
