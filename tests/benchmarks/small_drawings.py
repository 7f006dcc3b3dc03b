"""Small pictures with captions, each a concept of its own, for tests of what learns from them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from benchmarks.embedded.heads import Lesson
from benchmarks.reward.drawings import Maker
from filters import embedded
from tests.pictures import photo

COUNT = 60
_NOUNS = ("cat", "dog", "tree", "boat", "star", "cup", "fish", "hat")
_COLOURS = ("red", "blue", "green", "old", "small")


def drawings(folder: Path) -> tuple[Maker, list[Lesson]]:
    """What makes tables of them, and what may be learnt from."""
    lessons, pairs, images = [], [], []
    for n in range(COUNT):
        images.append(photo(n, (32, 32)))
        Image.fromarray(images[-1]).save(folder / f"{n}.png")
        pairs.append(SimpleNamespace(source="test", path=f"{n}.png"))
        word = _NOUNS[n % len(_NOUNS)] + _NOUNS[n // len(_NOUNS)]
        told = f"{_COLOURS[n % len(_COLOURS)]} {word}", (f"ein {word}",), ("thing",)
        lessons.append(Lesson(n, n, *told))
    features, logits = embedded.image_features(images)
    bench: Any = SimpleNamespace(pairs=pairs, features=features, logits=logits)
    return Maker(folder, bench), lessons
