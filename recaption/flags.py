"""Quality flags of captions, by rules: what is wrong with a text as a text, seen without its image.

Rules are made to be right when they speak, and to say nothing else. A caption is never changed or
dropped: what a flag is worth is for a recipe to decide.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from filters import caption as caption_rules
from filters import estimates
from filters.estimates import Given, Held
from filters.language import Language
from filters.profanity import Profanity
from recaption import captions, flag_words, languages, sentences
from recaption.captions import Row

LONGEST = 20_000
"""Characters of a caption that are looked at."""
_ENDS = re.compile(r"[.!?。！？｡…؟۔।॥።។။\"'”’»」』)\]）】*]\s*\Z|\S+\.\w{2,5}(?:/\S*)?\Z")
_OPEN_ENDS = re.compile(r"(?:[,;:–—-]|…|\.\.\.)\s*\Z")
# Words in which no caption ends, by language; where none is said, those of English.
_NEVER_LAST = {
    "en": ("a", "an", "the", "and", "or", "of", "with", "but", "its", "their"),
    "de": ("ein", "eine", "einem", "einen", "und", "oder", "mit"),
    "fr": ("le", "les", "un", "une", "et", "ou", "des", "du", "avec"),
    "es": ("el", "los", "las", "un", "una", "y", "con", "del"),
    "pt": ("os", "um", "uma", "e", "com", "do", "da"),
    "it": ("il", "gli", "un", "una", "e", "con", "della"),
    "nl": ("het", "een", "en", "met"),
}
_UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "bo")
_NO_MARKS = ("th", "lo", "bo")
# A model of languages takes one of these for another, or they write alike.
_ALIKE = (
    frozenset(("hi", "mr", "ne", "sa", "bh")),
    frozenset(("no", "nb", "nn", "da", "sv")),
    frozenset(("hr", "sr", "bs", "sl")),
    frozenset(("id", "ms", "jv", "tl")),
    frozenset(("cs", "sk")),
    frozenset(("pt", "gl", "es", "ca")),
    frozenset(("uk", "ru", "be", "bg", "mk")),
    frozenset(("zh", "yue", "wuu")),
    frozenset(("ar", "fa", "ur")),
    frozenset(("nl", "af")),
)
_FEWEST_LETTERS, _FEWEST_WORDS = 30, 6  # of a text whose language is recognised
_SCRIPT_LETTERS, _SCRIPT_SHARE = 10, 0.2
_LOOP_UNITS, _LOOP_TIMES = 8, 4
_COPY_WORDS, _COPY_SHARE = 4, 0.8


class Seen(NamedTuple):
    """A caption as the rules see it, and the texts it may be a copy of."""

    text: str
    language: str | None
    kind: str | None
    origin: str | None
    tokens: int | None
    raw: tuple[str, ...]


@dataclass(frozen=True)
class CaptionFlags:
    """The captions of `of` with flags added to those they have, nothing else changed.

    `refusal`: a sentence begins as models decline or ask for the picture, in twenty languages.
    `loop`: words repeat in a row (one five times, up to eight four times), a sentence stands there
    three times, or most runs of four words are repeats. `cut`: it ends within a sentence, with a
    comma or an article, or, where it is not of the web, without the mark that its other sentences
    have; or its `tokens` reach `most_tokens`. `wrong_language`: it is in another
    than it says, by its letters or, from six words on, by the model of `language`; not where the
    two are near relatives. `leaked_prompt`: marks of a chat template, "Sure, here is", talk about
    the user or the request, or one of `prompt_words`. `generic`: a default text of sites, or
    nothing but words such as "picture", "background" and "object". `copy`: it repeats the texts
    of the column `raw`, at least four words in the same order; not looked at for captions of origin
    `raw`. `unsafe`: it has a word of the lists of `profanity`. What stands in quotes neither
    refuses nor leaks. `flags` are those asked for; the first 20,000 characters are looked at.
    A row whose `raw` is NULL is not asked, and has no captions here.
    """

    of: str = "caption"
    raw: str | None = None
    prompt_words: tuple[str, ...] = ()
    most_tokens: int | None = None
    flags: tuple[str, ...] = ()

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "text", "raw": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if isinstance(self.flags, str) or not set(self.flags) <= set(RULES):
            raise ValueError(f"flags is a list of {', '.join(RULES)}; got {self.flags!r}")
        if isinstance(self.prompt_words, str) or not all(map(str.strip, self.prompt_words)):
            raise ValueError(f"prompt_words is a list of texts, got {self.prompt_words!r}")
        if self.most_tokens is not None and self.most_tokens < 1:
            raise ValueError(f"most_tokens must be at least 1, got {self.most_tokens}")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,) if self.raw in (None, self.of) else (self.of, str(self.raw))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values: the parameters, and the rules and lists behind them."""
        own = {name: getattr(self, name) for name in ("of", "raw", "most_tokens")}
        own |= {name: list(getattr(self, name)) for name in ("prompt_words", "flags")}
        behind = {"sentences": sentences.VERSION, "profanity": Profanity().identity["words"]}
        return {**own, **behind, "language": Language.version}

    @property
    def weights_digest(self) -> str:
        return Language().weights_digest

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """As many captions as it is given."""
        return estimates.together(given, [self.of])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        raws = [()] * len(batch[self.of]) if self.raw is None else batch[self.raw]
        pairs = zip(batch[self.of], raws, strict=True)
        return {captions.COLUMN: [self._flagged(value, raw) for value, raw in pairs]}

    def _flagged(self, value: Any, raw: Any) -> list[Row]:
        known = tuple((row["text"] or "")[:LONGEST] for row in captions.texts(raw))
        return [captions.flagged(row, *self.flags_of(row, known)) for row in captions.texts(value)]

    def flags_of(self, row: Row, raw: Sequence[str] = ()) -> list[str]:
        """The flags that a caption deserves, in the order of RULES."""
        text = (row["text"] or "")[:LONGEST]
        seen = Seen(text, row["language"], row["kind"], row["origin"], row["tokens"], tuple(raw))
        found = {name for name in self.flags or RULES if RULES[name](seen)}
        plain = " ".join(text.casefold().split())
        if any(" ".join(word.casefold().split()) in plain for word in self.prompt_words):
            found.add("leaked_prompt")
        if self.most_tokens is not None and (seen.tokens or 0) >= self.most_tokens:
            found.add("cut")
        return [name for name in RULES if name in found and name in (self.flags or RULES)]


