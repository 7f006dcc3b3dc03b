"""Which texts of a sample a training step sees: plans over the captions that it carries.

A caption is called for by a *name*: its kind (`long`, `sentence`, `raw`), the column it came in,
or a text member of the sample (`txt`, `long.txt`). Draws depend on seed, epoch and key alone.
Captions with a box are of regions, and no texts of the picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from pipeline.texts import NOTES
from pipeline.training.parameters import check_names, check_weights, check_whole

_Item = TypeVar("_Item")
Dice = Callable[[str], float]
"""A number in [0, 1) for a purpose, of one sample in one epoch."""


class Text(NamedTuple):
    """A text of a sample, its language if that is known, and the names it can be called by."""

    text: str
    language: str | None = None
    names: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class Plan(Protocol):
    """Chooses texts."""

    @property
    def places(self) -> int:
        """How many texts every sample has, there or not."""

    def choose(self, texts: Sequence[Text], dice: Dice) -> list[Text | None]:
        """One for each place; None is a text that is missing."""


def texts_of(members: Mapping[str, Any], captions: Sequence[Mapping[str, Any]]) -> list[Text]:
    """The text members of a sample, then the captions of its json; none that is empty."""
    found = [
        Text(data.decode("utf-8"), None, (name,))
        for name, data in sorted(members.items())
        if name == "txt" or name.endswith(".txt")
    ]
    for caption in captions:
        if not caption.get("box"):
            names = (caption.get("kind"), caption.get("column", "captions"))
            known = tuple(dict.fromkeys(name for name in names if name))
            flags = tuple(flag for flag in caption.get("flags") or () if flag not in NOTES)
            found.append(Text(caption.get("text") or "", caption.get("language"), known, flags))
    return [one for one in found if one.text]


@dataclass(frozen=True)
class Drawn:
    """One caption, drawn by the weights of names, and of languages where those are given.

    First the name is drawn among those that the sample has a caption of, then the language among
    those there, then one of these captions, all alike. What has the weight 0 is taken only where
    there is nothing else, the first such name or language first. A language is a tag (`pt-BR`) or
    the first part of one (`pt`), and a tag has the weight of the closest; captions without a
    language are in `unlabelled`. With `unflagged` captions with flags are passed over.
    """

    names: Mapping[str, float]
    languages: Mapping[str, float] | None = None
    unlabelled: str | None = None
    unflagged: bool = False

    def __post_init__(self) -> None:
        check_weights(self.names)
        if self.languages is not None:
            check_weights(self.languages)

    @property
    def places(self) -> int:
        return 1

    def choose(self, texts: Sequence[Text], dice: Dice) -> list[Text | None]:
        texts = [text for text in texts if not (self.unflagged and text.flags)]
        if self.languages is not None:
            spoken = [(closest(_language(t, self.unlabelled), self.languages), t) for t in texts]
        else:
            spoken = [("", text) for text in texts]
        cells: dict[str, dict[str, list[Text]]] = {}
        for language, text in spoken:
            for own in text.names if language is not None else ():
                cells.setdefault(own, {}).setdefault(language or "", []).append(text)
        name = _weighted(self.names, cells, dice("name"))
        if name is None:
            return [None]
        spoken_here = _weighted(self.languages or {"": 1.0}, cells[name], dice("language"))
        found = cells[name][spoken_here or ""]
        return [found[int(dice("caption") * len(found))]]


@dataclass(frozen=True)
class SubCaptions:
    """The raw caption, then k sub-captions drawn without repetition (DreamLIP, arXiv:2403.17007).

    The pool is every caption of the names in `of`, equal texts once, and not the raw one again.
    Where it has fewer than k, DreamLIP's code repeats some of them; here they are missing, so that
    no text counts twice. Its code also never draws the last sentence; here all are drawn.
    """

    k: int = 6
    of: tuple[str, ...] = ("sentence",)
    raw: str = "txt"
    unflagged: bool = False

    def __post_init__(self) -> None:
        check_whole(1, k=self.k)
        check_names("of", self.of)

    @property
    def places(self) -> int:
        return 1 + self.k

    def choose(self, texts: Sequence[Text], dice: Dice) -> list[Text | None]:
        raw = next((text for text in texts if self.raw in text.names), None)
        pool: dict[str, Text] = {}
        for text in texts:
            if not (self.unflagged and text.flags) and set(self.of) & set(text.names):
                pool.setdefault(text.text, text)
        pool.pop(raw.text if raw else "", None)
        chosen = shuffled([*pool.values()], dice)[: self.k]
        return [raw, *chosen, *[None] * (self.k - len(chosen))]


@dataclass(frozen=True)
class Languages:
    """A caption in each of these languages, in this order (1-to-K, CCRK, arXiv:2406.18254).

    Of several captions in a language one is drawn; `of` limits them to some names. With `k` that
    many of the languages that the picture has are drawn for it, and stay in this order.
    """

    languages: tuple[str, ...]
    k: int | None = None
    of: tuple[str, ...] | None = None
    unlabelled: str | None = None
    unflagged: bool = False

    def __post_init__(self) -> None:
        check_names("languages", self.languages)
        most = len(set(self.languages))
        if most < len(self.languages):
            raise ValueError(f"languages {self.languages!r} must be some tags, each once")
        if self.k is not None:
            check_whole(1, k=self.k)
            if self.k > most:
                raise ValueError(f"k {self.k} must be at most {most}, as there are languages")
        if self.of is not None:
            check_names("of", self.of)

    @property
    def places(self) -> int:
        return len(self.languages) if self.k is None else self.k

    def choose(self, texts: Sequence[Text], dice: Dice) -> list[Text | None]:
        spoken: dict[str, list[Text]] = {tag: [] for tag in self.languages}
        for text in texts:
            if self.unflagged and text.flags:
                continue
            if self.of is None or set(self.of) & set(text.names):
                tag = closest(_language(text, self.unlabelled), spoken)
                if tag is not None:
                    spoken[tag].append(text)
        drawn: list[Text | None] = [
            found[int(dice(f"caption-{tag}") * len(found))] if found else None
            for tag, found in spoken.items()
        ]
        if self.k is None:
            return drawn
        there = [place for place, text in enumerate(drawn) if text is not None]
        kept = [drawn[place] for place in sorted(shuffled(there, dice)[: self.k])]
        return [*kept, *[None] * (self.k - len(kept))]


@dataclass(frozen=True)
class Slots:
    """One caption of each name, in this order: the raw and the synthetic one for ALIP's loss."""

    names: tuple[str, ...]
    unflagged: bool = False

    def __post_init__(self) -> None:
        check_names("names", self.names)

    @property
    def places(self) -> int:
        return len(self.names)

    def choose(self, texts: Sequence[Text], dice: Dice) -> list[Text | None]:
        chosen: list[Text | None] = []
        for name in self.names:
            found = [t for t in texts if name in t.names and not (self.unflagged and t.flags)]
            chosen.append(found[int(dice(f"caption-{name}") * len(found))] if found else None)
        return chosen


