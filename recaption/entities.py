"""Names, places and numbers that a text of the web gives, and whether another text says them.

By form alone: numbers and dates, persons after `filters.names`, what stands in quotes, and runs of
words in capitals, with the particles, initials, numerals and numbers that belong to names, but for
a lone capital where a sentence begins. A stretch With Every Word Like This hides its names from
that: there only persons, acronyms and what follows "in", "at" or "from" are found. It errs on the
side of saying nothing.
"""

import re
from collections.abc import Iterator

from filters import names, vocabulary
from filters.caption import is_boilerplate, words

VERSION = 2  # "Not 3" and "but 4" name nothing
_LONGEST = 2000  # characters of a text that are looked at
_NOISE = re.compile(
    r"(?:https?://|www\.)\S+|(?<!\S)\S+@\S+\.\S+"  # from where a run begins: else it is cubic
    r"|(?<!\S)\S+\.(?:jpe?g|png|webp|gif|bmp|tiff?|svg|php|html?)\b"
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
_YEAR = r"(?:1[0-9]|20)\d\d(?!\d)"
# Letters in capitals of Latin, Greek, Cyrillic and Armenian script, which are all that have them.
_UPPER = "".join(c for c in map(chr, [*range(0x41, 0x590), *range(0x1E00, 0x2000)]) if c.isupper())
_CAPITAL = rf"[{_UPPER}][\w'’]*(?:[-‐][\w'’]+)*"
_INITIALS = r"(?:(?:[A-Z]\.[ \u00a0]?){1,4}|(?:St|Ste|Mt|Ft)\.[ \u00a0])?"
_WORD_UP = rf"(?<![\w.])(?:{_INITIALS}{_CAPITAL}|[a-z][A-Z]\w+)"
# What stands between the words of a name, also several: Ursula von der Leyen, Simón de la Cruz.
_LINK = (
    "(?:of|de|da|do|dos|das|del|della|dei|di|du|des|van|von|vom|der|den|dem|ten|ter|zu|zum|zur|am"
    "|bin|bint|ibn|ben|al|el|la|le|les|los|las|the|y|e|&|and(?! the))"
)
_AMOUNT = rf"(?!{_YEAR})\d{{1,4}}(?:-\d{{1,3}})?(?![\w%]|[.,:/]\d)"
_RUN = re.compile(
    rf"(?:(?<![\w.,/-]){_AMOUNT}[ \u00a0](?={_WORD_UP}))?{_WORD_UP}"
    rf"(?:[ \u00a0](?:(?:{_LINK} ){{1,3}}{_WORD_UP}|{_WORD_UP}|{_AMOUNT}))*"
)
_PLAIN = "in|at|from|near|the|a|an|and|or|with|for|of|on|by|to|is|as"
_QUOTED = re.compile(rf"[\"“„«‘]([{_UPPER}][^\"“”„«»‘’]{{2,60}})[\"”“»’]")
_HEAVY = rf"(?!(?i:{_PLAIN})\b){_CAPITAL}"
_AFTER = re.compile(rf"\b(?i:in|at|from|near)[ \u00a0]({_HEAVY}(?:[ \u00a0]{_HEAVY})?)")
_ACRONYM = re.compile(r"(?<![\w-])(?:[A-Z]{2,6}\d{0,4}|[A-Z]+\d+[A-Z\d]*)(?![\w-])")
_STARTS = re.compile(r"(?:^|[!?:;|–—\n\"“]|(?<![ .][A-Z])(?<!St)(?<!Mt)\.|\s-)\s*$")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SEGMENT = re.compile(r"[^,;:|()\[\]–—]+?(?:(?= - )|(?=[,;:|()\[\]–—])|$)")
_GLUE = frozenset(("of", "and", "the", "with", "y", "e", "&"))  # they also link what is no name
_FEWEST = 4  # words of weight of a stretch that may be titled


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
        said = re.sub(r"['’]s$", "", said)
        if start >= last and said:
            found.setdefault(said.casefold(), said)
            last = end
    return list(found.values())


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Places of what may be a name or number; they may overlap."""
    persons = [(start, _whole_end(text, end)) for start, end in names.find_names(text)]
    yield from persons
    yield from _numbers(text)
    yield from (match.span() for match in _ACRONYM.finditer(text) if not _is_loud(text))
    titled = [place for place in _segments(text) if _is_titled(text[slice(*place)])]
    for start, end in titled:
        found = _AFTER.finditer(text, start, end) if not _is_loud(text) else ()
        yield from (match.span(1) for match in found if not _is_common(match[1]))
    yield from (match.span(1) for match in _QUOTED.finditer(text) if not _is_loud(text))
    for match in _RUN.finditer(text):
        if not any(start <= match.start() < end for start, end in titled):
            yield from _names_in(text, *match.span(), persons)


def _names_in(
    text: str, start: int, end: int, persons: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """A run of capitals as one name, or two where a person's owns the second; none if common."""
    for first, last in persons:
        after = re.compile(r"['’]s[ \u00a0]").match(text, last)
        if start <= first and after is not None and after.end() < end:
            yield from _names_in(text, after.end(), end, persons)
            end = last
    if start >= end or _is_common(text[start:end]) or _is_count(text[start:end]):
        return
    if _STARTS.search(text[:start]) is not None:
        start = _beginning(text, start, end)
    if start < end:
        yield start, end


def _beginning(text: str, start: int, end: int) -> int:
    """Where a name begins in a run that begins a sentence, whose first word has a capital anyway.

    The end of the run where it is that word alone.
    """
    first = re.compile(r"[^ \u00a0]+[ \u00a0]").match(text, start, end)
    if first is None:
        return end
    is_plain = _is_common(first[0].strip())
    link = re.compile(rf"(?:{_LINK}[ \u00a0])+").match(text, first.end(), end)
    is_about = first[0].strip().casefold() in _FIRST_WORDS  # photo of, but not: statue of
    if link is not None and is_about and _GLUE.issuperset(link[0].split()):
        return link.end()
    return first.end() if is_plain and link is None else start


def _whole_end(text: str, end: int) -> int:
    """The end of a person's name that must not end with a particle: Vincent Van | Gogh."""
    words = text[:end].split()
    more = re.compile(rf"[ \u00a0](?:{_LINK}[ \u00a0])*{_CAPITAL}", re.IGNORECASE).match(text, end)
    is_whole = not words or words[-1].casefold() not in _PARTICLES
    return end if more is None or is_whole or not more[0].split()[-1][0].isupper() else more.end()


_PARTICLES = frozenset(
    re.findall(r"\w+", "van von der den de la le da di del della du ten ter bin ibn al el")
)


def _numbers(text: str) -> Iterator[tuple[int, int]]:
    """Places of dates, sizes, and numbers with the word before them, or else the one after."""
    for match in _NUMBER.finditer(text):
        before, _, after = match[0].partition(" ")
        is_beside = before.casefold() in _BESIDE_NUMBERS
        found = _NUMBER.match(text, match.end() - len(after)) if is_beside else match
        if found is not None and not _is_small_number(found[0]):
            yield found.span()


def _is_small_number(said: str) -> bool:
    """Whether it is a number beside a word that says nothing: `at 74`, `7 of`."""
    parts = said.casefold().split()
    return len(parts) == 2 and any(part in _NO_NAMES for part in parts)


_SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an the this that of and or in on at by to for with from into onto over under near as is"
        " are was were be than about around aged age only just his her its their our your my or no"
        " until till since before after between up out off per via x de la le en et y und mit von"
        " auf im am zu der die das à au aux du des un une con por para del el los las",
    )
)


