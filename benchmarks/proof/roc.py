"""ROC curves: of the faults, how many each score finds for how many clean rows it loses.

Drawn as plain SVG, from at most a point for every half per cent of the clean rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LOST = (0.05, 0.10, 0.20, 0.30)  # of the clean rows, in the table
_WIDEST = 0.5  # of the clean rows lost, in the drawing
_STEP = 0.005
_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#d55e00",
    "#009e73",
    "#56b4e9",
    "#cc79a7",
    "#7a3e9d",
    "#8c6d1f",
    "#000000",
    "#888888",
)
_SIDE, _LEFT, _TOP, _BELOW, _LEGEND = 420, 56, 16, 48, 150


def found_at(scores: Array, is_clean: Array, lost: Sequence[float] | Array) -> Array:
    """The part of the faults below the score that loses such parts of the clean rows.

    Of rows with equal scores so many parts are taken as are needed (a straight line of the curve).
    """
    values, places = np.unique(scores, return_inverse=True)
    clean = np.bincount(places, is_clean, len(values))
    faults = np.bincount(places, ~is_clean, len(values))
    right, up = (np.concatenate([[0], np.cumsum(part)]) / part.sum() for part in (clean, faults))
    found: Array = np.interp(lost, right, up)  # where it goes straight up: the upper end
    return found


def table(found: dict[str, Array], is_clean: Array, names: Sequence[str]) -> str:
    """The part of the faults that each score finds where it loses so many clean rows."""
    lines = [
        "| score | " + " | ".join(f"{lost:.0%} of clean rows lost" for lost in LOST) + " |",
        "|" + "---|" * (1 + len(LOST)),
    ]
    for name in names:
        told = " | ".join(f"{part:.1%}" for part in found_at(found[name], is_clean, LOST))
        lines.append(f"| {name} | {told} |")
    return "\n".join(lines)


def svg(found: dict[str, Array], is_clean: Array, names: Sequence[str]) -> str:
    """The curves of these scores, and what chance finds."""
    across = np.arange(0, _WIDEST + _STEP / 2, _STEP)
    width, height = _LEFT + _SIDE + _LEGEND, _TOP + _SIDE + _BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="12">',
        "<title>Faults found against clean rows lost, of each score</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_axes(),
        _line(across, across, "#888888", 'stroke-dasharray="2 4"'),
    ]
    for place, name in enumerate(names):
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = "" if place < len(_COLOURS) - 1 else 'stroke-dasharray="6 3"'
        parts.append(_line(across, found_at(found[name], is_clean, across), colour, dashes))
        parts += _legend(place, name, colour, dashes)
    parts += _legend(len(names), "chance", "#888888", 'stroke-dasharray="2 4"')
    return "\n".join([*parts, "</svg>", ""])


def _line(across: Array, up: Array, colour: str, dashes: str) -> str:
    points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(across, up, strict=True))
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6" {dashes}/>'
    )


def _legend(place: int, name: str, colour: str, dashes: str) -> list[str]:
    left, middle = _LEFT + _SIDE + 14, _TOP + 12 + 20 * place
    return [
        f'<line x1="{left}" y1="{middle}" x2="{left + 24}" y2="{middle}" stroke="{colour}"'
        f' stroke-width="2.4" {dashes}/>',
        f'<text x="{left + 30}" y="{middle + 4}" fill="#222222">{name}</text>',
    ]


def _axes() -> list[str]:
    """A grid, its numbers and what they count."""
    parts = []
    for number in range(6):
        x, y = _x(number * _WIDEST / 5), _y(number / 5)
        parts += [
            f'<path d="M{x:.0f} {_y(0):.0f}V{_y(1):.0f}M{_x(0):.0f} {y:.0f}H{_x(_WIDEST):.0f}"'
            ' stroke="#dddddd"/>',
            f'<text x="{x:.0f}" y="{_y(0) + 18:.0f}" text-anchor="middle" fill="#222222">'
            f"{number * _WIDEST / 5:.0%}</text>",
            f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end" fill="#222222">'
            f"{number / 5:.0%}</text>",
        ]
    middle = _x(_WIDEST / 2), _y(0.5)
    return [
        *parts,
        f'<text x="{middle[0]:.0f}" y="{_y(0) + 38:.0f}" text-anchor="middle" fill="#222222">'
        "clean rows lost</text>",
        f'<text transform="translate(14 {middle[1]:.0f}) rotate(-90)" text-anchor="middle"'
        ' fill="#222222">faults found</text>',
    ]


def _x(lost: float) -> float:
    return float(_LEFT + _SIDE * lost / _WIDEST)


def _y(part: float) -> float:
    return float(_TOP + _SIDE * (1 - part))
