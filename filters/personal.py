"""Where a text holds something personal: addresses of mail and machines, numbers, names.

Every rule here asks for a form, and where there is one for a checksum, that chance and prices do
not have. What it misses is stated at the rule. Time is proportional to the length of the text.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from filters import names

KINDS = ("email", "iban", "card", "ip", "phone", "name")


class Found(NamedTuple):
    """A stretch of a text, and the kind of thing that it is."""

    start: int
    end: int
    kind: str


def find(text: str, kinds: tuple[str, ...] = KINDS) -> list[Found]:
    """The personal stretches of a text in order; none overlaps another, earlier KINDS win."""
    taken: list[Found] = []
    for kind in (k for k in KINDS if k in kinds):
        for start, end in _RULES[kind](text):
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Found(start, end, kind))
    return sorted(taken)


Spans = Iterator[tuple[int, int]]

# The part before the sign is bounded, as RFC 5321 has it, so that no text takes square time.
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}(?:@|\s?[\[(]\s?at\s?[\])]\s?)"
    r"(?:[a-z0-9-]{1,63}(?:\.|\s?[\[(]\s?dot\s?[\])]\s?)){1,5}[a-z]{2,24}(?![\w-])",
    re.I,
)


def _emails(text: str) -> Spans:
    if "@" in text or "at" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


# Country calling codes of E.164, the first digits by which a number with + can be known.
_CALLING = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1234568]\d|29[0179]|3[578]\d|42[013]|50\d|59\d|6[789]\d|80[08]|85[02356]|88[068]"
    r"|96\d|97\d|99[2-68])"
)
_GAP = r"[\s.\-/\u2010-\u2015]{0,2}"
_NAMED = (
    r"tel|tél|tel[eé]fono?|telefon|telephone|téléphone|telefone|telefoon|puhelin|puh|phone|call"
    r"|ring|mob|mobile?|mobil|móvil|celular|cell|handy|fax|whatsapp|viber|sms|text|тел|телефон"
    r"|звоните|моб|gsm|ph"
)
_PHONES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?<![\w+])(?:\+|(?<!\d\s)00(?=[1-9]))\s?{_CALLING}(?:{_GAP}\(?\d\)?){{6,12}}(?![\w%€$£])",
        # as in North America, all ten digits in their groups
        r"(?<![\w.,+$€£#/-])(?:1[-. ])?(?:\([2-9]\d\d\)\s?|[2-9]\d\d[-.\s])[2-9]\d\d[-.\s]?\d{4}"
        r"(?![\w%]|[.,-]\d)",
        # French numbers go by pairs
        r"(?<![\w.,+$€£#/-])0[1-79](?:(?P<gap>[ .])\d\d)(?:(?P=gap)\d\d){3}(?![\w%]|[.,-]\d)",
        rf"(?<!\w)(?:{_NAMED})\.?\s?[:：#]?\s{{0,2}}(?:n[or°º]?\.?\s?)?"
        rf"(?P<number>\+?\(?\d(?:{_GAP}[()]?\d){{6,14}})(?![\w%])",
        rf"(?:电话|電話|手机|手機|전화|携帯)[\s:：]{{0,3}}(?P<number>\+?\d(?:{_GAP}\(?\d\)?){{6,14}})",
    )
)
_PHONE_DIGITS = range(7, 16)  # E.164 allows fifteen
# Forms that the pattern of a named number could also be.
_DATE = re.compile(r"(?:19|20)\d\d[-./]\d\d?[-./]\d\d?|\d\d?[-./]\d\d?[-./](?:19|20)\d\d")


def _phones(text: str) -> Spans:
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            group = "number" if "number" in pattern.groupindex else 0
            number = match[group]
            digits = sum(character.isdecimal() for character in number)
            if digits in _PHONE_DIGITS and not _DATE.match(number.strip("(")):
                yield match.span(group)


_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d\d(?:[ ]?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_IBAN_LENGTHS = range(15, 35)  # of ISO 13616: Norway's are the shortest


def _ibans(text: str) -> Spans:
    """Numbers of accounts (ISO 13616): their letters as numbers are 1 modulo 97."""
    for match in _IBAN.finditer(text):
        words = match[0].split(" ")
        # Words in capitals may follow: give up the last until the checksum is right.
        while words:
            if is_iban("".join(words)):
                yield match.start(), match.start() + len(" ".join(words))
                break
            words.pop()


def is_iban(code: str) -> bool:
    """Whether the checksum and the length are those of an account's number."""
    if len(code) not in _IBAN_LENGTHS or not code.isalnum() or not code.isascii():
        return False
    turned = code[4:] + code[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


_CARD = re.compile(
    r"(?<![\w.,-])(?:\d{4}(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?P=gap)\d{1,4}(?:(?P=gap)\d{3})?"
    r"|\d{4}(?P<of3>[ -]?)\d{6}(?P=of3)\d{5})(?![\w-]|[.,]\d)"
)
# First digits and lengths that issuers of cards have (ISO/IEC 7812).
_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3})?(?:\d{3})?|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14}"
)


def _cards(text: str) -> Spans:
    for match in _CARD.finditer(text):
        number = re.sub(r"\D", "", match[0])
        if _ISSUERS.fullmatch(number) and passes_luhn(number):
            yield match.span()


def passes_luhn(number: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812 (Luhn)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:])", re.I)
_NOT_IP = re.compile(r"\b(?:v|version|release|firmware|build|rev|ver)\.?\s?$", re.I)


def _ips(text: str) -> Spans:
    """Addresses that are somebody's: not those of a home network or a loop; not versions."""
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 10) : match.start()]
            if _is_public(match[0]) and not _NOT_IP.search(before):
                yield match.span()


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


_RULES: dict[str, Callable[[str], Spans]] = {
    "email": _emails,
    "phone": _phones,
    "iban": _ibans,
    "card": _cards,
    "ip": _ips,
    "name": names.find_names,
}
