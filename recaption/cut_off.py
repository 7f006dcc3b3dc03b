"""What is left of an answer that its limit of tokens ended: the sentences that are whole."""

import re
from itertools import accumulate

from recaption import sentences
from recaption.captions import SHORTENED

CUT = "cut"
"""The flag of a caption that breaks off, for not one of its sentences is whole."""
_OPENED = re.compile(r"\s*(?:```\w*\n|[\"“„「](?=\w))")  # a fence or quotation around all of it
_CLOSERS = {'"': '"', "“": "”", "„": "“", "「": "」"}
_PAIRS = ("()", "[]", "（）", "“”", "«»", "「」", "『』")
_MARK = re.compile(r"(?<!\d)\"")  # not of inches
_NUMBER = re.compile(r"\d[.,:]\Z")  # may be the first half of one
_LINE_ENDS = re.compile(r"[^\S\n]*\n")
_PROBE = " Xenon runs"  # a sentence of its own, if what stands before it is whole
_LOOKED_AT = 600  # characters that decide whether a sentence ended: fewer than one may have
_TRIED = 40  # sentences at the end of which nothing may be open, from the last one


def ended(text: str, language: str | None) -> tuple[str, tuple[str, ...]]:
    """A cut text up to its last whole sentence, and the flag that says what it now is.

    Languages are told apart as `sentences.split` does. Quotes and brackets that a sentence opens
    are closed in what is left. Without a whole sentence the text stays as it is.
    """
    text = _unwrapped(text.strip())
    ends = list(
        accumulate(sentences.split(text, language), lambda at, s: _end(text, s, at), initial=0)
    )
    for end in ends[:0:-1][:_TRIED]:
        if end and _is_whole(text, end, language) and _is_closed(text[:end]):
            return text[:end], (SHORTENED,)
    return text, (CUT,)


def _end(text: str, sentence: str, start: int) -> int:
    """Where a sentence ends; where it does not stand in the text as it is, what came before it."""
    found = text.find(sentence, start)
    return start if found < 0 else found + len(sentence)


def _is_whole(text: str, end: int, language: str | None) -> bool:
    """Whether a sentence ends there, whatever might have come next."""
    if _LINE_ENDS.match(text, end):
        return True
    before = text[max(0, end - _LOOKED_AT) : end]
    if end == len(text) and _NUMBER.search(before):
        return False
    return sentences.split(before + _PROBE, language)[-1:] == [_PROBE.strip()]


def _is_closed(text: str) -> bool:
    pairs = all(text.count(pair[0]) <= text.count(pair[1]) for pair in _PAIRS)
    return pairs and len(_MARK.findall(text)) % 2 == 0


def _unwrapped(text: str) -> str:
    """Without what was opened around all of it and never closed."""
    opened = _OPENED.match(text)
    if opened is None:
        return text
    rest, sign = text[opened.end() :], opened[0].strip()
    is_closed = "```" in rest if sign.startswith("`") else _CLOSERS[sign] in rest
    return text if is_closed else rest
