"""Captions without any captioning model: what a classifier and a small encoder make of a picture.

It works offline, on a laptop, from models that pip packages ship, and it is no captioner: it names
one thing, or a kind of thing, in a plain sentence, as far as it is likely. It knows no scenes, no
actions and no counts, knows a thousand classes and some three hundred words, takes paintings for
photos and often one animal for another. Of the 333 pictures that the quickstart keeps 225 get a
caption; looked at one by one, 114 are right, 39 half right and 72 wrong. It is there so that
recipes run and can be tried; for training data take a model that writes captions.
"""

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from filters import embedded, vocabulary
from filters.caption import words
from recaption import captions, classes, english, looks
from recaption.captions import UNSURE, Caption, Row

Floats = embedded.Floats
Pixels = embedded.Pixels

KINDS = ("short", "long", "tags")
_SURE, _LIKELY = 0.65, 0.45
_TAG, _OTHER = 0.45, 0.1  # probabilities: of what is named, of what is listed
_MOST_TAGS = 5
_MOST_TEXT = 80  # characters of what is written in the picture
# How likely a word of the vocabulary is right by its cosine and by how far it is ahead of the next
# one: a logistic regression on 445 drawings that the encoder did not learn from.
_COSINE, _AHEAD, _START = 18.5, 8.6, -7.1
_NO_WORDS = """
winter spring summer autumn sunrise noon sunset midnight football basketball tennis golf baseball
hockey painting photograph cartoon logo diamond office spoon
"""
_BARE = """
coffee tea milk beer wine juice water bread cheese soup salad corn grass lightning stairs trousers
scissors
"""
_LEGIBLE = re.compile("[^\\W\\d_]{4}|[\u3040-\u30ff\u3400-\u9fff]{2}")
_ONLY = ("sun", "moon")


class Guess(NamedTuple):
    """A word for what a picture shows, and how likely it is right, roughly."""

    name: str
    likelihood: float