@dataclass(frozen=True)
class FlagCounts:
    """`clean_captions`, how many captions of `of` have no flag, and `flags_found`, all flags.

    `but` are flags that don't count, as `unsure`; `shortened` never does. Conditions can look at
    one caption by its place, `len(list_extract(long, 1).flags) = 0`; for "any" and "all" they need
    these columns.
    """

    of: str
    but: tuple[str, ...] = ()

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"of": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [("clean_captions", pa.int32()), ("flags_found", pa.list_(pa.string()))]
    )

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [
            [captions.flaws(caption) - set(self.but) for caption in captions.texts(value)]
            for value in batch[self.of]
        ]
        return {
            "clean_captions": [sum(not flags for flags in row) for row in rows],
            "flags_found": [sorted(set().union(*row)) for row in rows],
        }


def _loops(seen: Seen) -> bool:
    units = _units(seen.text)
    for length in range(1, _LOOP_UNITS + 1):
        wanted = (_LOOP_TIMES if length == 1 else _LOOP_TIMES - 1) * length
        run = 0
        for one, next_ in zip(units, units[length:], strict=False):
            run = run + 1 if one == next_ else 0
            if run >= wanted:
                return True
    runs = list(zip(units, units[1:], units[2:], units[3:], strict=False))
    if len(runs) >= 20 and len(set(runs)) < 0.4 * len(runs):
        return True
    said = [s for s in map(_plain, sentences.split(seen.text, seen.language)) if len(s) > 8]
    return any(said.count(sentence) > 2 for sentence in set(said[:50]))


