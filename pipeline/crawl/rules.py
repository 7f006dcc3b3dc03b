"""What is refused before anything is fetched: by an image's address, its declared size, its texts.

The defaults refuse what is no picture for training whatever a recipe says of sizes; each refusal
has a reason, and its row stays.
"""

import re
from dataclasses import dataclass, field

from pipeline.crawl.page import Candidate

# Words that name files of a page's furniture; between separators, so that `iconic.jpg` stays. What
# also says what a picture shows (a bullet train, a phone called Pixel) is a whole name, or a GIF.
_ICON = re.compile(
    r"(?:^|[/_.-])(?:fav)?icons?(?=[\d/_.x-]|$)|\.ico$"
    r"|(?:^|[/_.-])(?:sprites?|spacer|1x1|placeholder|avatar-default)(?=[\d/_.-]|$)"
    r"|(?:^|/)(?:blank|pixel|transparent|bullet|loading)[\d_.x-]*(?:\.\w{2,5})?$"
    r"|[_.-](?:blank|pixel|transparent|bullet|loading)[\d_.x-]*\.gif$",
    re.IGNORECASE,
)
REASONS = {
    "data_url": "the image is written into the page",
    "url_too_long": "the address is longer than allowed",
    "url_pattern": "the address matches a pattern that is refused",
    "url_not_allowed": "the address matches none of the patterns that are asked for",
    "icon": "the address or the declared size is that of an icon",
    "declared_too_small": "the page declares a side below the least",
    "declared_too_long": "the page declares a longer side above so many times the shorter",
    "no_text": "none of the texts that are asked for is there",
}


@dataclass(frozen=True)
class PageRules:
    """Parameters of the rules; patterns are regular expressions, searched in the whole address.

    `min_side` and `max_ratio` look at declared sizes alone, and pass images that declare none;
    `icon_side` calls what declares both sides up to it an icon. Raises ValueError for a pattern
    that is none.
    """

    refuse: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    icons: bool = False  # whether they pass
    icon_side: int = 32
    min_side: int | None = None
    max_ratio: float | None = None
    max_url: int = 2000
    _refuse: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _only: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_refuse", tuple(map(_pattern, self.refuse)))
        object.__setattr__(self, "_only", tuple(map(_pattern, self.only)))

    def refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        """The reason why an image is not fetched, with its detail; None when it may be."""
        url = candidate.url
        if candidate.is_data:
            return "data_url", url
        if len(url) > self.max_url:
            return "url_too_long", f"{len(url)} characters (limit {self.max_url})"
        for pattern in self._refuse:
            if pattern.search(url):
                return "url_pattern", pattern.pattern
        if self._only and not any(pattern.search(url) for pattern in self._only):
            return "url_not_allowed", ", ".join(self.only)
        return self._of_size(candidate)

    def _of_size(self, candidate: Candidate) -> tuple[str, str] | None:
        sides = [side for side in (candidate.width, candidate.height) if side is not None]
        path = candidate.url.partition("?")[0].partition("://")[2].partition("/")[2]
        shown = "x".join(map(str, sides))
        if not self.icons:
            named = _ICON.search(path)
            if named is not None:
                return "icon", named[0].strip("/_.-")
            if len(sides) == 2 and max(sides) <= self.icon_side:
                return "icon", f"{shown} (limit {self.icon_side})"
        if self.min_side is not None and sides and min(sides) < self.min_side:
            return "declared_too_small", f"{shown} (limit {self.min_side})"
        ratio = self.max_ratio
        if ratio is not None and len(sides) == 2 and max(sides) > ratio * min(sides):
            return "declared_too_long", f"{shown} (limit {ratio})"
        return None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
