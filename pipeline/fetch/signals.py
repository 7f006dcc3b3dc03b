"""What a host says about the use of its content: raw texts by where they stood, and a verdict.

Read are `X-Robots-Tag` and HTML meta, also for a named agent, TDM reservation (the TDMRep report of
W3C), `Content-Usage` (drafts of the IETF group AIPREF) and RSL's licence links. A text that can't
be read forbids nothing, and is kept.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping

from pipeline.fetch.options import FetchOptions

Signals = dict[str, str]
HEADERS = ("X-Robots-Tag", "Content-Usage", "TDM-Reservation", "TDM-Policy", "License")
_WORDS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "noml", "none"})
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)
_LONGEST = 8000
LINE = " | "  # between repeated headers that name agents: the next speaks to all again
_HEAD = 1 << 18  # bytes of a page in which meta is looked for
_META = re.compile(r"<meta\b([^<>]{0,4000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([a-zA-Z-]{1,40})\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_LICENCE = re.compile(r'rel="?[^";,]{0,99}\blicense\b', re.IGNORECASE)
_BETWEEN = re.compile(r"[;\s]+")
_RSL = "application/rsl+xml"

# From the narrow use to the wide one: the first that is stated counts (draft-ietf-aipref-vocab).
_USES = (("train-genai", "train-ai", "bots"), ("train-ai", "bots"))


def of_headers(headers: Iterable[tuple[str, str]]) -> Signals:
    """The signals of an answer's headers, repeated ones joined by commas, or by LINE."""
    wanted = {name.lower(): name for name in HEADERS}
    found: Signals = {}
    for name, value in headers:
        kept = wanted.get(name.lower())
        if kept is not None:
            add(found, kept, value, LINE if kept == "X-Robots-Tag" else ", ")
        elif name.lower() == "link" and _LICENCE.search(value):
            add(found, "Link", value)
    return found


def of_page(text: str, agents: Iterable[str]) -> Signals:
    """The signals of a page's meta elements, those for robots and those for the named agents."""
    names = {"robots", "tdm-reservation", "tdm-policy", *(agent.lower() for agent in agents)}
    found: Signals = {}
    for meta in _META.findall(_without_comments(text[:_HEAD])):
        values = {
            name.lower(): html.unescape(double or single or bare)
            for name, double, single, bare in _ATTRIBUTE.findall(meta)
        }
        name = values.get("name", "").strip().lower()
        if name in names:
            add(found, f"meta {name}", values.get("content", ""))
    return found


def _without_comments(text: str) -> str:
    parts, place = [], 0
    while (start := text.find("<!--", place)) >= 0:
        parts.append(text[place:start])
        end = text.find("-->", start + 4)
        place = len(text) if end < 0 else end + 3
    return "".join([*parts, text[place:]])


def add(found: Signals, name: str, text: str, between: str = ", ") -> None:
    """One more text, behind what the same place said before."""
    before = found.get(name)
    found[name] = (text if before is None else f"{before}{between}{text}")[:_LONGEST]


def forbidden(found: Mapping[str, str], options: FetchOptions) -> str | None:
    """The signal that forbids the use, as `place: text`; None if none does."""
    for name, text in found.items():
        if _forbids(name, text, options):
            return f"{name}: {text}"
    return None


def _forbids(name: str, text: str, options: FetchOptions) -> bool:
    place = name.lower()
    if place.endswith("tdm-reservation"):
        return "tdm" in options.refuse and "1" in re.split(r"[,\s]+", text.strip())
    if place.endswith("content-usage"):
        return "aipref" in options.refuse and usage_forbids(text)
    if place == "link" or place.endswith("license"):
        return "rsl" in options.refuse and (place != "link" or _RSL in text.lower())
    if place == "x-robots-tag":
        return not options.refuse.isdisjoint(robots_words(text, named(options)))
    if place.startswith("meta ") and place != "meta tdm-policy":
        words = {word for part in text.lower().split(",") for word in _words(part)}
        return not options.refuse.isdisjoint(words & _WORDS)
    return False


def named(options: FetchOptions) -> frozenset[str]:
    """The agents whose rules are ours too, in lower case."""
    return frozenset({options.agent.lower(), *(agent.lower() for agent in options.agents)})


def robots_words(text: str, agents: frozenset[str]) -> frozenset[str]:
    """The words of an X-Robots-Tag that hold for everyone or for one of the agents.

    `bot: noai, noindex` names an agent for all that follows, up to the next agent or LINE.
    """
    return _all_words(text, agents) & _WORDS


def may_follow(found: Mapping[str, str], options: FetchOptions) -> bool:
    """Whether the links of a page may be followed: neither its headers nor its metas say no."""
    words: set[str] = set()
    for name, text in found.items():
        if name == "X-Robots-Tag" or name.startswith("meta "):
            words |= _all_words(text, named(options))
    return words.isdisjoint({"nofollow", "none"})


def _all_words(text: str, agents: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for line in text.lower().split(LINE.strip()):
        ours = True
        for part in line.split(","):
            before, colon, after = part.partition(":")
            if colon and before.strip() not in _WITH_VALUE:
                ours = before.strip() in agents or before.strip() == "*"
                part = after
            if ours:
                found.update(_words(part))
    return frozenset(found)


def _words(part: str) -> list[str]:
    """The words between two commas: several where spaces part them, one if it has a value."""
    return [part.strip()] if ":" in part else _BETWEEN.split(part.strip())


def usage_forbids(text: str) -> bool:
    """Whether a Content-Usage (`train-ai=n, search=y`) forbids to train models with the content."""
    stated = dict(_usages(text))
    for uses in _USES:
        first = next((stated[use] for use in uses if use in stated), None)
        if first == "n":
            return True
    return False


def _usages(text: str) -> Iterator[tuple[str, str]]:
    for part in text.lower().split(","):
        name, equals, value = part.partition("=")
        if equals:
            yield name.strip(), value.partition(";")[0].strip()
