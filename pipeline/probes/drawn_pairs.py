"""The probes over drawn pictures that ask how two things stand to each other."""

from dataclasses import replace

from pipeline.probes import phrases
from pipeline.probes.drawing import (
    SHAPES,
    Scene,
    Thing,
    chance,
    near,
    paper,
    pick,
    two_things,
)
from pipeline.probes.measures import IMAGE, TEXT, chosen, winoground
from pipeline.probes.probe import Probe, Told, choice, shown_of
from pipeline.probes.questions import Pair, Question, few

_TURNED = {"above": "below", "below": "above", "left": "right", "right": "left"}
_ROUND = ("circle", "square", "triangle", "star")
Made = tuple[tuple[Scene, str], tuple[Scene, str]]  # two pictures with their captions


def placed(name: str, first: Thing, relation: str, second: Thing) -> Scene:
    """Two things of which the first is above, below, left or right of the second."""
    size, away = near(name, "size", 0.37, 0.04), near(name, "away", 0.25, 0.02)
    along = away if relation in ("below", "right") else -away
    spots = [0.5 + along, 0.5 - along]
    aside = [near(name, f"aside {n}", 0.5, 0.06) for n in range(2)]
    upright = relation in ("above", "below")
    (x, y), (u, v) = zip(aside, spots, strict=True) if upright else zip(spots, aside, strict=True)
    things = (replace(first, x=x, y=y, size=size), replace(second, x=u, y=v, size=size))
    return Scene(things, paper(name))


def relations(limit: int | None) -> Probe:
    """Left, right, above or below: four captions that differ in the relation alone."""
    drawn = [
        (f"relations {relation} {n}", relation) for n in range(36) for relation in phrases.RELATIONS
    ]
    questions = []
    for name, relation in few(drawn, limit):
        first, second = (Thing(*one) for one in two_things(name, [*SHAPES]))
        texts = [phrases.related(first, other, second) for other in phrases.RELATIONS]
        right = [*phrases.RELATIONS].index(relation)
        questions.append(choice(placed(name, first, relation, second), texts, right, relation))
    told = Told(
        "Where things are",
        "Two drawn things: is the one above, below, to the left or to the right of the other?",
        "Where this is low, captions with the wrong side or the wrong order score as high as true"
        " ones. A model that is to learn where things are can't be fed by this threshold.",
    )
    return Probe("relations", told, tuple(questions), chosen, shown=shown_of(questions),
                 is_drawn=True)  # fmt: skip


def swapped(limit: int | None) -> Probe:
    """Two pictures and two captions made of the same words, as in Winoground."""
    items = [(kind, n) for n in range(30) for kind in _SWAPS]
    questions: list[Question] = []
    for kind, n in few(items, limit):
        name = f"swapped {kind} {n}"
        questions += pair_questions(name, kind, *_SWAPS[kind](name))
    told = Told(
        "The same words in another order",
        "Two drawings and two captions of the same words, such as “a red circle above a blue"
        " square” and “a blue square above a red circle”: each picture must prefer its caption"
        " (text score), each caption its picture (image score), or both (group score).",
        "At or below chance the score takes a caption for a bag of words: it can't tell who does"
        " what to whom, and no threshold on it will.",
    )
    return Probe("swapped", told, tuple(questions), winoground,
                 shown=shown_of(questions, all_over=False), is_drawn=True)  # fmt: skip


def pair_questions(item: str, kind: str, first: Pair, second: Pair) -> list[Question]:
    """The four questions about two pictures and their texts."""
    (picture, text), (other, other_text) = first, second
    return [
        Question(pairs, 0, kind, item, side)
        for side, pairs in (
            (TEXT, (first, (picture, other_text))),
            (TEXT, (second, (other, text))),
            (IMAGE, (first, (other, text))),
            (IMAGE, (second, (picture, other_text))),
        )
    ]


def _by_place(name: str, *relations_: str) -> Made:
    """Things that change places, and their names with them."""
    first, second = (Thing(*one) for one in two_things(name, [*SHAPES]))
    relation = pick(name, "relation", relations_)
    return (
        (placed(name, first, relation, second), phrases.related(first, relation, second)),
        (placed(name, second, relation, first), phrases.related(second, relation, first)),
    )


def _by_colour(name: str) -> Made:
    (shape, colour), (other, its) = two_things(name, [*SHAPES])
    made = []
    for one, two in ((colour, its), (its, colour)):
        first, second = Thing(shape, one), Thing(other, two)
        text = f"{phrases.thing(first)} and {phrases.thing(second)}"
        made.append((placed(name, first, "left", second), text))
    return made[0], made[1]


