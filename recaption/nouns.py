"""The things that an English sentence names, in singular, as far as word lists and rules know them.

Known are the things of `vocabulary.txt`, the classes of the shipped classifier, and what
`filters.roles` takes for a subject or an object. A thing that they don't know is not found.
"""

import functools
import re
from itertools import chain

from filters import roles, vocabulary
from recaption import classes, flag_words

LENGTH = 4000
"""Characters of a text that are looked at."""
# They say what sort of picture it is or when it was made, not what it shows.
_NO_THINGS = """
winter spring summer autumn sunrise noon sunset midnight photograph cartoon painting drawing poster
logo picture image photo scene view background foreground statue file rule right left top front
screen stage hip nail hook pole coil pick reel slot switch upright washer ear packet ring file
football basketball tennis golf baseball hockey
side row bank block number pair group kind sort part piece end edge middle way spread measure inch
inches front back top bottom line lot set length width height size work mover variety couple bit
"""


def find(text: str) -> list[str]:
    """The things that a text names, each once, in order; nothing of what stands in quotes.

    Of things in a row, as in "church bell", the last one is meant.
    """
    bare = flag_words.unquoted(text[:LENGTH])
    forms = _forms()
    places = list(_pattern().finditer(bare))
    starts = {match.start() for match in places}
    heads = [match for match in places if match.end() + 1 not in starts or _parts(bare, match)]
    found = [forms[match[0].lower()] for match in heads]
    said = roles.find_roles(bare)
    if said is not None:
        words = " ".join(found).split()
        found += [
            word
            for word in (said.subject, said.object)
            if word.isascii() and word.islower() and word not in forms and word not in words
        ]
    return [thing for thing in dict.fromkeys(found) if thing not in _NO_THINGS.split()]


def _parts(text: str, match: re.Match[str]) -> bool:
    """Whether what follows a thing is no space, but a sign between two of them."""
    return text[match.end()] != " "


def usual() -> tuple[str, ...]:
    """The things of `vocabulary.txt`: those with which others are compared; sorted."""
    listed = {vocabulary.forms(entry)[0] for entry in chain(*vocabulary.lines("things"))}
    return tuple(sorted(listed - set(_NO_THINGS.split())))


def kinds_of(thing: str) -> frozenset[str]:
    """The words that a thing may also be called by: a tabby cat is a cat and an animal."""
    groups = classes.groups_of(thing)
    parts = {part for group in groups for part in group.split(" or ")}
    return frozenset({thing, thing.rpartition(" ")[2], *groups, *parts})


@functools.cache
def _forms() -> dict[str, str]:
    """The singular of every form, in small letters."""
    properties = set(chain(*vocabulary.lines("properties")))
    found: dict[str, str] = {}
    for entry in chain(*vocabulary.lines("things")):
        one, more = vocabulary.forms(entry)
        found |= {one: one, more: one}
    for name in classes.names():
        if " or " not in name:
            one, more = vocabulary.forms(name.lower())
            found.setdefault(one, name)
            found.setdefault(more, name)
    return {form: one for form, one in found.items() if form not in properties}


@functools.cache
def _pattern() -> re.Pattern[str]:
    """Every form as a whole word; a longer one hides those within it."""
    longest = sorted(_forms(), key=lambda word: (-len(word), word))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])", re.IGNORECASE)
