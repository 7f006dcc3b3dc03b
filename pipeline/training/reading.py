"""Samples out of tars by webdataset's readers: each place of a shard gives a sample or nothing.

webdataset drops what it can't read without a word, and a tar that ends early may end it quietly:
here the manifest says how many there are, and what is missing is missing in its place.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from webdataset import tariterators

from pipeline import storage
from pipeline.errors import CurationError
from pipeline.training.order import Range

Members = dict[str, Any]
"""`__key__`, and the bytes of each member by its extension, as webdataset names them."""
_LOGGER = logging.getLogger(__name__)


def read_ranges(ranges: Iterable[Range]) -> Iterator[Members | None]:
    """The samples of some ranges, one after the other; None for one that can't be read.

    Raises CurationError for a shard that is not there, OSError when a disk fails.
    """
    for one in ranges:
        yield from _read(one)


def _read(wanted: Range) -> Iterator[Members | None]:
    path, count = wanted.shard.path, wanted.beyond - wanted.first
    try:
        stream = storage.open_input(path)
    except FileNotFoundError:
        raise CurationError(f"{path}: is in the manifest, and not there") from None
    found = 0
    with stream:
        files = tariterators.tar_file_expander([{"url": path, "stream": stream}], handler=_go_on)
        samples = tariterators.group_by_keys(files, handler=_go_on)
        for sample in islice(samples, wanted.first, wanted.beyond):
            found += 1
            yield sample
    if found < count:
        _LOGGER.warning("%s: %d of %d samples are missing", path, count - found, count)
    yield from [None] * (count - found)


def _go_on(error: Exception) -> bool:
    """Damage costs what is damaged; a disk that fails is no damage of the file."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error
    return True
