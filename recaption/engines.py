"""What a translator is to `recaption.translate`: which pairs it has, and texts into texts.

An engine fails for a text, never for a batch. The value of a text does not depend on the others.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from recaption.languages import Language


class Translation(NamedTuple):
    """A translated text and what the engine itself says is wrong with it; tokens it wrote."""

    text: str
    flags: tuple[str, ...] = ()
    tokens: int | None = None


class EngineFailed(Exception):
    """The translator died or hung over this text."""


class Engine(Protocol):
    """A translator. `name` is what a caption's `model` says, `digest` what decides about values."""

    def supports(self, source: Language, target: Language) -> bool:
        """Whether it translates from the one into the other; known before anything runs."""
        ...

    def pairs(self) -> str:
        """What it has, for a person whose pair it has not."""
        ...

    def name(self, source: Language, target: Language) -> str:
        """Name and revision, `NAME@REVISION`."""
        ...

    def digest(self, source: Language, target: Language) -> str:
        """Names everything that decides about translations of a pair."""
        ...

    def translate(
        self, texts: Sequence[str], source: Language, target: Language
    ) -> list[Translation | Exception]:
        """A translation or the reason why there is none, for each text, in order."""
        ...
