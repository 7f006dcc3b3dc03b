"""Subject, predicate and object of an English caption, by a few rules and a list of verbs.

"A man in a hat is riding two horses" gives man, riding, horses. The rules know the order of words
in captions and the forms of verbs of what people, animals and vehicles are seen doing; where they
find no three parts they say so. They are no parser: heads of long compounds may be wrong.
"""

import re
from typing import NamedTuple

_LONGEST = 60  # words of a sentence that are looked at
_TEXT = 2000  # characters of a text
_SENTENCE = re.compile(r"[.;:!?|\n()\[\]\"“”]+")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|,")
_PLAIN_VERBS = """
approach attack bark bite block board carry catch cast celebrate chase chew clean climb collect
cook cover cross crush cuddle dance devour direct dive drag draw drink drive drop eat embrace enjoy
enter examine feed fight fill fix float flip fly follow gather give graze grab greet grip groom
guard hang hit hold hug hunt inspect jump kick kiss lead lean leap lick lie lift load look milk
observe offer open operate overlook paddle paint pass perch pet pick play point pose pour prepare
present pull push raise reach read repair ride roast roll row run sail sell serve shear show sip
sit skate ski slice smell sniff stand stare steer stroke surf surround swim swing take tap teach
throw touch tow train trim try type use visit wait walk wash watch water wear weave wave weld
"""
_IRREGULAR = {
    "bite": "bit bitten",
    "catch": "caught",
    "draw": "drew drawn",
    "drink": "drank drunk",
    "drive": "drove driven",
    "eat": "ate eaten",
    "feed": "fed",
    "fight": "fought",
    "fly": "flew flown",
    "give": "gave given",
    "hang": "hung",
    "hold": "held",
    "lead": "led",
    "lie": "lay lain",
    "ride": "rode ridden",
    "run": "ran",
    "sell": "sold",
    "sit": "sat",
    "stand": "stood",
    "swim": "swam",
    "swing": "swung",
    "take": "took taken",
    "teach": "taught",
    "throw": "threw thrown",
    "wear": "wore worn",
    "weave": "wove woven",
}
_VOWELS = frozenset("aeiou")


def _third(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")


def _stems(verb: str) -> tuple[str, str]:
    """What -ed and -ing are put to."""
    if verb.endswith("ie"):
        return verb[:-1], verb[:-2] + "y"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1], verb[:-1]
    is_short = len(verb) < 5 and verb[-1] not in "aeiouwxy" and verb[-2] in _VOWELS
    if is_short and verb[-3] not in _VOWELS:
        return verb + verb[-1], verb + verb[-1]
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return verb[:-1] + "i", verb
    return verb, verb


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_VERBS = _PLAIN_VERBS.split()
_BASES = frozenset(_VERBS)
_THIRDS = frozenset(map(_third, _VERBS))
_PASTS = frozenset(form for v in _VERBS for form in _IRREGULAR.get(v, _stems(v)[0] + "ed").split())
_DOING = frozenset(_stems(v)[1] + "ing" for v in _VERBS)

_DETERMINERS = _words("""
a an the this that these those some any several many few both each every another other two three
four five six seven eight nine ten twelve dozen his her hers its their our my your one
""")
_PREPOSITIONS = _words("""
on in at with over under near by from to into onto through across along around behind beside
between above below against for of off up down out upon inside outside toward towards past beneath
amid among underneath without within about during after before next close
""")
_BREAKS = _words("""
, and or but while who which that as is are was were be been being has have had when where because
so then
""")
_SKIPPED = _words("""
very also just only now still here there together back away not upright straight ahead apart aside
""")
# Adjectives, which may stand before a participle that is one, too ("old sailing boat"); pronouns
# and adverbs, of which there is no picture.
_NO_HEADS = _words("""
old young small big large little tiny huge long short new red blue green yellow white
black brown grey gray orange pink purple wooden beautiful cute happy wild it he she they them him i
we you us me himself herself itself themselves each everyone something someone
light dark
""")
# Nouns and prepositions that end like participles: no verbs but before an article.
_NOT_DOING = _words("""
building painting drawing wedding ring king string spring thing wing ceiling morning evening
clothing swing pudding lightning sling during nothing something anything everything sibling
duckling sterling earring icing wiring railing dwelling landing engraving carving crossing meeting
parking setting shilling living dressing gosling bunting awning herring darling viking offspring
opening including featuring depicting showing regarding following
""")
_PLURALS = _words("""
people men women children kids sheep geese mice police cattle deer
""")
_PICTURES = re.compile(
    r"^\W*(?:[\w-]+ ){0,3}?(?:photo|photograph|picture|image|drawing|painting|illustration|view|"
    r"close-?up|closeup|portrait|shot|sketch|cartoon|clipart) of (?=\S)",
    re.I,
)


