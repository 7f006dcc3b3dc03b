"""Asking a judge about the captions that are nearest to each image, and keeping what it said.

Every answer is on disk before the next batch is asked for, so that a run that was killed asks for
none of them again. A judge that can't be reached ends the run; a pair to which it has no answer is
told of and left out.
"""

import logging
import math
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import decoding, storage
from pipeline.catalog import scorer_class
from pipeline.contract import described, interface, is_retriable, type_problem
from pipeline.errors import CurationError, RecipeError
from pipeline.instances import FIELDS, fingerprint, known_parameters
from pipeline.keys import digest, draw_bits
from pipeline.recipe_errors import unknown_word
from pipeline.reward.config import RewardConfig, TeacherOptions
from pipeline.reward.encoders import FOLDER
from pipeline.reward.images import ImagePlaces, find_images
from pipeline.reward.table import Names, Table
from pipeline.reward.teacher import Answers, true_pairs
from pipeline.score_memory import is_out_of_memory

_LOG = logging.getLogger(__name__)
Pair = tuple[str, str]
Answer = tuple[float | None, str | None]
"""A score, or why there is none."""
_BATCH = 64
_BLOCK = 256  # images whose cosines are computed at once
_POISON = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a scorer raises over a sample that it can't score."""


@dataclass(frozen=True)
class Judge:
    """A scorer that reads an image and a text, and the column that is its answer."""

    name: str
    scorer: Any
    column: str

    @property
    def text(self) -> str:
        """What the scorer calls the text."""
        (name,) = (name for name in self.scorer.reads if name != "image")
        return str(name)

    @property
    def prompt(self) -> str:
        """Names all that its answers depend on: class, version, parameters, weights, decoder."""
        return fingerprint(self.scorer, {}, str(decoding.DECODER_VERSION))

    def ready(self, folder: str) -> None:
        """Load what it needs; what it pays for may be kept in the folder."""
        if hasattr(self.scorer, "keep_in"):
            self.scorer.keep_in(folder)
        if hasattr(self.scorer, "prepare"):
            self.scorer.prepare()

    def answers(self, images: list[Any], texts: list[str]) -> list[Answer]:
        """What it says of pairs; a batch that it can't take is halved.

        Raises what it raises when memory runs out or nobody answers.
        """
        try:
            found = self.scorer({"image": images, self.text: texts})
        except _POISON as error:
            if is_out_of_memory(error) or is_retriable(error):
                raise
            if len(texts) == 1:
                return [(None, _reason(error))]
            middle = len(texts) // 2
            first = self.answers(images[:middle], texts[:middle])
            return first + self.answers(images[middle:], texts[middle:])
        firsts = found[self.scorer.writes.names[0]]
        return [_answer(*one) for one in zip(firsts, found[self.column], strict=True)]


def _answer(first: Any, value: Any) -> Answer:
    """`first` is an exception where a scorer gives a reason in place of values."""
    if isinstance(first, Exception):
        if is_retriable(first):
            raise first
        return None, _reason(first)
    if value is None:
        return None, "no value"
    score = float(value)
    return (score, None) if math.isfinite(score) else (None, f"{score} is no answer")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def judge_of(config: RewardConfig) -> Judge | None:
    """The judge that a configuration names. Raises RecipeError before anything is loaded."""
    options = None if config.teacher is None else config.teacher.judge
    if options is None:
        return None
    at = ("teacher", "judge")
    params = dict(options.__pydantic_extra__)
    try:
        kind = scorer_class(options.scorer)
        for name, value in params.items():
            known = known_parameters(kind)
            problem = type_problem(kind, name, _frozen(value))
            if name not in known:
                problem = unknown_word("parameter", name, known)
            if problem is not None:
                raise config.error(f"teacher.judge: {problem}", *at, name)
        scorer = kind(**{name: _frozen(_located(config, value)) for name, value in params.items()})
        reads, writes = interface(scorer)
    except RecipeError as error:
        raise error if error.where else config.error(error.message, *at, "scorer") from error
    except (ValueError, TypeError) as error:
        raise config.error(f"teacher.judge: {described(error)}", *at) from error
    texts = [name for name in reads if name not in FIELDS]
    if "image" not in reads or len(reads) != 2 or len(texts) != 1:
        message = f"{options.scorer} reads {', '.join(reads)}; a judge reads an image and a text"
        raise config.error(f"teacher.judge: {message}", *at, "scorer")
    return Judge(options.scorer, scorer, _column(config, writes))


def _column(config: RewardConfig, writes: pa.Schema) -> str:
    teacher = config.teacher
    column = None if teacher is None or teacher.judge is None else teacher.judge.column
    numbers = [one.name for one in writes if _is_number(one.type)]
    if column is None and writes.names[0] in numbers:
        return str(writes.names[0])
    if column is not None and column in numbers:
        return column
    problem = unknown_word("number", str(column), numbers)
    raise config.error(f"teacher.judge.column: {problem}", "teacher", "judge")


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_floating(type_) or pa.types.is_integer(type_))


