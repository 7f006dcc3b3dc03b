"""Debian packages through apt's own client, unpacked and never installed."""

import logging
import subprocess
from pathlib import Path

_LOG = logging.getLogger(__name__)


def unpack(name: str, folder: Path) -> Path:
    """The package of this name, unpacked in FOLDER/NAME; what is there is kept as it is.

    Raises `subprocess.CalledProcessError` when apt-get or dpkg-deb fails.
    """
    target = folder / name
    if target.is_dir():
        return target
    _LOG.info("fetching %s", name)
    partial = target.with_name(name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", name], cwd=partial, check=True)
    (package,) = partial.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=partial, check=True)
    return partial.rename(target)
