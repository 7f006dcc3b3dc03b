"""What a robots.txt says: paths, pace, and the lines of AIPREF and RSL beside them.

Paths and pace are read by protego, as RFC 9309 says. `Content-Usage: [path] preference` belongs to
the group it stands in, and the longest path that fits counts; `License: URL` holds for the host.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from protego import Protego

from pipeline.fetch.options import FetchOptions

MAX_BYTES = 500 << 10  # RFC 9309, 2.5
_MOST_LINES = 1000  # of preferences and licences
_LONGEST_DELAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Rules:
    """`usages` are pairs of path pattern and preference; no parser stands for no rules at all."""

    parser: Protego | None = None
    delay_s: float | None = None
    usages: tuple[tuple[str, str], ...] = ()
    licences: tuple[str, ...] = ()
    agent: str = field(default="*")

    def allow(self, url: str) -> bool:
        return self.parser is None or self.parser.can_fetch(url, self.agent)

    def signals(self, path: str) -> dict[str, str]:
        """What is said about the use of a path, by where it stood."""
        found = {}
        usage = best_match(self.usages, path)
        if usage is not None:
            found["robots.txt Content-Usage"] = usage
        if self.licences:
            found["robots.txt License"] = ", ".join(self.licences)[:1000]
        return found


def parse_rules(data: bytes, options: FetchOptions) -> Rules:
    """The rules for our agent in a robots.txt, of which no more than 500 KiB are read."""
    text = data[:MAX_BYTES].decode("utf-8-sig", "replace")
    parser = Protego.parse(text)
    delay = parser.crawl_delay(options.agent)
    rate = parser.request_rate(options.agent)
    if rate is not None:
        delay = max(min(rate.seconds, _LONGEST_DELAY_S) / rate.requests, delay or 0.0)
    usages, licences = _lines(text, options.agent.lower())
    return Rules(
        parser,
        min(delay, _LONGEST_DELAY_S) if delay else None,
        tuple(usages[:_MOST_LINES]),
        tuple(licences[:_MOST_LINES]),
        options.agent,
    )


def _lines(text: str, agent: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Preferences of our group, or else of the group for all, and all licences."""
    by_agent: dict[str, list[tuple[str, str]]] = {}
    licences: list[str] = []
    group: list[str] = []
    in_head = False
    for line in text.splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if name == "user-agent":
            group = [*group, value.lower()] if in_head else [value.lower()]
            by_agent.setdefault(value.lower(), [])
        elif name == "content-usage":
            path, usage = _path_and_usage(value)
            for one in group or ["*"]:
                by_agent.setdefault(one, []).append((path, usage))
        elif name == "license" and value:
            licences.append(value)
        in_head = name == "user-agent"
    return by_agent.get(agent, by_agent.get("*", [])), licences


def _path_and_usage(value: str) -> tuple[str, str]:
    if not value.startswith(("/", "*")):
        return "/", value
    path, _, usage = value.partition(" ")
    return path, usage.strip()


def best_match(rules: tuple[tuple[str, str], ...], path: str) -> str | None:
    """What the longest pattern that fits the path says; `*` fits all, `$` is the end."""
    found = [(len(pattern), said) for pattern, said in rules if fits(pattern, path)]
    return max(found)[1] if found else None


def fits(pattern: str, path: str) -> bool:
    """Whether a path pattern of robots.txt fits the beginning of a path."""
    if "*" not in pattern and not pattern.endswith("$"):
        return path.startswith(pattern)
    anchored = pattern.endswith("$")
    parts = _parts(pattern.removesuffix("$"))
    if not path.startswith(parts[0]):
        return False
    place = len(parts[0])
    for part in parts[1:-1]:
        place = path.find(part, place) + len(part)
        if place < len(part):
            return False
    if len(parts) == 1:
        return not anchored or path == parts[0]
    if anchored:
        return path.endswith(parts[-1]) and len(path) - len(parts[-1]) >= place
    return path.find(parts[-1], place) >= 0


@lru_cache(4096)
def _parts(pattern: str) -> list[str]:
    return re.sub(r"\*+", "*", pattern).split("*")
