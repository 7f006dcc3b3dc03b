"""Pools of coloured pictures whose captions name a colour: the right one, or another."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.build import Build
from pipeline.recipe import parse_recipe
from tests import conftest, pictures

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (30, 60, 200),
    "yellow": (240, 220, 40),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
WRONG = dict(zip(COLOURS, ["blue", "black", "yellow", "white", "green", "red"], strict=True))


def picture(colour: str, seed: int) -> bytes:
    """A plain sheet with some grain."""
    dice = np.random.default_rng([seed, *colour.encode()])
    pixels = np.array(COLOURS[colour]) + dice.integers(-8, 9, (64, 64, 3))
    sheet = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return pictures.saved(sheet, "PNG")


def write_pool(folder: Path, trusted: int = 6, anchors: int = 4, *, wrong: bool = False) -> Path:
    """A pool of pictures `t…` and `a…`; those of the first kind may bear wrong colours."""
    for kind, count in (("t", trusted), ("a", anchors)):
        for colour in COLOURS:
            for number in range(count):
                named = WRONG[colour] if wrong and kind == "t" else colour
                name = f"{kind}{number}_{colour}"
                seed = number + (100 if kind == "a" else 0)
                conftest.write_pair(
                    folder / "photos", name, picture(colour, seed), f"the colour {named}"
                )
    recipe = "sources:\n  photos: {folder: photos/}\nscore:\n  caption: {}\n"
    text = f"{recipe}ingest: {{rows_per_shard: 16}}\n"
    build = Build(parse_recipe(text, str(folder / "recipe.yaml")), str(folder / "build"))
    for verb in ("ingest", "score", "select", "export"):
        getattr(build, verb)()
    return folder / "build"