def closest(language: str | None, known: Mapping[str, Any]) -> str | None:
    """The tag among `known` that a language falls under: its own, else the longest it begins with.

    As in RFC 4647 (lookup): `zh-Hans-CN` falls under `zh-Hans`, else `zh`. Case doesn't matter.
    """
    if language is None:
        return None
    tags = {tag.lower(): tag for tag in known}
    parts = language.lower().split("-")
    for length in range(len(parts), 0, -1):
        if "-".join(parts[:length]) in tags:
            return tags["-".join(parts[:length])]
    return None


def _language(text: Text, unlabelled: str | None) -> str | None:
    return unlabelled if text.language is None else text.language


def _weighted(weights: Mapping[str, float], there: Mapping[str, Any], at: float) -> str | None:
    """One of those that are there by weight; if only the weight 0 is left, the first of them."""
    usable = [name for name in weights if name in there]
    at *= sum(weights[name] for name in usable)
    heavy = [name for name in usable if weights[name] > 0]
    for name in heavy:
        at -= weights[name]
        if at < 0:
            return name
    return heavy[-1] if heavy else next(iter(usable), None)


def shuffled(items: Sequence[_Item], dice: Dice) -> list[_Item]:
    """All of them, in an order drawn."""
    order = sorted(range(len(items)), key=lambda n: (dice(f"order-{n}"), n))
    return [items[n] for n in order]
