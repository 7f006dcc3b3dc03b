"""What is said of a drawn picture, in plain English."""

from pipeline.probes.drawing import Thing

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RELATIONS = {
    "above": "above",
    "below": "below",
    "left": "to the left of",
    "right": "to the right of",
}


def with_article(words: str) -> str:
    """`a red circle`, `an orange star`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def thing(one: Thing) -> str:
    """`a red circle`."""
    return with_article(f"{one.colour} {one.shape}")


def things(number: int, what: str) -> str:
    """`one red circle`, `three red crosses`; from 1 to 10."""
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{NUMBERS[number - 1]} {what if number == 1 else plural}"


def related(first: Thing, relation: str, second: Thing) -> str:
    """`a red circle above a blue square`."""
    return f"{thing(first)} {RELATIONS[relation]} {thing(second)}"


def coloured(shape: str, colour: str) -> str:
    """Which colour a thing in the picture has."""
    return f"In this picture, the color of the {shape} is {colour}."
