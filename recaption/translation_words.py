"""Words of some languages that a check of translations counts on: numbers and negations.

Only words that mean nothing else are searched in a source; a translation may use any of them.
"""

_NUMBERS = {
    "en": "two three four five six seven eight nine ten eleven twelve",
    "es": "dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "ca": "dos tres quatre cinc sis set vuit nou deu onze dotze",
    "pt": "dois três quatro cinco seis sete oito nove dez onze doze",
    "fr": "deux trois quatre cinq six sept huit neuf dix onze douze",
    "de": "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "it": "due tre quattro cinque sei sette otto nove dieci undici dodici",
    "nl": "twee drie vier vijf zes zeven acht negen tien elf twaalf",
    "zh": "二 三 四 五 六 七 八 九 十 十一 十二",
}
_OTHERS = {"ca": {"dues": 2, "huit": 8}, "pt": {"duas": 2}, "zh": {"两": 2, "兩": 2}}
_UNSAFE = {
    "ca": {"set", "nou", "deu"},
    "fr": {"neuf"},
    "it": {"sei"},
    "de": {"acht", "elf"},
    "nl": {"acht", "elf"},
}
"""Number words that are other words, too."""
_NEGATIONS = {
    "en": "no not without never none nobody nothing neither nor cannot n't",
    "es": "no sin nunca jamás ni nada nadie ningún ninguno ninguna ningunos ningunas tampoco",
    "ca": "no sense mai cap ni res ningú tampoc",
    "pt": "não sem nunca jamais nem nada ninguém nenhum nenhuma nenhuns nenhumas tampouco",
    "fr": "ne n' pas sans jamais aucun aucune ni rien personne non",
    "de": "nicht kein keine keinen keinem keiner keines ohne nie niemals nichts niemand weder",
    "it": "non senza mai né nessun nessuno nessuna niente nulla no",
    "nl": "niet geen zonder nooit niets niemand noch",
    "zh": "不 没 沒 无 無 非 未 别 勿",
}
_WEAK = {"fr": {"personne", "ni"}, "ca": {"cap", "res"}, "es": {"nada"}, "pt": {"nada"}}
"""Negations that are other words, too."""


def numbers(base: str) -> dict[str, int] | None:
    """Values from 2 to 12 by word; None for a language whose words are not known."""
    if base not in _NUMBERS:
        return None
    found = {word: value for value, word in enumerate(_NUMBERS[base].split(), 2)}
    return found | _OTHERS.get(base, {})


def safe_numbers(base: str) -> dict[str, int]:
    """Those that mean a number wherever they stand; in Chinese, signs of other words, none."""
    if base == "zh":
        return {}
    unsafe = _UNSAFE.get(base, set())
    return {word: value for word, value in (numbers(base) or {}).items() if word not in unsafe}


def negations(base: str) -> frozenset[str]:
    """Words that may negate; empty for a language whose words are not known."""
    return frozenset(_NEGATIONS.get(base, "").split())


def safe_negations(base: str) -> frozenset[str]:
    """Those that negate wherever they stand."""
    return frozenset() if base == "zh" else negations(base) - _WEAK.get(base, set())
