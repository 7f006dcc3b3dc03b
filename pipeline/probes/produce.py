"""Fruit and vegetables, each drawn in the colour that one expects of it."""

import math
from collections.abc import Callable

from PIL import ImageDraw

OWN_COLOURS = {
    "lemon": "yellow",
    "tomato": "red",
    "carrot": "orange",
    "eggplant": "purple",
    "cucumber": "green",
}
_LEAF, _STALK = (52, 120, 50), (92, 78, 40)
Colour = tuple[int, int, int]
Points = list[tuple[float, float]]


class _Pen:
    """Draws in units of a radius around a middle; holds the canvas, so that shapes stay short."""

    def __init__(
        self, canvas: ImageDraw.ImageDraw, middle: tuple[float, float], radius: float
    ) -> None:
        self._canvas, self._middle, self._radius = canvas, middle, radius

    def area(self, points: Points, colour: Colour) -> None:
        x, y = self._middle
        self._canvas.polygon(
            [(x + u * self._radius, y + v * self._radius) for u, v in points], fill=colour
        )

    def oval(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        self.area(_turned(x, y, wide, high, 0.0), colour)


def draw_thing(
    canvas: ImageDraw.ImageDraw, name: str, middle: tuple[float, float], radius: float
) -> None:
    """Draw one of OWN_COLOURS around a point."""
    _DRAWN[name](_Pen(canvas, middle, radius))


def _turned(x: float, y: float, wide: float, high: float, angle: float) -> Points:
    """An ellipse with these half axes, turned by an angle."""
    points = []
    for n in range(60):
        u, v = wide * math.cos(math.pi * n / 30), high * math.sin(math.pi * n / 30)
        points.append(
            (
                x + u * math.cos(angle) - v * math.sin(angle),
                y + u * math.sin(angle) + v * math.cos(angle),
            )
        )
    return points


def _lemon(pen: _Pen) -> None:
    rind, light = (247, 214, 40), (253, 236, 130)
    pen.area(_turned(-0.02, 0.0, 0.85, 0.62, -0.35), rind)
    pen.area([(0.62, -0.5), (0.98, -0.42), (0.72, -0.12)], rind)
    pen.area([(-0.66, 0.5), (-0.92, 0.38), (-0.76, 0.12)], rind)
    pen.area(_turned(-0.25, -0.2, 0.28, 0.12, -0.5), light)


def _tomato(pen: _Pen) -> None:
    pen.oval(0, 0.1, 0.92, 0.8, (205, 38, 30))
    pen.area(_turned(-0.4, -0.15, 0.2, 0.12, -0.6), (240, 130, 115))
    for n in range(5):
        angle = math.pi * (0.1 + 0.2 * n)
        tip = (0.62 * math.cos(angle), -0.62 + 0.32 * math.sin(angle))
        pen.area([(-0.1, -0.68), (0.1, -0.68), tip], _LEAF)
    pen.area([(-0.06, -0.95), (0.06, -0.95), (0.05, -0.62), (-0.05, -0.62)], _LEAF)


def _carrot(pen: _Pen) -> None:
    body, line = (238, 125, 26), (205, 98, 14)
    pen.area([(-0.08, 1.0), (-0.4, -0.3), (-0.22, -0.5), (0.22, -0.5), (0.4, -0.3)], body)
    for left, right, y in ((-0.33, -0.05, -0.15), (0.02, 0.26, 0.1), (-0.2, 0.02, 0.4)):
        pen.area([(left, y), (right, y - 0.03), (right, y + 0.03)], line)
    for lean in (-0.4, -0.15, 0.15, 0.4):
        pen.area([(-0.09, -0.48), (0.09, -0.48), (lean + 0.1, -1.0), (lean - 0.1, -1.0)], _LEAF)


def _eggplant(pen: _Pen) -> None:
    skin = (88, 28, 110)
    pen.oval(0, 0.35, 0.56, 0.62, skin)
    pen.area([(-0.52, 0.2), (-0.26, -0.55), (0.26, -0.55), (0.52, 0.2)], skin)
    pen.area(_turned(-0.24, 0.2, 0.07, 0.3, 0.15), (160, 105, 180))
    for tip in (-0.38, 0.0, 0.38):
        pen.area([(-0.28, -0.62), (0.28, -0.62), (tip, -0.25)], _LEAF)
    pen.area([(-0.07, -0.98), (0.09, -0.98), (0.1, -0.55), (-0.1, -0.55)], _STALK)


def _cucumber(pen: _Pen) -> None:
    skin, stripe = (48, 125, 48), (112, 175, 92)
    for step in range(21):
        along = -0.75 + 0.075 * step
        pen.oval(along, 0.32 - 0.32 * math.cos(along), 0.25, 0.3, skin)
    for left, y in ((-0.6, -0.02), (-0.1, -0.08), (0.35, -0.02)):
        pen.area(_turned(left + 0.1, y, 0.16, 0.03, 0.1 * left), stripe)
    pen.area([(0.95, 0.02), (1.05, -0.06), (1.05, 0.1)], _STALK)


_DRAWN: dict[str, Callable[[_Pen], None]] = {
    "lemon": _lemon,
    "tomato": _tomato,
    "carrot": _carrot,
    "eggplant": _eggplant,
    "cucumber": _cucumber,
}