def _by_size(name: str) -> Made:
    first, second = (Thing(*one) for one in two_things(name, [*SHAPES]))
    scene = placed(name, first, "left", second)
    made = []
    for large, small in ((0, 1), (1, 0)):
        sizes_ = {large: 0.44, small: 0.17}
        seen = tuple(replace(t, size=sizes_[n]) for n, t in enumerate(scene.things))
        words = {large: "big", small: "small"}
        said = [f"a {words[n]} {t.colour} {t.shape}" for n, t in enumerate(scene.things)]
        made.append((Scene(seen, scene.paper), " and ".join(said)))
    return made[0], made[1]


def _by_number(name: str) -> Made:
    few_, many = sorted(range(1, 5), key=lambda n: chance(name, f"number {n}"))[:2]
    kinds = two_things(name, [*SHAPES])
    made = []
    for numbers in ((few_, many), (many, few_)):
        seen: list[Thing] = []
        for column, (kind, number) in enumerate(zip(kinds, numbers, strict=True)):
            for n in range(number):
                y = 0.5 + 0.23 * (n - (number - 1) / 2)
                seen.append(Thing(*kind, near(name, f"x{column}{n}", 0.28 + 0.44 * column, 0.03),
                                  y, 0.19))  # fmt: skip
        said = [phrases.things(n, f"{c} {s}") for n, (s, c) in zip(numbers, kinds, strict=True)]
        made.append((Scene(tuple(seen), paper(name)), " and ".join(said)))
    return made[0], made[1]


def _by_nesting(name: str) -> Made:
    first, second = (Thing(*one) for one in two_things(name, _ROUND))
    made = []
    for inner, outer in ((first, second), (second, first)):
        low = 0.6 if outer.shape in ("triangle", "star") else 0.5
        around = replace(outer, size=0.9)
        within = replace(inner, y=low if outer.shape == "triangle" else 0.5, size=0.24)
        text = f"{phrases.thing(inner)} inside {phrases.thing(outer)}"
        made.append((Scene((around, within), paper(name)), text))
    return made[0], made[1]


_SWAPS = {
    "above and below": lambda name: _by_place(name, "above", "below"),
    "left and right": lambda name: _by_place(name, "left", "right"),
    "inside": _by_nesting,
    "colours": _by_colour,
    "sizes": _by_size,
    "numbers": _by_number,
}


def sizes(limit: int | None) -> Probe:
    """Which of two equal things is the bigger one."""
    questions = []
    for n in few(range(120), limit):
        name = f"sizes {n}"
        (shape, colour), (_, other) = two_things(name, [*SHAPES])
        scene = placed(name, Thing(shape, colour), pick(name, "at", [*_TURNED]),
                       Thing(shape, other))  # fmt: skip
        wide = near(name, "big", 0.4, 0.03), near(name, "small", 0.2, 0.04)
        seen = tuple(replace(t, size=s) for t, s in zip(scene.things, wide, strict=True))
        texts = [
            f"The {one} {shape} is bigger than the {two} {shape}."
            for one, two in ((colour, other), (other, colour))
        ]
        questions.append(choice(Scene(seen, scene.paper), texts, 0, "which is bigger"))
    told = Told(
        "Sizes",
        "Two drawn things of one shape and two colours: which one is bigger?",
        "Where this is low, comparisons in captions are not checked against the picture.",
    )
    return Probe("sizes", told, tuple(questions), chosen, shown=shown_of(questions), is_drawn=True)


def negation(limit: int | None) -> Probe:
    """What is there and what is not, said in the same words; either may come first."""
    questions = []
    for n in few(range(120), limit):
        name = f"negation {n}"
        (shape, colour), (other, _) = two_things(name, [*SHAPES])
        x, y = near(name, "x", 0.5, 0.1), near(name, "y", 0.5, 0.1)
        seen = Thing(shape, colour, x, y, near(name, "size", 0.5, 0.1))
        kind, say = [*_DENIED.items()][n % len(_DENIED)]
        texts = [say(*both) for both in ((shape, other), (other, shape))]
        questions.append(choice(Scene((seen,), paper(name)), texts, 0, kind))
    told = Told(
        "Negation",
        "One drawn thing: “a circle but no square”, or “a square but no circle”? Half of the"
        " captions name first what is not there.",
        "Where this is low, “without” and “no” count for nothing: a caption gains by naming what"
        " it says is not there. If it is high in one order alone, the score goes by the order.",
    )
    return Probe("negation", told, tuple(questions), chosen, shown=shown_of(questions),
                 is_drawn=True)  # fmt: skip


def _there_first(there: str, absent: str) -> str:
    return f"There is {phrases.with_article(there)} but no {absent} in this picture."


def _absent_first(there: str, absent: str) -> str:
    return f"There is no {absent} but {phrases.with_article(there)} in this picture."


_DENIED = {"there is … but no …": _there_first, "there is no … but …": _absent_first}
