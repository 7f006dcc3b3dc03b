"""How well a caption is written, and how much of it no picture could show: by rules, without one.

Rules know names of files, phrases of web pages, lengths and, in English, words that can't stand
side by side or at the end. They don't know spelling, and no order of words beyond that.
"""

import re

from filters import names
from filters.caption import CaptionStats, is_boilerplate, is_filename

_NO_TEXT = 0.1  # of a name of a file or a phrase of web pages
_SHORT = (0.0, 0.4, 0.6, 0.75, 0.85)  # of so many words; from five on a caption may be whole
_LONG, _TOO_LONG = 60, 160  # words from which it is hard to read, and at which half is lost
_LETTERS = 0.8  # share of letters in plain text
_LOUD = 0.5  # share of capitals from which a text shouts
_FAULT = 0.6  # for each pair of words that can't be neighbours, and for an end that is none
_MOST_FAULTS = 3
_ARTICLES = frozenset(["a", "an", "the"])
_LINKS = frozenset(["and", "at", "by", "for", "from", "into", "of", "or", "with"])
_VERBS = frozenset(["are", "is", "was", "were"])
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[.,;:!?()]")
_YEAR = re.compile(r"(?<![\w.,])(?:1[0-9]{3}|20[0-9]{2})(?:s|th)?(?![\w%°])")
_SHOUTS = 4  # letters of a text that may be in capitals, as "USA"


def quality(text: str) -> float:
    """From 0 to 1, by rules that each take a part away; the words of the text alone decide."""
    if not is_text(text):
        return _NO_TEXT
    stats = CaptionStats()({"caption": [text]})
    row = {name: values[0] for name, values in stats.items()}
    value = _of_length(row["caption_words"])
    value *= min(1.0, (row["letter_share"] or 0.0) / _LETTERS)
    value *= 1 - (row["repetition"] or 0.0)
    if row["caption_chars"] > _SHOUTS and (row["capital_share"] or 0.0) > _LOUD:
        value *= 0.7
    if row["has_url"] or row["has_email"] or row["has_phone"]:
        value *= 0.5
    return float(value * _FAULT ** min(_MOST_FAULTS, faults(text)))


def is_text(text: str) -> bool:
    """Whether it is more than the name of a file or what pages print by default."""
    return not is_filename(text) and not is_boilerplate(text)


def _of_length(count: int) -> float:
    if count < len(_SHORT):
        return _SHORT[count]
    return 1 - 0.5 * min(1.0, max(0, count - _LONG) / (_TOO_LONG - _LONG))


def faults(text: str) -> int:
    """Places where an English word lacks what must follow it: "a of", "with.", "the" at the end.

    A text of one word has none.
    """
    found = [match.casefold() for match in _WORD.findall(text)]
    if sum(word.isalnum() for word in found) < 2:
        return 0
    pairs = zip(found, [*found[1:], "."], strict=True)
    return sum(_is_wrong(word, after) for word, after in pairs)


def _is_wrong(word: str, after: str) -> bool:
    if word in _ARTICLES:
        return after in _ARTICLES or after in _LINKS or after in _VERBS or not after[0].isalnum()
    return word in _LINKS and (not after[0].isalnum() or (word == "of" and after in _LINKS))


def named(text: str) -> tuple[int, frozenset[str]]:
    """Names of persons and years: how many there are, and their words in small letters."""
    persons = [text[start:end] for start, end in names.find_names(text)]
    years = _YEAR.findall(text)
    told = {match.casefold() for name in persons for match in _WORD.findall(name)}
    return len(persons) + len(years), frozenset([*told, *map(str.casefold, years)])
