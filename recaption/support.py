"""What captions name that nobody sees: things that neither experts nor an encoder find.

A caption's sentences are looked at one by one, and in them the things they name, in English. It
says nothing of properties, numbers, actions and relations, nor of things it has no word for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from filters import foreign, judging, vocabulary
from filters.clip import EMBEDDED, ClipScore, Floats, clip_of
from filters.estimates import NOTHING, Estimate, Given, Held
from filters.served import Server
from recaption import captions, classes, rewriting, sentences
from recaption.asking import Writer
from recaption.captions import Row
from recaption.rewriting import Rewriter
from recaption.sightings import Place, Sentence, english_text, judge, usual_vectors, witnesses

UNSUPPORTED, MENDED = "unsupported", "mended"
DELETE, REWRITE = "delete", "rewrite"
MENDS = (DELETE, REWRITE)
_OF_REWRITE = ("llm", "llm_revision", "server", "margin", "text_tokens", "max_tokens")


@dataclass(frozen=True)
class Supported:
    """The captions of `of`, with the flag `unsupported` where one names a thing that nobody sees.

    A thing is seen where a column of `experts` (tags, text read in the picture, captions without
    the flag `unsure`) names it or a kind of it, or where the encoder's cosine of thing and
    picture is at least `threshold` standard deviations above the mean of some 290 usual things in
    the same picture. Captions said to be in another language than English are not looked at. A row
    in which a column of `experts` is NULL is not asked.

    With `mend: delete` a caption with unsupported and other sentences is followed by a copy
    without the former, of kind `mended`, if the cosine of picture and text rises by it. The
    original stays. The model's parameters are those of `clip`.

    With `mend: rewrite` an LLM, `llm` (`local-dir:PATH`, or a name of the hub with `llm_revision`)
    or a `server` as for `captioner`, is given each such caption and the things without support, and
    writes it again without them. The copy has kind `mended`, origin `rewritten`, and says model,
    prompt and tokens. It is taken if `recaption.rewriting.problem_of` finds nothing against it, if
    none of its things lacks support, and if the cosine rises by more than `margin`. Else the
    sentences are deleted as above, and the original is flagged with why: `rewrite_` and that
    word, `unsupported`, `no_gain` or `failed`. Captions longer than `text_tokens` are not asked
    about.

    The default threshold was chosen on 260 drawings: three in four things of another drawing are
    below it, one in fifty of their own. Photos are harder: of 202 captions of the quickstart, each
    with a sentence of another one planted, it finds 78 % of the planted sentences and takes 27 % of
    the right ones for wrong; 52 % are mended to their own sentence, 3 % to the planted one.
    """

    of: str = "caption"
    experts: tuple[str, ...] = ()
    threshold: float = 0.5
    mend: str | None = None
    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    batch_size: int = 32
    llm: str | None = None
    llm_revision: str | None = None
    server: Server | Mapping[str, Any] | None = None
    margin: float = 0.005
    text_tokens: int = 384
    max_tokens: int = 384

    version: ClassVar[int] = 3  # an answer's words must be the caption's
    needs: ClassVar[dict[str, str]] = {"of": "text", "experts": "findings"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        if self.mend is not None and self.mend not in MENDS:
            raise ValueError(f"mend is {' or '.join(MENDS)}; got {self.mend!r}")
        if not 0 <= self.margin < 2:
            raise ValueError(f"margin must be at least 0 and below 2, got {self.margin}")
        if self.mend != REWRITE:
            foreign.refuse(self, _OF_REWRITE, "without `mend: rewrite` it")
        elif (self.llm is None) == (self.server is None):
            raise ValueError("mend: rewrite needs `llm`, a model that runs here, or `server`")
        else:
            limits = (self.text_tokens, self.max_tokens)
            asked = Rewriter(self.llm, self.llm_revision, self.server, *limits)
            object.__setattr__(self, "server", asked.server)
        _check(self)
        object.__setattr__(self, "precision", clip_of(self).precision)  # `auto` is settled there

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", *dict.fromkeys((self.of, *self.experts)))

    @property
    def image_request(self) -> int:
        return clip_of(self).image_request

    @property
    def device(self) -> str:
        devices = {clip_of(self).device, *(w.device for w in self._writers)}
        return "cuda" if "cuda" in devices else "cpu"

    @property
    def at_once(self) -> int:
        """Calls that may be under way: of a server so many that it never waits for the next."""
        return judging.at_once(self)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values."""
        own = {**_identity(self), "of": self.of, "mend": self.mend}
        if self.mend == REWRITE:
            own["by"] = [self.margin, self._rewriter.identity]
        return own

    @property
    def weights_digest(self) -> str:
        more = [str(writer.weights_digest) for writer in self._writers]
        return " ".join([clip_of(self).weights_digest, *more])

    def keep_in(self, folder: str) -> None:
        """Keep a server's answers there, so that none is asked for twice."""
        for writer in self._writers:
            writer.keep_in(folder)

    def estimate(self, rows: int) -> Estimate:
        """What so many rows would cost if each had one caption to rewrite; see `captioner`."""
        return NOTHING if self.mend != REWRITE else self._rewriter.estimate(rows)

    def writes_at_most(self, rows: int, given: Given, sentence: int) -> Held | None:
        """What it is given, and a copy of each caption that is no longer."""
        held, copies = given.get(self.of), 1 if self.mend is None else 2
        return None if held is None else (copies * held[0], copies * held[1])

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        usual_vectors(clip_of(self))
        for writer in self._writers:
            writer.prepare()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [captions.texts(value) for value in batch[self.of]]
        clip = clip_of(self)
        pictures = clip.encode_images(batch["image"])
        seen = witnesses(batch, self.experts)
        texts = [[english_text(row) for row in captions_] for captions_ in rows]
        judged = judge(clip, pictures, texts, seen)
        places = [
            Place(number, row, tuple(parts))
            for number, (own, found) in enumerate(zip(rows, judged, strict=True))
            for row, parts in zip(own, found, strict=True)
        ]
        mended = self._mended(places, pictures, seen)
        return {captions.COLUMN: _by_row(places, mended, len(rows))}

    def _mended(
        self, places: Sequence[Place], pictures: Floats, seen: Sequence[frozenset[str]]
    ) -> list[list[Row] | Exception]:
        """For each caption what stands in its place: itself, flagged or not, and a mended copy."""
        poor = [place for place in places if not place.is_supported(self.threshold)]
        rewritten = iter(self._rewritten(poor, pictures, seen) if self.mend == REWRITE else poor)
        found: list[list[Row] | Exception] = []
        for place in places:
            if place.is_supported(self.threshold):
                found.append([place.caption])
                continue
            new = next(rewritten)
            if isinstance(new, Exception):
                found.append(new)
                continue
            flagged = captions.flagged(place.caption, UNSUPPORTED)
            if isinstance(new, str):
                flagged = captions.flagged(flagged, f"rewrite_{new}")
            is_new = isinstance(new, Mapping)
            copy = [new] if is_new else self._deleted(place, pictures[place.row])
            found.append([flagged, *copy])
        return found

    def _deleted(self, place: Place, picture: Floats) -> list[Row]:
        """A copy without the sentences that lack support, if something is left and it gains."""
        kept = place.kept(self.threshold)
        if self.mend is None or not kept or not self._gain(place, kept, picture) > 0:
            return []
        return [{**place.caption, "text": kept, "kind": MENDED, "tokens": None}]

    def _rewritten(
        self, places: Sequence[Place], pictures: Floats, seen: Sequence[frozenset[str]]
    ) -> list[Row | str | Exception]:
        """What a model made of each caption, or why that is not taken; errors that may pass."""
        wanted = [place.wanted(self.threshold) for place in places]
        found: list[Row | str | Exception] = []
        for place, new in zip(places, self._rewriter.write(wanted), strict=True):
            if isinstance(new, Exception):
                found.append(new if getattr(new, "retriable", False) else "failed")
            elif isinstance(new, str):
                found.append(new)
            else:
                picture, words = pictures[place.row], seen[place.row]
                problem = self._problem(place, str(new["text"]), picture, words)
                found.append(problem or rewriting.mended(place.caption, new, MENDED))
        return found

    def _problem(
        self, place: Place, text: str, picture: Floats, seen: frozenset[str]
    ) -> str | None:
        """Why a text does not fit the picture better than the caption did; None if it does."""
        ((parts,),) = judge(clip_of(self), picture[None], [[text]], [seen])
        if not all(part.is_supported(self.threshold) for part in parts):
            return UNSUPPORTED
        return None if self._gain(place, text, picture) > self.margin else "no_gain"

    def _gain(self, place: Place, text: str, picture: Floats) -> float:
        """By how much the cosine of picture and text is higher than the caption's."""
        old, new = clip_of(self).encode_texts([place.caption["text"] or "", text]) @ picture
        return float(new) - float(old)

    @property
    def _rewriter(self) -> Rewriter:
        assert self.server is None or isinstance(self.server, Server)
        limits = (self.text_tokens, self.max_tokens)
        return rewriter_of(self.llm, self.llm_revision, self.server, *limits)

    @property
    def _writers(self) -> tuple[Writer, ...]:
        return (self._rewriter.writer,) if self.mend == REWRITE else ()


