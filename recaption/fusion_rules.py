"""What a text names, what a caption lacks of it, and how it is added without a model.

By form alone: numbers and dates, persons after `filters.names`, words in capitals that don't
begin a sentence. A text With Every Word Like This hides its names from that: there only persons,
acronyms and what follows "in", "at" or "from" are found. It errs on the side of saying nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filters import names, vocabulary
from filters.caption import is_boilerplate, words

MOST = 8
"""Names that are added to a caption; the first ones."""
_LONGEST = 2000  # characters of a text that are looked at
_NOISE = re.compile(
    r"(?:https?://|www\.)\S+|\S+@\S+\.\S+|\S+\.(?:jpe?g|png|webp|gif|bmp|tiff?|svg|php|html?)\b"
    r"|\b(?:IMG|DSC|DSCN|DSCF|PXL|P)[_-]?\d{3,}\w*|\b\d{2,5}\s?[x×]\s?\d{2,5}(?:\s?px)?\b"
    r"|#\w+|\b\w*[_]\w*\b|[£$€¥₹]\s?\d[\d.,]*"
    r"|\d[\d.,]*\s?(?:[£$€¥₹%](?!\d)|USD|EUR|GBP)|\+\d[\d -]{7,}\d",
    re.IGNORECASE,
)
_SELLING = re.compile(
    r"\b(?:royalty[- ]free|free shipping|buy now|for sale|on sale|best price|click (?:here|to \w+)"
    r"|free download|download (?:now|free)|stock (?:photo|image|photography|vector|illustration)s?"
    r"|hi[- ]?res|high resolution|all rights reserved|photo credits?|getty images|shutterstock"
    r"|adobe stock|alamy|istock|depositphotos|dreamstime|pinterest|ebay|etsy|amazon(?:\.com)?"
    r"|wallpapers?|thumbnails?|copyright)\b",
    re.IGNORECASE,
)
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_NUMBER = re.compile(
    rf"(?<![\w.-])(?:(?:\d{{1,2}}\.? )?{_MONTH}(?: \d{{1,2}}(?:st|nd|rd|th)?,?)?(?: \d{{4}})"
    rf"|(?:\d{{1,2}}\.? {_MONTH}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?)"
    r"|(?:1\d|20)\d\d(?:s|[-–/]\d{2,4})?|\d+(?:[.,]\d+)? ?(?:km|m|cm|mm|kg|mph|ft)"
    r"|[^\W\d_]+ (?!(?:1\d|20)\d\d(?!\d))\d+(?:[.,:/]\d+)*|\d+(?:[.,]\d+)* [^\W\d_]+)(?![\w-])"
)
_UP = r"(?<!\w)[^\W\d_a-z][\w'’-]*"
_LINK = "(?:of|de|da|del|della|van|von|der|la|le|the|and|&)"
_RUN = re.compile(rf"{_UP}(?:[ \u00a0](?:{_LINK} )*{_UP})*")
_AFTER = re.compile(rf"\b(?:in|at|from|near)[ \u00a0](?:the )?({_UP}(?:[ \u00a0]{_UP})?)", re.I)
_ACRONYM = re.compile(r"(?<![\w-])(?:[A-Z]{2,6}\d{0,4}|[A-Z]+\d+[A-Z\d]*)(?![\w-])")
_STARTS = re.compile(r"(?:^|[.!?:;|–—\n\"“]|\s-)\s*$")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Bounds(NamedTuple):
    """What a fused text must keep to: at most so many times as long as the longer parent, and at
    least these shares of the raw text's names and of the synthetic text's words."""

    longer: float = 2.0
    names: float = 0.5
    words: float = 0.5


def without_noise(text: str) -> str:
    """A text of the web without addresses, file names, prices, sizes and words of selling."""
    if is_boilerplate(text):
        return ""
    plain = _SELLING.sub(" ", _NOISE.sub(" ", text[:_LONGEST]))
    plain = re.sub(r"\(\s*\)|\[\s*\]", " ", plain)
    return re.sub(r"\s+", " ", plain).strip(" \t,;:|–—-·•/")


def entities(text: str) -> list[str]:
    """Names, places and numbers in a text, in order, each once, the longer of two that overlap."""
    plain = without_noise(text)
    spans = sorted(_spans(plain), key=lambda span: (span[0], -span[1]))
    found: dict[str, str] = {}
    last = 0
    for start, end in spans:
        said = plain[start:end].strip(" .,'’-")
        if start >= last and said:
            found.setdefault(said.casefold(), said)
            last = end
    return list(found.values())


def _spans(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in _NUMBER.finditer(text))
    yield from names.find_names(text)
    yield from (match.span() for match in _ACRONYM.finditer(text) if not _is_loud(text))
    if _is_titled(text):
        yield from (match.span(1) for match in _AFTER.finditer(text) if match[1][0].isupper())
        return
    for start, end in map(_capitals, _RUN.finditer(text)):
        if start == end or _is_common(text[start:end]):
            continue
        first = re.match(r"[^ \u00a0]+[ \u00a0]", text[start:end])
        if _STARTS.search(text[:start]) is not None:
            # the first word of a sentence is in capitals anyway
            if first is None or not text[start + first.end()].isupper():
                continue
            start += first.end() if first[0].strip().casefold() in _FIRST_WORDS else 0
        yield start, end


def _capitals(match: re.Match[str]) -> tuple[int, int]:
    """Where the capitals of a run begin, and end: `à` and `é` of a language look like one."""
    start = match.start()
    while start < match.end() and not match.string[start].isupper():
        step = match.string.find(" ", start, match.end())
        start = match.end() if step < 0 else step + 1
    return start, match.end()


def _is_common(run: str) -> bool:
    """Whether all words of a run are names of things, or begin many a sentence."""
    known = _FIRST_WORDS.union(vocabulary.things_and_properties())
    return all(word.casefold() in known for word in run.split())


_FIRST_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those my our his her its their in on at from with for of and or"
        " but when where while after before during new old young little big small red blue green"
        " black white view photo picture image portrait map sign how why what who free best top",
    )
)


def _is_titled(text: str) -> bool:
    """Whether most words begin with a capital, so that a capital says nothing."""
    found = _WORD.findall(text)
    return len(found) > 3 and sum(word[0].isupper() for word in found) > 0.75 * len(found)


def _is_loud(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return sum(sign.isupper() for sign in letters) > 0.5 * len(letters)


def says(text: str, entity: str) -> bool:
    """Whether a text has all words of a name or number, in any case."""
    if len(words(entity)) > len(entity.split()):  # of a script without spaces
        return entity.casefold() in text.casefold()
    known = set(_parts(text))
    return all(part in known for part in _parts(entity))


def _parts(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def retained(raw: str, fused: str) -> float | None:
    """The share of what the raw text names that a fused one says; None if it names nothing."""
    found = entities(raw)
    return sum(says(fused, one) for one in found) / len(found) if found else None


def kept_words(synthetic: str, fused: str) -> float | None:
    """The share of the words of weight of one text that another has; None if there is none."""
    found = vocabulary.content_words(synthetic, 64)
    known = {part[:5] for part in _parts(fused)}  # walks, walking
    if not found:
        return None
    return sum(word.casefold()[:5] in known for word in found) / len(found)


def by_rules(synthetic: str, raw: str, found: Mapping[str, Sequence[str]], language: str) -> str:
    """The synthetic text, then what the raw text names, and experts found, that it lacks.

    In English by a sentence that says where that comes from; elsewhere in brackets.
    """
    named = [one for one in entities(raw) if not says(synthetic, one)][:MOST]
    parts = [("The text beside it names", named)] if named else []
    for label, entries in found.items():
        lacking = [one for one in dict.fromkeys(entries) if not says(synthetic, one)][:MOST]
        parts += [(f"Found in it ({label})", lacking)] if lacking else []
    if not parts:
        return synthetic
    text = ended(synthetic)
    if language.partition("-")[0] != "en":
        return f"{text} ({', '.join(one for _, listed in parts for one in listed)})"
    return " ".join([text, *(f"{label}: {', '.join(listed)}." for label, listed in parts)])


def ended(text: str) -> str:
    """A text with a sign at its end that ends a sentence."""
    text = text.strip()
    return text if not text or text[-1] in ".!?…。!?।" else f"{text}."


def problem_of(fused: str, raw: str, synthetic: str, bounds: Bounds) -> str | None:
    """Why a fused text is not taken: `long`, `lost_names` or `lost_words`; None if it is."""
    longest = max(len(words(raw)), len(words(synthetic)), 8)
    if len(words(fused)) > bounds.longer * longest:
        return "long"
    share = retained(raw, fused)
    if share is not None and share < bounds.names:
        return "lost_names"
    share = kept_words(synthetic, fused)
    if share is not None and share < bounds.words:
        return "lost_words"
    return None
