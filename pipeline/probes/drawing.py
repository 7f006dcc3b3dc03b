"""Pictures that are drawn for a probe: coloured shapes in places, in sizes, with words.

The same scene has the same pixels on every run; scenes are small data, drawn when they are read.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from pipeline.keys import draw
from pipeline.probes import produce

SIDE = 224
_FINE = 3  # drawn so many times larger and then averaged, for smooth edges
COLOURS = {
    "red": (206, 32, 41),
    "blue": (33, 82, 196),
    "green": (34, 139, 58),
    "yellow": (246, 205, 28),
    "orange": (240, 128, 24),
    "purple": (118, 47, 158),
}
PAPERS = ((255, 255, 255), (243, 243, 240), (236, 241, 246), (246, 240, 229))
_INK = (20, 20, 20)
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Thing:
    """A shape in a colour, or a thing of `produce` in its own; middle and size from 0 to 1."""

    shape: str
    colour: str
    x: float = 0.5
    y: float = 0.5
    size: float = 0.5


@dataclass(frozen=True)
class Scene:
    """Things on paper, the later ones above, and maybe a word on a label over the middle."""

    things: tuple[Thing, ...]
    paper: int = 0
    word: str = ""

    @property
    def name(self) -> str:
        things = ", ".join(
            f"{t.colour} {t.shape} {t.x:.3f} {t.y:.3f} {t.size:.3f}" for t in self.things
        )
        return f"drawn {self.paper}: {things} {self.word}".rstrip()

    def read(self) -> bytes:
        """The picture as PNG."""
        return _file(self)


@functools.lru_cache(maxsize=2048)
def _file(scene: Scene) -> bytes:
    stream = BytesIO()
    render(scene).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def render(scene: Scene) -> Image.Image:
    """The picture, SIDE pixels on a side."""
    side = SIDE * _FINE
    image = Image.new("RGB", (side, side), PAPERS[scene.paper])
    canvas = ImageDraw.Draw(image)
    for thing in scene.things:
        radius = thing.size * side / 2
        _draw(canvas, thing, (thing.x * side, thing.y * side), radius)
    image = image.reduce(_FINE)
    if scene.word:
        _label(ImageDraw.Draw(image), scene.word)
    return image


def chance(name: str, salt: str) -> float:
    """A number in [0, 1) for one choice about a scene, the same in every run."""
    return draw(name.encode(), 0, f"probe {salt}")


def paper(name: str) -> int:
    """Which paper a scene is drawn on."""
    return int(chance(name, "paper") * len(PAPERS))


def near(name: str, salt: str, value: float, by: float) -> float:
    """A number within `by` of a value."""
    return value + (2 * chance(name, salt) - 1) * by


def pick(name: str, salt: str, choices: Sequence[str]) -> str:
    """One of several words, the same in every run."""
    return choices[int(chance(name, salt) * len(choices))]


def two_things(name: str, shapes: Sequence[str]) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two different shapes in two different colours, as (shape, colour)."""
    first, second = sorted(shapes, key=lambda one: chance(name, f"shape {one}"))[:2]
    one, other = sorted(COLOURS, key=lambda word: chance(name, f"colour {word}"))[:2]
    return (first, one), (second, other)


def _draw(
    canvas: ImageDraw.ImageDraw, thing: Thing, middle: tuple[float, float], radius: float
) -> None:
    if thing.shape in produce.OWN_COLOURS:
        produce.draw_thing(canvas, thing.shape, middle, radius)
        return
    colour = COLOURS[thing.colour]
    x, y = middle
    if thing.shape == "circle":
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        outline = [(x + u * radius, y + v * radius) for u, v in SHAPES[thing.shape]()]
        canvas.polygon(outline, fill=colour)


def _square() -> Points:
    half = 0.87
    return [(-half, -half), (half, -half), (half, half), (-half, half)]


def _triangle() -> Points:
    return [(0, -0.95), (1, 0.8), (-1, 0.8)]


def _star() -> Points:
    points = []
    for n in range(10):
        radius, angle = (1.05 if n % 2 == 0 else 0.42), math.pi * (n / 5 - 0.5)
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


def _heart() -> Points:
    points = []
    for n in range(80):
        angle = 2 * math.pi * n / 80
        across = 16 * math.sin(angle) ** 3
        up = 13 * math.cos(angle) - 5 * math.cos(2 * angle)
        up -= 2 * math.cos(3 * angle) + math.cos(4 * angle)
        points.append((across / 16, -up / 15))
    return points


def _cross() -> Points:
    arm, reach = 0.32, 0.95
    corner = [(-arm, -reach), (arm, -reach), (arm, -arm), (reach, -arm), (reach, arm), (arm, arm)]
    return [*corner, *((-x, -y) for x, y in corner)]


SHAPES: dict[str, Callable[[], Points]] = {
    "circle": list,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
}


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _label(canvas: ImageDraw.ImageDraw, word: str) -> None:
    """The word on a white strip across the middle, as large as fits."""
    font = _font(34)
    box = canvas.textbbox((SIDE / 2, SIDE / 2), word, font=font, anchor="mm")
    strip = (box[0] - 10, box[1] - 8, box[2] + 10, box[3] + 8)
    canvas.rectangle(strip, fill=(255, 255, 255), outline=_INK, width=2)
    canvas.text((SIDE / 2, SIDE / 2), word, font=font, anchor="mm", fill=_INK)