@dataclass(frozen=True)
class Support:
    """How well a picture supports what a text says: the numbers behind the flag `unsupported`.

    `support_things` are the things that it names, `support_values` how far each is above usual
    things in the picture, in standard deviations (9 where an expert names it), `support_min` the
    lowest of them, and `unsupported_sentences` the share of the sentences with things in which
    one is below `threshold`. All are NULL for a text without things. With a column of
    `sub_captions` as `text` each sentence has numbers of its own. Parameters are those of
    `supported`.
    """

    text: str = "caption"
    experts: tuple[str, ...] = ()
    threshold: float = 0.5
    model: str = EMBEDDED
    pretrained: str | None = None
    preprocess_tag: str | None = None
    sha256: str | None = None
    precision: str = "auto"
    batch_size: int = 32

    version: ClassVar[int] = 2  # detectors are experts
    needs: ClassVar[dict[str, str]] = {"text": "text", "experts": "findings"}
    writes: ClassVar[pa.Schema] = pa.schema(
        [
            ("support_min", pa.float32()),
            ("support_things", pa.list_(pa.string())),
            ("support_values", pa.list_(pa.float32())),
            ("unsupported_sentences", pa.float32()),
        ]
    )

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "precision", clip_of(self).precision)  # `auto` is settled there

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image", *dict.fromkeys((self.text, *self.experts)))

    @property
    def image_request(self) -> int:
        return clip_of(self).image_request

    @property
    def device(self) -> str:
        return clip_of(self).device

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the values."""
        return {**_identity(self), "text": self.text}

    @property
    def weights_digest(self) -> str:
        return clip_of(self).weights_digest

    def prepare(self) -> None:
        """Load the weights. Raises when they are missing, damaged or not those meant."""
        usual_vectors(clip_of(self))

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        clip = clip_of(self)
        pictures = clip.encode_images(batch["image"])
        texts = [[text] for text in batch[self.text]]
        judged = judge(clip, pictures, texts, witnesses(batch, self.experts))
        rows = [self._row(own[0]) for own in judged]
        return {name: [row[name] for row in rows] for name in self.writes.names}

    def _row(self, parts: list[Sentence]) -> dict[str, Any]:
        judged = [part for part in parts if part.support]
        lowest: dict[str, float] = {}
        for part in judged:
            lowest |= part.support
        if not lowest:
            return dict.fromkeys(self.writes.names)
        unsupported = sum(not part.is_supported(self.threshold) for part in judged)
        return {
            "support_min": min(lowest.values()),
            "support_things": list(lowest),
            "support_values": list(lowest.values()),
            "unsupported_sentences": unsupported / len(judged),
        }


def _check(scorer: Any) -> None:
    if isinstance(scorer.experts, str):
        raise ValueError(f"experts is a list of columns, got {scorer.experts!r}")
    if not np.isfinite(scorer.threshold):
        raise ValueError(f"threshold must be a finite number, got {scorer.threshold}")


def _identity(scorer: Any) -> dict[str, Any]:
    own = {"experts": list(scorer.experts), "threshold": scorer.threshold}
    lists = [classes.digest(), vocabulary.digest(), sentences.VERSION]
    return {**clip_of(scorer).identity, **own, "lists": lists, "clip": ClipScore.version}


@lru_cache(maxsize=8)
def rewriter_of(
    llm: str | None, revision: str | None, server: Server | None, text_tokens: int, max_tokens: int
) -> Rewriter:
    """The model that captions are given to; once per process, as it holds what is loaded."""
    return Rewriter(llm, revision, server, text_tokens, max_tokens)


def _by_row(
    places: Sequence[Place], found: Sequence[list[Row] | Exception], count: int
) -> list[list[Row] | Exception]:
    """What stands in place of the captions of each row, or the error of one of them."""
    rows: list[list[Row] | Exception] = [[] for _ in range(count)]
    for place, new in zip(places, found, strict=True):
        known = rows[place.row]
        if isinstance(known, list):
            rows[place.row] = new if isinstance(new, Exception) else [*known, *new]
    return rows
