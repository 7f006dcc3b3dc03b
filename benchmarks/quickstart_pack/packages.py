"""The Debian packages the pictures come from, unpacked below a cache folder."""

import subprocess
from pathlib import Path

PACKAGES = {
    "gcompris": "gcompris-qt-data",
    "tuxpaint": "tuxpaint-stamps-default",
    "openclipart": "openclipart-png",
}


def unpack(cache: Path) -> dict[str, Path]:
    """The folder of each source's unpacked package; what is not in the cache is downloaded.

    A package lies unpacked in `x_<package>`. Raises `subprocess.CalledProcessError` when apt-get or
    dpkg fails.
    """
    return {source: _unpacked(cache, package) for source, package in PACKAGES.items()}


def _unpacked(cache: Path, package: str) -> Path:
    folder = cache / f"x_{package}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=cache, check=True)
    archive = sorted(cache.glob(f"{package}_*.deb"))[-1]
    temporary = cache / f"x_{package}.tmp"
    subprocess.run(["dpkg", "-x", str(archive), str(temporary)], check=True)
    return temporary.rename(folder)
