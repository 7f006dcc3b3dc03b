"""What a probe is: what is asked, what a low figure means, and the questions themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.probes.measures import Measure, chosen
from pipeline.probes.questions import Grid, Picture, Question

SHOWN = 6  # pictures of a probe on the page
Shown = tuple[tuple[Picture, str], ...]


@dataclass(frozen=True)
class Told:
    """A probe in words: its heading, what is asked, and what a low figure means for a selection."""

    title: str
    asks: str
    means: str


@dataclass(frozen=True)
class Probe:
    """Questions, or grids, about one thing that a score may be blind to.

    `shown` are a few pictures with what is true of them. `missing` is what of a data set could
    not be asked, `notice` the same in words.
    """

    name: str
    told: Told
    questions: tuple[Question, ...] = ()
    measure: Measure = chosen
    grids: tuple[Grid, ...] = ()
    shown: Shown = ()
    missing: Mapping[str, Any] | None = None
    notice: str | None = None
    is_drawn: bool = False


def choice(picture: Picture, texts: Sequence[str], right: int, kind: str) -> Question:
    """Which of several texts is that of a picture."""
    return Question(tuple((picture, text) for text in texts), right, kind, picture.name)


def shown_of(questions: Sequence[Question], *, all_over: bool = True) -> Shown:
    """Some pictures with what is true of them, each once: the first ones, or from all over."""
    found: dict[str, tuple[Picture, str]] = {}
    for question in questions:
        picture, text = question.pairs[question.right]
        found.setdefault(picture.name, (picture, text))
    step = (len(found) // SHOWN) | 1 if all_over else 1  # odd: kinds often take turns
    return tuple(found.values())[::step][:SHOWN]
