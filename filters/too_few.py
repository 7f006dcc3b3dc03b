"""What a scorer raises that has too few rows to learn from: a pool may just be small."""

from typing import ClassVar


class NotEnoughRows(ValueError):
    """`needs ..., found ...`: every value is NULL with this reason, and the build goes on.

    The harness knows it by `is_too_few`, which an exception of anybody else's may have as well.
    """

    is_too_few: ClassVar[bool] = True