@dataclass(frozen=True)
class Concepts:
    """Plainly worded captions by rules, from tags and the nearest words: "A photo of a dog."

    The classifier (EfficientNet-Lite0, inside the embedded encoder) names the narrowest class or
    group of classes of which it is sure enough, and the encoder the word of `vocabulary.txt` that
    is nearest; the cosine of name and picture weighs what the classifier says, and decides alone
    where a drawing is recognised as one. `unsure` flags what is likely wrong in every second case;
    below that nothing is said, and a row without anything to say has no caption.

    `kinds` are those wanted: `short` names one thing; `long` adds measured main colours and, of
    the column `text` of words read in the picture (as `ocr_text`), the first; `tags` lists words,
    best first. A `text` is quoted in a short caption where nothing is recognised.
    """

    kinds: tuple[str, ...] = ("short",)
    text: str | None = None

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES
    image_request: ClassVar[int] = embedded.IMAGE_SIZE

    def __post_init__(self) -> None:
        if isinstance(self.kinds, str) or not self.kinds or not set(self.kinds) <= set(KINDS):
            raise ValueError(f"kinds is a list of {', '.join(KINDS)}; got {self.kinds!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image",) if self.text is None else ("image", self.text)

    @property
    def weights_digest(self) -> str:
        return _digest()

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing or not those meant."""
        embedded.image_features([np.zeros((1, 1, 3), np.uint8)])
        _vectors()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images: list[Pixels] = batch["image"]
        texts = [""] * len(images) if self.text is None else batch[self.text]
        features, logits = embedded.image_features(images)
        vectors = embedded.embed_features(features, logits, _heads())
        rows = zip(images, logits, vectors, texts, strict=True)
        return {captions.COLUMN: [self._captions(*row) for row in rows]}

    def _captions(self, image: Pixels, logits: Floats, vector: Floats, text: str) -> list[Row]:
        kind = looks.kind(image)
        colour = looks.plain(image)
        found = guesses(logits, vector, kind) if colour is None else []
        said = legible(text)
        flags: list[str] = []
        if colour is not None:
            short = f"A plain {colour} picture."
        elif found and found[0].likelihood >= _LIKELY:
            short = f"A {kind} of {with_article(found[0].name)}."
            flags = [] if found[0].likelihood >= _SURE else [UNSURE]
        elif said:
            short = f'A {kind} with the text "{said}".'
        else:
            return []
        shown = looks.colours(image) if colour is None else []
        told = {
            "short": short,
            "long": long_caption(short, shown, "" if f'"{said}"' in short else said),
            "tags": ", ".join(guess.name for guess in found[:_MOST_TAGS]),
        }
        return captions.rows(_caption(told[k], k, flags) for k in self.kinds if told[k])


def _caption(text: str, kind: str, flags: Sequence[str]) -> Caption:
    model = f"concepts@{_digest()[:12]}"
    return Caption(text, "en", kind=kind, model=model, tokens=len(words(text)), flags=tuple(flags))


def guesses(logits: Floats, vector: Floats, kind: looks.Kind) -> list[Guess]:
    """Words for what a picture shows, likeliest first, from its logits and its unit vector.

    The first is the one to name; those after it are not said to be seen at once, but may be.
    """
    near = _nearest(vector)
    tagged = [tag.name for tag in classes.tags(logits, _TAG)]
    found = {near.name: near.likelihood}
    if tagged:
        name = tagged[0]
        likelihood = _of_tag(name, logits, vector, kind)
        if _agree(name, near.name):  # the classifier's word is the narrower one
            likelihood = max(likelihood, near.likelihood)
            found = {}
        found[name] = likelihood
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    others = [tag for tag in classes.tags(logits, _OTHER) if tag.name not in found]
    weighed = [Guess(t.name, _of_tag(t.name, logits, vector, kind)) for t in others]
    listed = [guess for guess in weighed if guess.likelihood >= _OTHER]
    kept = [Guess(*item) for item in best if item[1] >= _OTHER or item == best[0]]
    first, rest = kept[:1], kept[1:] + listed
    return first + sorted(rest, key=lambda guess: (-guess.likelihood, guess.name))


def legible(text: str) -> str:
    """The lines of what was read in a picture that are likely words, as one to be quoted.

    A line needs four letters in a row, or two signs of Han or Kana: shorter ones are mostly
    readings of ornaments.
    """
    lines = [" ".join(line.split()) for line in text.splitlines()]
    whole = " ".join(line for line in lines if _LEGIBLE.search(line))
    return whole[:_MOST_TEXT].strip().replace('"', "'")


def long_caption(short: str, colours: Sequence[str], text: str) -> str:
    """A short caption with sentences on measured colours and on what is written in the picture."""
    sentences = [short]
    if colours:
        sentences.append(f"The picture is mainly {' and '.join(colours)}.")
    if text:
        sentences.append(f'The text "{text}" can be read.')
    return " ".join(sentences)


def with_article(name: str) -> str:
    """A name as it stands in a sentence: "an owl", "the sun", "scissors"."""
    if name in _ONLY:
        return f"the {name}"
    if name in _BARE.split() or not classes.has_article(name):
        return name
    return english.with_article(name)


def _of_tag(name: str, logits: Floats, vector: Floats, kind: looks.Kind) -> float:
    """How likely the classifier's word is right, given the encoder's cosine with it.

    On 133 drawings the classifier's words were right in 90 of 100 cases with a cosine of .4, in 3
    below .3; so it is not asked there. Of photos it takes a low cosine to doubt it.
    """
    cosine = float(_vectors()[name] @ vector)
    if kind == "drawing":
        return _logistic(_COSINE * cosine + _START)
    tag = next(tag for tag in classes.tags(logits, 0) if tag.name == name)
    return tag.probability * min(1.0, max(0.0, (cosine - 0.1) / 0.2))


def _nearest(vector: Floats) -> Guess:
    """The word of the vocabulary that is nearest to a picture."""
    listed, cosines = _vocabulary(), _matrix() @ vector
    first, second = np.argsort(-cosines, kind="stable")[:2]
    ahead = cosines[first] - cosines[second]
    likelihood = _logistic(_COSINE * cosines[first] + _AHEAD * ahead + _START)
    return Guess(listed[first], likelihood)


def _logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _agree(tag: str, word: str) -> bool:
    """Whether a name of the classifier is the word or a kind of it."""
    return any(word in group.split() for group in classes.groups_of(tag) | {tag})


@functools.cache
def _digest() -> str:
    parts = [embedded.weights_digest(), classes.digest(), vocabulary.digest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@functools.cache
def _vocabulary() -> tuple[str, ...]:
    things = (vocabulary.forms(e)[0] for line in vocabulary.lines("things") for e in line)
    return tuple(sorted(set(things) - set(_NO_WORDS.split())))


@functools.cache
def _matrix() -> Floats:
    return np.stack([_vectors()[word] for word in _vocabulary()])


@functools.cache
def _heads() -> dict[str, Floats]:
    return embedded.read_heads()


@functools.cache
def _vectors() -> dict[str, Floats]:
    """The encoder's vector of every word that may be said."""
    listed = sorted({*_vocabulary(), *classes.names()})
    return dict(zip(listed, embedded.encode_texts(listed), strict=True))