def _located(config: RewardConfig, value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FOLDER):
        return FOLDER + config.resolve(value.removeprefix(FOLDER))
    return value


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def candidates(
    table: Table, names: Names, parts: Mapping[str, int], options: TeacherOptions
) -> list[Pair]:
    """For every image asked about the texts of its part with the highest cosines, nearest first.

    What the preferences call the best of an image is no negative of it.
    """
    used = np.concatenate([table.better, table.worse])
    part_of = np.array([parts[name] for name in names.images])
    asked = sorted(
        np.unique(used[:, 0]).tolist(),
        key=lambda n: (draw_bits(_bytes(names.images[n]), 0, "reward-judge"), n),
    )[: options.anchors]
    true = true_pairs(table)
    found: list[Pair] = []
    for part in range(3):
        texts = np.unique(used[part_of[used[:, 0]] == part, 1])
        images = np.array(sorted(n for n in asked if part_of[n] == part), np.int64)
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            cosines = table.images[block] @ table.texts[texts].T
            codes = block[:, None] * len(names.texts) + texts
            cosines[np.isin(codes, true)] = -np.inf
            for image, row in zip(block, cosines, strict=True):
                nearest = np.lexsort((texts, -row))[: options.hard]
                kept = texts[nearest[np.isfinite(row[nearest])]]
                found += [(names.images[image], names.texts[number]) for number in kept]
    return found


def ask(
    judge: Judge, pairs: Sequence[Pair], places: ImagePlaces, folder: str
) -> tuple[Answers, Counter[str]]:
    """The judge's answers to the pairs, and how often it had none, by reason.

    `folder` keeps them by image bytes, text and judge. Raises CurationError when it fails.
    """
    texts: dict[str, list[str]] = {}
    for image, text in pairs:
        texts.setdefault(image, []).append(text)
    size = max(1, getattr(judge.scorer, "batch_size", None) or _BATCH)
    request = getattr(judge.scorer, "image_request", None)
    known: dict[Pair, Answer] = {}
    is_ready = False
    _LOG.info("the judge %s: %d pairs, those answered before among them", judge.name, len(pairs))
    with closing(Store(storage.join(folder, "answers.sqlite"))) as store:
        waiting = _waiting(judge, store, find_images([*texts], places, request), (texts, known))
        while batch := list(islice(waiting, size)):
            if not is_ready:
                judge.ready(folder)
                is_ready = True
            try:
                answers = judge.answers([one[2] for one in batch], [one[1][1] for one in batch])
            except Exception as error:
                raise CurationError(f"the judge {judge.name}: {_reason(error)}") from error
            store.keep({one[0]: answer for one, answer in zip(batch, answers, strict=True)})
            known |= {one[1]: answer for one, answer in zip(batch, answers, strict=True)}
    lost = Counter(reason for _, reason in known.values() if reason is not None)
    scores = {pair: known[pair][0] for pair in pairs if pair in known}
    given = {pair: score for pair, score in scores.items() if score is not None}
    return Answers(f"{judge.name}.{judge.column}", judge.prompt, given), lost


def _waiting(
    judge: Judge,
    store: "Store",
    images: Iterator[Any],
    of: tuple[Mapping[str, list[str]], dict[Pair, Answer]],
) -> Iterator[tuple[bytes, Pair, Any]]:
    """Key, pair and pixels of what is not answered; what is goes to the known ones."""
    texts, known = of
    who = f"{judge.name} {judge.column} {judge.prompt}".encode()
    for image in images:
        own = texts[image.reference]
        keys = [digest(image.name, _bytes(text), who) for text in own]
        stored = store.recall(keys)
        for key, text in zip(keys, own, strict=True):
            if key in stored:
                known[image.reference, text] = stored[key]
            elif not isinstance(image.pixels, str):
                yield key, (image.reference, text), image.pixels


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Store:
    """Answers in a file of SQLite. A class because it holds the connection.

    A batch is on disk when `keep` returns. Raises CurationError when the file is damaged.
    """

    def __init__(self, path: str) -> None:
        if not storage.is_local(path):
            raise CurationError(f"{path}: answers of a judge are kept in a local folder only")
        local = storage.local(path)
        os.makedirs(os.path.dirname(local), exist_ok=True)
        self._path = path
        self._connection = sqlite3.connect(local, timeout=30)
        self._run("create table if not exists answers (key blob primary key, score, reason)")

    def recall(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        marks = ",".join("?" * len(keys))
        rows = self._run(f"select key, score, reason from answers where key in ({marks})", keys)
        return {key: (score, reason) for key, score, reason in rows}

    def keep(self, answers: Mapping[bytes, Answer]) -> None:
        with self._connection:
            for key, answer in answers.items():
                self._run("insert or replace into answers values (?, ?, ?)", (key, *answer))

    def close(self) -> None:
        self._connection.close()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, tuple(values)).fetchall()
        except sqlite3.DatabaseError as error:
            message = f"{self._path}: {error}; if it is damaged, remove it and run again"
            raise CurationError(message) from None
