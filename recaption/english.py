"""English that rules need: articles, plurals, numbers in words."""

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "shelf": "shelves",
    "calf": "calves",
    "loaf": "loaves",
    "half": "halves",
    "cactus": "cacti",
    "die": "dice",
}
_ALIKE = (
    "sheep",
    "deer",
    "fish",
    "aircraft",
    "spacecraft",
    "hovercraft",
    "moose",
    "swine",
    "bison",
)
_MASS = (
    *("snow", "grass", "water", "broccoli", "furniture", "traffic", "luggage", "sand", "soil"),
    *("farmland", "scissors", "glasses", "sunglasses", "trousers", "pants", "jeans", "skis"),
)
_O_WITH_ES = frozenset(("potato", "tomato", "hero", "echo", "torpedo", "mango", "volcano"))
_SOUNDS_LIKE_YOU = ("uni", "use", "usu", "euro", "ewe", "one-", "ufo", "uk", "ute")
_SILENT_H = ("hour", "honest", "honour", "honor", "heir")


def number(count: int) -> str:
    """Up to ten in words, above that in digits."""
    return _WORDS[count] if count < len(_WORDS) else str(count)


def plural(noun: str) -> str:
    """The plural of a noun, or of the last word of several; `tennis court`: `tennis courts`."""
    before, space, word = noun.rpartition(" ")
    lower = word.lower()
    if lower in _ALIKE or lower in _MASS:
        return noun
    many = _IRREGULAR.get(lower) or _regular(word)
    return f"{before}{space}{many}"


def _regular(word: str) -> str:
    lower = word.lower()
    if lower.endswith(("s", "x", "z", "ch", "sh")) or lower in _O_WITH_ES:
        return f"{word}es"
    if lower.endswith("y") and lower[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        return f"{word[:-1]}ies"
    if lower.endswith("man") and lower != "human":
        return f"{word[:-3]}men"
    return f"{word}s"


def article(noun: str) -> str:
    """`a` or `an`, by how the next word sounds; nothing for what has no singular."""
    lower = noun.lower()
    if lower.rpartition(" ")[2] in _MASS:
        return ""
    if lower.startswith(_SILENT_H):
        return "an"
    vowel = lower[:1] in ("a", "e", "i", "o", "u")
    return "an" if vowel and not lower.startswith(_SOUNDS_LIKE_YOU) else "a"


def with_article(noun: str) -> str:
    """`an old car`, `scissors`."""
    return f"{article(noun)} {noun}".strip()


def counted(count: int, noun: str) -> str:
    """`three cars`, `one car`, `no cars`."""
    return f"{number(count)} {noun if count == 1 else plural(noun)}"


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def sentence(text: str) -> str:
    """The text with a capital letter in front and a full stop behind it."""
    text = text.strip()
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:]