class Roles(NamedTuple):
    """Who does what to what, in the words of a caption."""

    subject: str
    predicate: str
    object: str


def find_roles(text: str) -> Roles | None:
    """The parts of the first sentence of a text that has all three; None without one."""
    for sentence in _SENTENCE.split(_PICTURES.sub("", text[:_TEXT])):
        words = [match[0] for match in _WORD.finditer(sentence)][:_LONGEST]
        found = _of_sentence(words)
        if found is not None:
            return found
    return None


def _of_sentence(words: list[str]) -> Roles | None:
    low = [word.casefold() for word in words]
    subject, start = _head(low, 0)
    if subject is None:
        return None
    for i in range(start, len(low)):
        if not _is_verb(low, i, low[subject]):
            continue
        preposition, after = _preposition(low, i + 1)
        thing, _ = _head(low, after)
        if thing is not None:
            predicate = " ".join([words[i], *preposition])
            return Roles(words[subject], predicate, words[thing])
    return None


def _head(low: list[str], start: int) -> tuple[int | None, int]:
    """The place of the last word of the noun phrase at `start`, and where it ends."""
    i = start
    while i < len(low) and (low[i] in _DETERMINERS or low[i] in _SKIPPED or low[i].isdigit()):
        i += 1
    first = i
    while i < len(low) and not _ends_phrase(low, i, first):
        i += 1
    while i - 1 > first and (_is_adverb(low[i - 1]) or low[i - 1] in _PASTS):
        i -= 1  # "its trunk raised"
    if i == first or low[i - 1] in _NO_HEADS:
        return None, i
    return i - 1, i


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and not word.endswith(("fly", "mily", "lily", "elly"))


def _ends_phrase(low: list[str], i: int, first: int) -> bool:
    word = low[i]
    if word in _PREPOSITIONS or word in _BREAKS or word in _SKIPPED or word in _DETERMINERS:
        return True
    return i > first and low[i - 1] not in _NO_HEADS and _is_verb(low, i, low[i - 1])


def _is_verb(low: list[str], i: int, subject: str) -> bool:
    """Whether a word after a subject says what it does."""
    word, before, after = low[i], low[i - 1], low[i + 1] if i + 1 < len(low) else ""
    has_article = after in _DETERMINERS or after.isdigit()
    opens = has_article or after in _PREPOSITIONS
    if before in _DETERMINERS or before in _NO_HEADS:
        return False  # "a running dog"
    if word in _NOT_DOING:
        return word in _DOING and has_article
    if word in _DOING and after and after not in _BREAKS:
        return True  # "a woman wearing sunglasses"
    if word.endswith("ing") and len(word) > 4:
        return opens
    if word in _THIRDS or word in _PASTS:
        return opens
    is_plural = subject in _PLURALS or (subject.endswith("s") and not subject.endswith("ss"))
    return word in _BASES and is_plural and opens


def _preposition(low: list[str], start: int) -> tuple[list[str], int]:
    """The prepositions after a verb ("on", "on top of"), and what follows."""
    i = start
    while i < len(low) and low[i] in _SKIPPED:
        i += 1
    first = i
    while i < len(low) and low[i] in _PREPOSITIONS and i - first < 2:
        i += 1
    if i + 1 < len(low) and i > first and low[i] in ("top", "front") and low[i + 1] == "of":
        i += 2
    return low[first:i], i
