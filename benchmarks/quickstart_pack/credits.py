"""Who made a picture, under which licence, and where it was published.

Only licences that allow changes and redistribution are known here; any other is a KeyError, so
that a picture of unclear standing cannot slip into the pack.
"""

import re
from dataclasses import dataclass

_CC = "https://creativecommons.org"
LICENCES = {
    "Public domain": f"{_CC}/publicdomain/mark/1.0/",
    "CC0-1.0": f"{_CC}/publicdomain/zero/1.0/",
    "CC-BY-2.0": f"{_CC}/licenses/by/2.0/",
    "CC-BY-3.0": f"{_CC}/licenses/by/3.0/",
    "CC-BY-4.0": f"{_CC}/licenses/by/4.0/",
    "CC-BY-SA-3.0": f"{_CC}/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": f"{_CC}/licenses/by-sa/4.0/",
    "GPL-2.0-or-later": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
}
_SPELLINGS = {"GPLv2+": "GPL-2.0-or-later"}
_BASED_ON = re.compile(
    r"based on an? (?:original )?(?:\w+ )?by (?P<author>.+?), (?:license )?(?P<licence>[\w .-]+)"
)
_YEARS = re.compile(r"^[\d, ©-]+(?=\D)|, [\d-]+$")
_SOURCE_AT = re.compile(r"source at (?P<url>\S+)")


@dataclass(frozen=True)
class Credit:
    """The maker, the licence (a key of `LICENCES`) and the page of the original, if known."""

    author: str
    licence: str
    source_url: str | None = None

    def __post_init__(self) -> None:
        if self.licence not in LICENCES:
            raise KeyError(f"licence {self.licence!r} is not one of {', '.join(LICENCES)}")


STAMPS = Credit(
    "Bill Kendrick and the contributors to Tux Paint stamps",
    "GPL-2.0-or-later",
    "https://tuxpaint.org/stamps/",
)
CLIPART = Credit("Open Clip Art Library contributor", "Public domain", "https://openclipart.org/")
WORDS = Credit("Art4Apps", "CC-BY-SA-3.0", "http://www.art4apps.org/")
SCRIPT = Credit("the pairmill authors", "CC0-1.0")


def readme_credits(readme: str) -> dict[str, Credit]:
    """The credit of each .webp that a GCompris README names; blocks are parted by empty lines."""
    credits: dict[str, Credit] = {}
    for block in re.split(r"\n\s*\n", readme):
        files = re.findall(r"(\S+\.webp)", block)
        if files:
            credits.update(dict.fromkeys(files, _block_credit(block)))
    return credits


def _block_credit(block: str) -> Credit:
    fields = dict(re.findall(r"^(\w+): *(\S.*)$", block, flags=re.MULTILINE))
    comment = fields.get("Comment", "")
    author, url = _YEARS.sub("", fields["Copyright"]).strip(), fields.get("Source")
    if based_on := _BASED_ON.search(comment):
        original = based_on["licence"].removesuffix(" image").rstrip(".")
        author = f"{based_on['author']} ({original}); changed by {author}"
    if source_at := _SOURCE_AT.search(comment):
        url = source_at["url"]
    return Credit(author, _licence(fields["License"]), url)


def _licence(text: str) -> str:
    if text.lower() == "public domain":
        return "Public domain"
    return _SPELLINGS.get(text, text.replace(" ", "-"))
