"""Pictures as the learner sees them."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.embedded.features import load
from benchmarks.proof import learner


def small(path: Path) -> learner.Pixels:
    """The picture in a white square of the learner's size."""
    picture = Image.fromarray(load(path))
    picture.thumbnail((learner.SIDE, learner.SIDE), Image.Resampling.BOX)
    sheet = Image.new("RGB", (learner.SIDE, learner.SIDE), "white")
    sheet.paste(
        picture, ((learner.SIDE - picture.width) // 2, (learner.SIDE - picture.height) // 2)
    )
    return np.asarray(sheet)
