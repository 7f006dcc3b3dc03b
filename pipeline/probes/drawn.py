"""The probes over drawn pictures: what is asked about single things, numbers and languages.

Each function makes its questions, at most `limit` of what it counts; a smaller number is drawn
from the same ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.probes import phrases
from pipeline.probes.drawing import (
    COLOURS,
    SHAPES,
    Scene,
    Thing,
    chance,
    near,
    paper,
    pick,
    two_things,
)
from pipeline.probes.drawn_pairs import negation, relations, sizes, swapped
from pipeline.probes.languages import COLOURS as SAID_COLOURS
from pipeline.probes.languages import LANGUAGES
from pipeline.probes.languages import SHAPES as SAID_SHAPES
from pipeline.probes.measures import ONE, TWO, binding, by_kind, counting
from pipeline.probes.probe import SHOWN, Probe, Told, choice, shown_of
from pipeline.probes.produce import OWN_COLOURS
from pipeline.probes.questions import Grid, Question, few

_UNRELATED = "paper"
_CELLS = [(0.125 + 0.25 * n, 0.17 + 0.33 * m) for m in range(3) for n in range(4)]


def one_thing(name: str, shape: str, colour: str) -> Scene:
    """One thing near the middle, of a size of its own."""
    x, y = near(name, "x", 0.5, 0.12), near(name, "y", 0.5, 0.12)
    return Scene((Thing(shape, colour, x, y, near(name, "size", 0.5, 0.12)),), paper(name))


def things(limit: int | None) -> Probe:
    """Which colour and which shape a single thing has: what all the others build upon."""
    drawn = [
        (one_thing(f"things {shape} {colour} {n}", shape, colour), shape, colour)
        for n in range(4)
        for shape in SHAPES
        for colour in COLOURS
    ]
    questions = []
    for scene, shape, colour in few(drawn, limit):
        by_colour = [phrases.with_article(f"{other} {shape}") for other in COLOURS]
        by_shape = [phrases.with_article(f"{colour} {other}") for other in SHAPES]
        questions += [
            choice(scene, by_colour, [*COLOURS].index(colour), "colour"),
            choice(scene, by_shape, [*SHAPES].index(shape), "shape"),
        ]
    told = Told(
        "Single things",
        "One drawn thing: which of six colours, and which of six shapes, does it have?",
        "This is the ground under the probes below. Where it is low the score does not know such"
        " drawings, and a low figure below says little about photographs.",
    )
    return Probe(
        "things", told, tuple(questions), by_kind, shown=shown_of(questions), is_drawn=True
    )


def numbers(limit: int | None) -> Probe:
    """How many there are, from one to ten."""
    drawn = []
    for n in range(12):
        for number in range(1, 11):
            name = f"numbers {number} {n}"
            shape, colour = pick(name, "shape", [*SHAPES]), pick(name, "colour", [*COLOURS])
            drawn.append((_several(name, number, shape, colour), number, f"{colour} {shape}"))
    questions = [
        choice(scene, [phrases.things(n, what) for n in range(1, 11)], number - 1, str(number))
        for scene, number, what in few(drawn, limit)
    ]
    told = Told(
        "Numbers",
        "One to ten equal things, and ten captions that differ in the number alone.",
        "Where this is low, numbers in captions are neither rewarded nor punished: do not count on"
        " a threshold to remove “three dogs” beside a picture of two.",
    )
    return Probe("numbers", told, tuple(questions), counting, shown=shown_of(questions),
                 is_drawn=True)  # fmt: skip


def _several(name: str, number: int, shape: str, colour: str) -> Scene:
    cells = sorted(_CELLS, key=lambda cell: chance(name, f"cell {cell}"))[:number]
    size = near(name, "size", 0.17, 0.02)
    spots = [
        Thing(shape, colour, near(name, f"x{n}", x, 0.015), near(name, f"y{n}", y, 0.04), size)
        for n, (x, y) in enumerate(cells)
    ]
    return Scene(tuple(spots), paper(name))


def colours(limit: int | None) -> Probe:
    """Whether a colour stays with its thing when another one is beside it."""
    pairs = []
    for n in range(80):
        name = f"colours {n}"
        pairs.append((name, *two_things(name, [*SHAPES])))
    told = Told(
        "Colours of two things",
        "Two drawn shapes side by side: what is the color of the one, what of the other? And what"
        " is it when the other one is taken away?",
        "A high bias means that the score sees a red thing and a blue thing, and not which is"
        " which: captions that swap attributes pass. A second judge should see captions about"
        " several things. Where the colour of a thing alone is not seen there is nothing to bind,"
        " and the bias says nothing.",
    )
    return _bound("colours", told, pairs, [*COLOURS], limit)


def own_colours(limit: int | None) -> Probe:
    """The same with things of a known colour, where the name alone suggests one."""
    ordered = [(a, b) for a in OWN_COLOURS for b in OWN_COLOURS if a < b]
    pairs = [
        (f"own colours {a} {b} {n}", (a, OWN_COLOURS[a]), (b, OWN_COLOURS[b]))
        for n in range(8)
        for a, b in ordered
    ]
    told = Told(
        "Colours that go without saying",
        "A lemon and an eggplant, both in view: what is the color of the lemon? The name has said"
        " yellow; does the score then take the purple for the lemon's, too?",
        "A high bias means that a caption gains by naming whatever else is in the picture, true or"
        " not of the thing it is said of.",
    )
    return _bound("own_colours", told, pairs, sorted(set(OWN_COLOURS.values())), limit)


Described = tuple[str, tuple[str, str], tuple[str, str]]


def _bound(
    name: str, told: Told, pairs: Sequence[Described], options: list[str], limit: int | None
) -> Probe:
    """Four questions for each pair of things: of each, beside the other one and without it."""
    questions = []
    for label, first, second in few(pairs, limit):
        size = near(label, "size", 0.4, 0.04)
        left = Thing(*first, 0.27, near(label, "left", 0.5, 0.15), size)
        right = Thing(*second, 0.73, near(label, "right", 0.5, 0.15), size)
        if chance(label, "side") < 0.5:
            left, right = (Thing(*second, left.x, left.y, size), Thing(*first, right.x, right.y,
                                                                       size))  # fmt: skip
        for own, other in ((left, right), (right, left)):
            for side, seen in ((ONE, (own,)), (TWO, (left, right))):
                questions.append(
                    Question(
                        pairs=tuple(
                            (Scene(seen, paper(label)), phrases.coloured(own.shape, colour))
                            for colour in options
                        ),
                        right=options.index(own.colour),
                        kind=side,
                        item=f"{label} {own.shape}",
                        side=side,
                        other=options.index(other.colour),
                    )
                )
    return Probe(
        name,
        told,
        tuple(questions),
        binding,
        shown=shown_of([q for q in questions if q.side == TWO]),
        is_drawn=True,
    )


def written(limit: int | None) -> Probe:
    """Which wins, what is drawn or what is written over it."""
    drawn = [
        (f"written {shape} {word} {n}", shape, word)
        for n in range(4)
        for shape in SHAPES
        for word in SHAPES
        if word != shape
    ]
    questions = []
    for name, shape, word in few(drawn, limit):
        colour = pick(name, "colour", [*COLOURS])
        plain = Scene((Thing(shape, colour, size=near(name, "size", 0.7, 0.08)),), paper(name))
        texts = [f"a picture of {phrases.with_article(one)}" for one in (shape, word)]
        scenes = {
            "nothing written": plain,
            "an unrelated word over it": replace(plain, word=_UNRELATED),
            "the other word over it": replace(plain, word=word),
        }
        questions += [choice(scene, texts, 0, kind) for kind, scene in scenes.items()]
    told = Told(
        "Written words",
        "A drawn shape: plain, with an unrelated word over it, and with the name of another shape"
        " over it. Is the caption that names what is drawn better than the one with that name?",
        "Where the third figure falls below the second, the score reads: captions that repeat the"
        " text in a picture (slogans, watermarks, screenshots) pass on that alone. The second one"
        " below the first is what the label hides.",
    )
    return Probe(
        "written", told, tuple(questions), by_kind, shown=shown_of(questions), is_drawn=True
    )


def languages(limit: int | None) -> Probe:
    """The same sixteen drawings in sixteen languages."""
    options = [(shape, colour) for shape in SAID_SHAPES for colour in SAID_COLOURS]
    drawn = [
        (one_thing(f"languages {shape} {colour} {n}", shape, colour), place)
        for n in range(6)
        for place, (shape, colour) in enumerate(options)
    ]
    kept = few(drawn, limit)
    pictures, right = tuple(scene for scene, _ in kept), tuple(place for _, place in kept)
    grids = tuple(
        Grid(words.name, pictures, tuple((words.say(*option),) for option in options), right)
        for words in LANGUAGES.values()
    )
    told = Told(
        "Languages",
        "Four shapes in four colours: which of sixteen captions is right, in each of sixteen"
        " languages? The pictures are the same for all.",
        "A language far below English gets lower scores for captions that are as good: give it a"
        " threshold of its own (“per: language”), or score a translation.",
    )
    words = LANGUAGES.values()
    shown = [
        (scene, language.say(*options[place]))
        for (scene, place), language in zip(kept[:: max(1, len(kept) // 16)], words, strict=False)
    ]
    return Probe("languages", told, grids=grids, shown=tuple(shown[:SHOWN]), is_drawn=True)


DRAWN: dict[str, Callable[[int | None], Probe]] = {
    "things": things,
    "colours": colours,
    "own_colours": own_colours,
    "relations": relations,
    "swapped": swapped,
    "sizes": sizes,
    "numbers": numbers,
    "negation": negation,
    "written": written,
    "languages": languages,
}
"""Every drawn probe, in the order of the page."""
