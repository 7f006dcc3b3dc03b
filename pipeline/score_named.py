"""What a scorer knows of images by their names alone, so that none of these is decoded.

The name of an image stands for the pixels that a scorer is shown: it is a digest of the image's
bytes, the version of decoding, its cap, and how many pixels were asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import decoding
from pipeline.contract import FIELDS, must_hold
from pipeline.keys import digest
from pipeline.score_input import Chunk, Rows

NAME = "image_name"


def names_of(scorer: Any) -> tuple[str, ...]:
    """What a batch of a scorer holds, in order."""
    return (*scorer.reads, NAME) if hasattr(scorer, "recall") else tuple(scorer.reads)


def image_name(sha: bytes | None, scorer: Any, max_pixels: int) -> bytes | None:
    """32 bytes; None where it is not known which bytes the image has."""
    if sha is None:
        return None
    request = getattr(scorer, "image_request", None)
    return digest(sha + f"{decoding.DECODER_VERSION} {request} {max_pixels}".encode(), size=32)


def recalled(
    scorer: Any, chunk: Chunk, rows: Rows, open_: Sequence[int]
) -> tuple[list[int], Mapping[str, Sequence[Any]]]:
    """Rows of which the scorer knows what it would say of them, and that."""
    others = [name for name in scorer.reads if name not in FIELDS]
    needed = [rows.columns[name] for name in must_hold(scorer) if name in others]
    whole = [
        row
        for row in open_
        if row in chunk.data
        and rows.shas[row] is not None
        and all(column[row] is not None for column in needed)
    ]
    if not whole:
        return [], {}
    batch = {name: [rows.columns[name][row] for row in whole] for name in others}
    batch[NAME] = [image_name(rows.shas[row], scorer, chunk.max_pixels) for row in whole]
    found = scorer.recall(batch)
    first = found[scorer.writes.names[0]]
    places = [place for place, value in enumerate(first) if value is not None]
    known = {name: [column[place] for place in places] for name, column in found.items()}
    return [whole[place] for place in places], known
