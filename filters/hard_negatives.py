"""How far a pair is ahead of the wrong pairs that are nearest to it: a cosine with a yardstick.

Some pictures agree with any text, and some texts with any picture; a cosine alone can't tell.
"""

import numpy as np

from filters.reference import Floats, Said, Seen

NEAREST = 8
"""Hard negatives of each side, as many as in UniME's training (arXiv:2504.17432)."""


def margin(seen: Seen, said: Said) -> float:
    """The cosine less the mean of what the nearest wrong pairs have, half of each side.

    Of the picture these are the captions of other drawings that fit it best, of the caption the
    other drawings that it fits best (the margin of CSLS, Conneau et al. 2018, arXiv:1710.04087,
    with a fixed reference). As in UniME a negative that says the same as the caption is none.
    """
    own = float(seen.vector @ said.vector)
    return (
        own - (_nearest(seen.captions[said.is_other]) + _nearest(said.pictures[said.is_other])) / 2
    )


def _nearest(cosines: Floats) -> float:
    """The mean of the largest."""
    most = min(NEAREST, len(cosines))
    return float(np.partition(cosines, -most)[-most:].mean(dtype=np.float64))