_NEGATING = frozenset(("not", "nor", "neither", "no", "never"))
# Other words beside a number that are part of no name, as in "but 4 dogs" and "almost 50 km".
_BESIDE_NUMBERS = frozenset(
    re.findall(
        r"\w+",
        "but either so yes then there here some any all both every each these those such which what"
        " who where when while if though because again too also even still ever already yet very"
        " more most less least fewer many much few several other others another same has have had"
        " do does did been being can could would shall should must might it they we you he she"
        " nearly almost roughly approximately exactly over within without above below between"
        " behind past last next first",
    )
)
_NO_NAMES = _SMALL | _NEGATING | _BESIDE_NUMBERS


def _is_count(run: str) -> bool:
    """Whether a run is a number beside such words, whose capital begins a sentence."""
    parts = run.casefold().split()
    others = [part for part in parts if not part[0].isdigit()]
    return len(others) < len(parts) and _NO_NAMES.issuperset(others)


def _segments(text: str) -> list[tuple[int, int]]:
    """Stretches between commas, brackets, colons and dashes."""
    return [match.span() for match in _SEGMENT.finditer(text)]


def _is_common(run: str) -> bool:
    """Whether all words of a run are names of things, or begin many a sentence."""
    known = _FIRST_WORDS.union(vocabulary.things_and_properties())
    return all(word.casefold() in known or word.isdigit() for word in run.split())


_FIRST_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those my our his her its their in on at from with for of and or"
        " but not nor neither when where while after before during new old young little big small"
        " red blue green black white view photo photograph picture image portrait painting drawing"
        " sketch poster logo cartoon map sign how why what who free best top",
    )
)


def _is_titled(stretch: str) -> bool:
    """Whether most words begin with a capital, so that a capital says nothing.

    A name or two remain, and words all in capitals, as on signs, don't count.
    """
    found = _WORD.findall(stretch)
    mixed = [word for word in found if not (len(word) > 1 and word.isupper())] or found
    heavy = [word for word in mixed if word.casefold() not in _SMALL]
    return len(heavy) >= _FEWEST and sum(w[0].isupper() for w in mixed) > 0.75 * len(mixed)


def _is_loud(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return sum(sign.isupper() for sign in letters) > 0.5 * len(letters)


def says(text: str, entity: str) -> bool:
    """Whether a text has all words of a name or number, in any case."""
    if len(words(entity)) > len(entity.split()):  # of a script without spaces
        return entity.casefold() in text.casefold()
    known = set(said_words(text))
    return all(part in known for part in said_words(entity))


def said_words(text: str) -> list[str]:
    """The words of a text in small letters, without signs."""
    return re.findall(r"[^\W_]+", text.casefold())


def retained(raw: str, fused: str) -> float | None:
    """The share of what the raw text names that a fused one says; None if it names nothing."""
    found = entities(raw)
    return sum(says(fused, one) for one in found) / len(found) if found else None