def _is_cut(seen: Seen) -> bool:
    text = seen.text.strip()
    found = sentences.split(text[-4000:], seen.language)
    if not found or _base(seen.language) in _NO_MARKS:
        return False
    if len(caption_rules.words(text)) >= 4:
        last = text.split()[-1]
        if _OPEN_ENDS.search(text) or last in _NEVER_LAST.get(_base(seen.language) or "en", ()):
            return True
    if seen.origin == "raw":  # whole captions of the web seldom end with a mark
        return False
    before = found[:-1]
    has_ends = bool(before) and all(_ENDS.search(sentence) for sentence in before)
    is_long = seen.kind == "long" and len(caption_rules.words(text)) >= 15
    return (has_ends or (is_long and not before)) and not _ENDS.search(text)


def _is_foreign(seen: Seen) -> bool:
    if seen.language is None or not languages.is_language(seen.language):
        return False
    said = languages.language(seen.language)
    text = flag_words.unquoted(seen.text)
    letters = sum(map(str.isalpha, text))
    share = languages.script_share(text[:2000], said.script)
    if letters >= _SCRIPT_LETTERS and share is not None and share < _SCRIPT_SHARE:
        return True
    enough = letters >= _FEWEST_LETTERS and len(caption_rules.words(text)) >= _FEWEST_WORDS
    if not enough and not (said.base in _UNSPACED and letters >= _FEWEST_LETTERS // 2):
        return False
    found = Language(text="text")({"text": [text]})["language"][0]
    if found is None or _base(found) == said.base:
        return False
    return not any({said.base, _base(found)} <= alike for alike in _ALIKE)


def _is_generic(seen: Seen) -> bool:
    words = re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", seen.text[:400].casefold())
    if caption_rules.is_boilerplate(seen.text):
        return True
    return bool(words) and len(seen.text) <= 400 and flag_words.GENERIC.issuperset(words)


def _is_copy(seen: Seen) -> bool:
    own = _units(seen.text)
    if seen.origin == "raw" or len(own) < _COPY_WORDS:
        return False
    return any(_overlaps(own, _units(raw)) for raw in seen.raw)


def _overlaps(own: list[str], raw: list[str]) -> bool:
    """Whether four fifths of a caption are runs of four units that the raw text has, too."""
    known = set(zip(raw, raw[1:], raw[2:], raw[3:], strict=False))
    covered: set[int] = set()
    for place, run in enumerate(zip(own, own[1:], own[2:], own[3:], strict=False)):
        if run in known:
            covered.update(range(place, place + 4))
    return len(covered) >= _COPY_SHARE * len(own)


def _is_unsafe(seen: Seen) -> bool:
    return bool(Profanity(text="text")({"text": [seen.text]})["profanities"][0])


def _units(text: str) -> list[str]:
    """Words in small letters without marks; of a script without spaces its signs."""
    spaced, counted = text.split(), caption_rules.words(text)
    if len(counted) > 1.5 * len(spaced):
        return [sign for sign in text.casefold() if sign.isalnum()]
    return [word for word in map(_plain, spaced) if word]


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else " " for c in text.casefold()).strip()


def _base(language: str | None) -> str:
    return (language or "").partition("-")[0].lower()


RULES: dict[str, Callable[[Seen], bool]] = {
    "refusal": lambda seen: flag_words.refuses(seen.text),
    "loop": _loops,
    "cut": _is_cut,
    "wrong_language": _is_foreign,
    "leaked_prompt": lambda seen: flag_words.leaks(seen.text),
    "generic": _is_generic,
    "copy": _is_copy,
    "unsafe": _is_unsafe,
}
"""Every flag with its rule, in the order in which they are looked at."""
