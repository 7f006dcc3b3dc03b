"""Sentences from class labels, by templates and a user's own words for each class.

What SCOLD does for leaf diseases and DCAR for scenes: the label alone is no caption, but a name in
plain words, and what experts say such a class looks like, are.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import pyarrow as pa

from filters import files
from recaption import captions, english, languages
from recaption.captions import LABELLED, Caption

TEMPLATES = ("a photo of {a_name}", "a picture that shows {a_name}", "{a_name}")
FROM_NAME = "file name"
_PROMPT = "label/1"
_ARTICLES = ("a ", "an ", "the ")
_NUMBERED = re.compile(r"[ _-]*\d+$")
_PLACES = ("{name}", "{names}", "{a_name}", "{label}")


@dataclass(frozen=True)
class LabelCaptions:
    """Captions of kind `short` from a class label, one for each template and each description.

    `of` is the column of the label; `label: file name` takes it out of a file's name or path in
    that column: `airport_12.jpg` is `airport`. `vocabulary` is a JSON file beside the recipe:
    of each label a name, or `{"name": …, "descriptions": […]}`, each description a sentence that
    may use `{name}`. `templates` use `{name}`, `{names}` (the plural), `{a_name}` or `{label}`.
    A label that the vocabulary lacks is used as it is with `unknown: label`, and gives no captions
    with `unknown: nothing`. In a column of captions each is a label.
    """

    of: str = "caption"
    label: str = "text"
    templates: tuple[str, ...] = TEMPLATES
    vocabulary: str | None = None
    unknown: str = "label"
    language: str = "en"
    version: ClassVar[int] = 2  # a name with an article gets no other one
    needs: ClassVar[dict[str, str]] = {"of": "text"}
    writes: ClassVar[pa.Schema] = captions.WRITES

    def __post_init__(self) -> None:
        for name, known in (("label", ("text", FROM_NAME)), ("unknown", ("label", "nothing"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r}: known are {', '.join(known)}")
        if not self.templates:
            raise ValueError("templates: give at least one")
        languages.language(self.language)  # raises for one that is not known
        for template in self.templates:
            if not any(place in template for place in _PLACES):
                raise ValueError(f"template {template!r} has none of {', '.join(_PLACES)}")
            _filled(template, "label", "name")
        if self.vocabulary is not None:
            _words_of(self.vocabulary)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "of": self.of,
            "label": self.label,
            "templates": list(self.templates),
            "unknown": self.unknown,
            "language": self.language,
        }

    @property
    def weights_digest(self) -> str | None:
        return None if self.vocabulary is None else files.digest(self.vocabulary)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = [
            captions.rows(
                Caption(english.sentence(text), self.language, LABELLED, kind, prompt=_PROMPT)
                for label in captions.texts(value)
                for text, kind in self._texts(label["text"] or "")
            )
            for value in batch[self.of]
        ]
        return {captions.COLUMN: found}

    def _texts(self, value: str) -> dict[tuple[str, str], None]:
        """Each caption with its kind, once."""
        label = class_of(value) if self.label == FROM_NAME else value.strip()
        known = {} if self.vocabulary is None else _words_of(self.vocabulary)
        if not label or (label not in known and self.unknown == "nothing"):
            return {}
        name, descriptions = known.get(label, (_plain(label), ()))
        short = [(_filled(template, label, name), "short") for template in self.templates]
        long = [(_filled(text, label, name), "description") for text in descriptions]
        return dict.fromkeys([*short, *long])


def class_of(name: str) -> str:
    """The class in a file's name, as PriorCLIP has it: letters before the last number.

    `data/airport_12.jpg`: `airport`; one that is in no name of its own is that of the folder:
    `airport/12.jpg`.
    """
    folder, short = posixpath.split(posixpath.splitext(name)[0])
    return _NUMBERED.sub("", short) or _NUMBERED.sub("", posixpath.basename(folder))


def _plain(label: str) -> str:
    """`tennisCourt` and `tennis_court` as words."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return " ".join(re.sub(r"[_\-/]+", " ", parted).split()).lower()


def _filled(template: str, label: str, name: str) -> str:
    has_article = name.lower().startswith(_ARTICLES)
    words = {
        "name": name,
        "names": english.plural(name),
        "a_name": name if has_article else english.with_article(name),
        "label": label,
    }

    def word(found: re.Match[str]) -> str:
        if found[1] not in words:
            raise ValueError(f"template {template!r}: knows {', '.join(_PLACES)} alone")
        return words[found[1]]

    return re.sub(r"\{([^{}]*)\}", word, template)


@lru_cache(maxsize=8)
def _words_of(path: str) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """The name and the descriptions of each label. Raises ValueError for a file of another kind."""
    found = {}
    for label, said in files.read_json(path).items():
        entry = {"name": said} if isinstance(said, str) else said
        name = entry.get("name") if isinstance(entry, dict) else None
        listed = entry.get("descriptions", []) if isinstance(entry, dict) else None
        is_list = isinstance(listed, list) and all(isinstance(text, str) for text in listed)
        if not isinstance(name, str) or not name.strip() or not is_list:
            raise ValueError(f'{path}: {label!r} must be a name or {{"name", "descriptions"}}')
        found[label] = (name.strip(), tuple(listed or ()))
        for text in found[label][1]:
            _filled(text, label, name)
    return found
