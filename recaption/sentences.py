"""Sentences of a caption, by rules that hold for many scripts: the sub-captions of DreamLIP.

DreamLIP (Zheng et al., arXiv:2403.17007) cuts at every full stop; here decimals, abbreviations,
initials, ordinals, ellipses, addresses, file names and what stands in quotes or brackets stay
whole. Where the rules can't tell they do not cut. Time is linear in the length of a text, and no
sentence is longer than LONGEST.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise

from filters.caption import words
from recaption import abbreviations

VERSION = 1
LONGEST = 1000
"""Characters of a sentence at most: a longer one is cut at a clause, a space, or there."""
_QUOTED = 200  # characters in quotes or brackets within which nothing is cut
_OPENING = "\"'“”„‘‚«‹([{¿¡「『（【《〈*_"
_CLOSING = "\"'”“’»›)\\]}」』）】》〉*_"
_PARTING = "。！？｡；؟۔।॥։።፧။།។៕\u037e"  # they end a sentence whatever comes after
_MARKS = f".!?…‽．{_PARTING}"
_LINES = re.compile(r"</?s>|<br ?/?>|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", re.I)
_BULLET = re.compile(r"\s*(?:[-*•‣◦▪●○·–—]\s+|\(?[a-z0-9]{1,2}\)\s+|#{1,6}\s+)", re.I)
_NUMBERED = re.compile(r"\s*[0-9]{1,3}[.．、]\s+(?=\S)")
_STOP = re.compile(f"[{_MARKS}]+[{_CLOSING}]*")
_GREEK_STOP = re.compile(f"[{_MARKS};]+[{_CLOSING}]*")
_PAIRS = ("()", "[]", "（）", "“”", "„“”", "«»", "「」", "『』", '""')
_WHOLE = re.compile(
    "|".join(
        f"[{re.escape(pair[0])}][^{re.escape(pair)}]{{1,{_QUOTED}}}[{re.escape(pair[1:])}]"
        for pair in _PAIRS
    )
)
_IDEOGRAPH = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_THAI_SPACE = re.compile("(?<=[\u0e00-\u0e45\u0e47-\u0eff])[ \u00a0]+(?=[\u0e00-\u0eff])")
_THAI_JOINING = ("และ", "หรือ", "กับ", "ที่", "ซึ่ง", "โดย", "แต่", "ແລະ", "ຫຼື")
_THAI_SHORTEST = 20  # characters on both sides: spaces part phrases as well as sentences
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
_NO_SPACES += "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
_RUN = re.compile(f"[{_NO_SPACES}]+|[^{_NO_SPACES}]+")
_CLAUSE = re.compile(r"[,;:،؛](?=\s)|\s[–—-](?=\s)|—|[，、；：]")
_LAST = re.compile(r"[^\s\"'“”‘’«»()\[\]{}，。、]+\Z")
_NEXT = re.compile(rf"\s*[{re.escape(_OPENING)}–—-]*([^\W_]*)")
Measure = Callable[[str], int]
_GLUED = re.compile(r"(?:[A-Z][a-z]+|A|I)(?=\s)")  # "a dog.The cat"


def split(text: str, language: str | None = None) -> list[str]:
    """The sentences of a text in order, stripped, without markers of lists and mere marks.

    Every line is at least one; so is each item of a list. `language`, a BCP-47 tag, tells what
    the text alone can't: German ordinals, the Greek question mark, abbreviations that are words
    elsewhere. Thai and Lao, which have no full stop, are cut at spaces between long clauses.
    """
    lines = _LINES.split(text)
    is_listed = sum(_NUMBERED.match(line) is not None for line in lines) > 1
    found = []
    for line in lines:
        marker = _BULLET.match(line) or (_NUMBERED.match(line) if is_listed else None)
        rest = line[marker.end() :] if marker else line
        for sentence in _of_line(rest.strip(), _primary(language)):
            found += [sentence] if len(sentence) <= LONGEST else _cut(sentence, LONGEST, len)
    return found


def parts(sentence: str, most: int) -> list[str]:
    """A sentence in parts of at most `most` words, as `caption_words` counts them.

    They end at clauses where possible, else between words, and within one only where a script has
    no spaces. Nothing is lost but marks and spaces between the parts.
    """
    if most < 1:
        raise ValueError(f"most must be at least one word, got {most}")
    return _cut(sentence.strip(), most, _count)


def _of_line(line: str, language: str) -> Iterator[str]:
    """The sentences of a line; pieces that say nothing go with the one before."""
    begin, says = 0, False
    for start, end in pairwise([0, *_ends(line, language), len(line)]):
        if _says_something(line[start:end]):
            if says:
                yield from _clauses(line[begin:start].strip())
                begin = start
            says = True
    if says:
        yield from _clauses(line[begin:].strip())


def _says_something(piece: str) -> bool:
    return any(c.isalnum() or unicodedata.category(c) == "So" for c in piece)


def _ends(line: str, language: str) -> Iterator[int]:
    """Where sentences end, before the last one."""
    spans = deque(_whole_spans(line))
    begin = 0
    for match in (_GREEK_STOP if language == "el" else _STOP).finditer(line):
        end = match.end()
        while spans and spans[0][1] < end:
            spans.popleft()
        within = bool(spans) and spans[0][0] < end < spans[0][1]
        if end < len(line) and not within and _is_end(line, match, begin, language):
            begin = end
            yield end


def _whole_spans(line: str) -> Iterator[tuple[int, int]]:
    """Quotes and brackets, but not those around all of the line."""
    for match in _WHOLE.finditer(line):
        if match.end() - match.start() < len(line):
            yield match.span()


def _is_end(line: str, match: re.Match[str], begin: int, language: str) -> bool:
    """Whether the marks that were found end a sentence that began at `begin`."""
    marks = match[0].rstrip("\"'”“’»›)]}」』）】》〉*_")
    is_closed = len(marks) < len(match[0])
    before, after = line[match.start() - 1 : match.start()], line[match.end()]
    if any(mark in _PARTING for mark in marks):
        return after.isspace() or not is_closed
    if (_IDEOGRAPH.match(before) and not is_closed and "…" not in marks and marks != "...") or (
        "．" in marks
    ):
        return not (after.isascii() and after.isalnum()) and not after.isdigit()
    if not after.isspace():
        return not is_closed and _is_glued(line, match, begin)
    following = _NEXT.match(line, match.end(), match.end() + 60)
    word = following[1] if following else ""
    if word[:1].islower() and not _starts_small(line, match, begin, is_closed):
        return False
    if set(marks) & set("!?‽;") or len(marks) > 1 or "…" in marks:
        return True
    known = line[max(begin, match.start() - 40) : match.start()]
    return not _is_abbreviated(known, word, language)


def _starts_small(line: str, match: re.Match[str], begin: int, is_closed: bool) -> bool:
    """Whether a small letter may begin a sentence here: others do, or a long word ended."""
    if is_closed or match[0].startswith(("..", "…")):
        return False
    first = _NEXT.match(line, begin, begin + 60)
    last = _LAST.search(line, max(begin, match.start() - 40), match.start())
    has_small_start = first is not None and first[1][:1].islower()
    return has_small_start or (match[0] == "." and last is not None and _is_long_word(last[0]))


def _is_long_word(word: str) -> bool:
    return len(word) > 3 and word.isalpha() and word.islower()


def _is_glued(line: str, match: re.Match[str], begin: int) -> bool:
    """Whether a space was forgotten after a stop: "a dog.The cat", but not "Node.js"."""
    last = _LAST.search(line, max(begin, match.start() - 40), match.start())
    following = _GLUED.match(line, match.end(), match.end() + 40)
    if last is None or following is None or not last[0].isalpha():
        return False
    is_name = following[0].lower() in abbreviations.ENDINGS
    return last[0][1:].islower() and len(last[0]) > 1 and not is_name


def _is_abbreviated(before: str, word: str, language: str) -> bool:
    """Whether a full stop belongs to what is before it; `word` is the next one."""
    found = _LAST.search(before)
    if found is None:  # "a dog . a cat"; after a bracket or quote
        return False
    last, is_first = found[0], before[: found.start()].rstrip()[-1:] in ("", ":")
    opens = word in abbreviations.OPENERS
    if last.isdigit():
        ordinal = len(last) <= 2 and language in abbreviations.ORDINALS
        told = before[: found.start()].split()[-1:]
        return is_first or ((ordinal or told in abbreviations.BEFORE_DATES) and not opens)
    if len(last.rstrip("\u0300\u0301\u0327\u0308")) == 1 and last.isalpha():
        return not (opens or _IDEOGRAPH.match(last))
    if abbreviations.ROMAN.fullmatch(last) and language in abbreviations.ORDINALS:
        return not opens
    return abbreviations.is_abbreviation(last, word, language)


def _clauses(sentence: str) -> Iterator[str]:
    """A sentence whole; one of Thai or Lao in its long clauses."""
    begin, cuts = 0, [match.span() for match in _THAI_SPACE.finditer(sentence)]
    if not cuts:
        yield sentence
        return
    following = [start for start, _ in cuts[1:]] + [len(sentence)]
    for (start, end), stop in zip(cuts, following, strict=True):
        is_long = min(start - begin, stop - end) >= _THAI_SHORTEST
        if is_long and not sentence.startswith(_THAI_JOINING, end):
            yield sentence[begin:start]
            begin = end
    yield sentence[begin:]


def _primary(language: str | None) -> str:
    return (language or "").replace("_", "-").partition("-")[0].lower()


def _count(text: str) -> int:
    return len(words(text))


def _cut(text: str, most: int, measure: Measure) -> list[str]:
    """Slices of a text, as long as `most` allows, at the best places there are."""
    found: list[str] = []
    for clause in _grouped(_pieces(text, most, measure), most, measure):
        bare = clause.strip().rstrip(",;:،؛，、；：–—- ")
        if _says_something(bare):
            found.append(bare)
        elif found:
            found[-1] += bare
    return found


def _pieces(text: str, most: int, measure: Measure) -> Iterator[str]:
    """Clauses; of one that is too long its words, of such a word its letters."""
    ends = [match.end() for match in _CLAUSE.finditer(text)]
    for start, end in pairwise([0, *ends, len(text)]):
        clause = text[start:end]
        if measure(clause) <= most:
            yield clause
            continue
        for word in re.findall(r"\s*\S+\s*", clause):
            for run in [word] if measure(word) <= most else _RUN.findall(word):
                yield from [run] if measure(run) <= most else _letters(run, most, measure)


def _letters(word: str, most: int, measure: Measure) -> Iterator[str]:
    step = most if measure is len else most * 2  # two signs of Han are a word, of Thai five
    for start in range(0, len(word), step):
        yield from _halves(word[start : start + step], most, measure)


def _halves(piece: str, most: int, measure: Measure) -> Iterator[str]:
    """A piece, or the pieces of its halves while it is too long."""
    if len(piece) < 2 or measure(piece) <= most:
        yield piece
        return
    for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :]):
        yield from _halves(half, most, measure)


def _grouped(pieces: Iterator[str], most: int, measure: Measure) -> Iterator[str]:
    """Pieces put together while they fit."""
    group, size = "", 0
    for piece in pieces:
        length = measure(piece)
        if group and size + length > most:
            yield group
            group, size = "", 0
        group, size = group + piece, size + length
    if group:
        yield group
