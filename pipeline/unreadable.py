"""Why bytes are not an image this project can use: one exception, six reasons.

Every other fault while an image is read is a fault of this program and is not hidden.
"""

REASONS = {
    "empty": "there are no bytes",
    "not_an_image": "the bytes do not start like any image: a web page, a script, noise",
    "unsupported": "an image of a kind that is not read: HEIF, 12-bit JPEG, integers of 32 bits",
    "too_many_pixels": "the header promises more pixels than the limit; nothing was decoded",
    "truncated": "the bytes end before the picture does",
    "corrupt": "the bytes contradict their format, a checksum or each other",
}


class Unreadable(Exception):
    """These bytes give no picture; `reason` is a key of REASONS, `detail` says what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
