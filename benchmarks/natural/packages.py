"""The Debian packages whose pictures come with a text of their own, unpacked below a folder.

Nothing is installed; the client that fails stops the run with its message.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks import debian

_DOC = "usr/share/doc"


@dataclass(frozen=True)
class Package:
    """Where a package keeps HTML `pages`, and by which patterns it keeps pictures with `names`.

    With `by_folder` a picture is called after the folder two levels above it: there its file is
    named after its size.
    """

    licence: str
    pages: str = ""
    names: tuple[str, ...] = ()
    by_folder: bool = False


PACKAGES = {
    "cimg-doc": Package("CeCILL", names=(f"{_DOC}/cimg-dev/html/*",)),
    "debian-handbook": Package(
        "GPL-2+ or CC-BY-SA-3.0", pages=f"{_DOC}/debian-handbook/html/en-US"
    ),
    "desktop-base": Package("GPL-2+", names=("usr/share/desktop-base/*/**/*",)),
    "digikam-data": Package("GPL-2+", names=("usr/share/digikam/data/*",)),
    "gimp-help-en": Package(
        "GFDL-NIV-1.2+",
        pages="usr/share/gimp/2.0/help/en",
        names=("usr/share/gimp/2.0/help/**/*",),
    ),
    "gnome-backgrounds": Package(
        "CC-BY-SA-2.0, CC-BY-SA-3.0, CC-BY-2.0", names=("usr/share/backgrounds/**/*",)
    ),
    "hugin-data": Package("GFDL, GPL-2+", pages="usr/share/hugin/xrc/data/help_en_EN"),
    "imagemagick-6-doc": Package("ImageMagick", pages=f"{_DOC}/imagemagick-6-common/html"),
    "kphotoalbum": Package("GPL-2", names=("usr/share/kphotoalbum/demo/*",)),
    "lomiri-wallpapers-16.04": Package(
        "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0", names=("usr/share/backgrounds/**/*",)
    ),
    "lomiri-wallpapers-20.04": Package(
        "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0", names=("usr/share/backgrounds/**/*",)
    ),
    "mate-backgrounds": Package("GPL-2+, CC-BY-SA-4.0", names=("usr/share/backgrounds/**/*",)),
    "ntpsec-doc": Package("NTP", pages=f"{_DOC}/ntpsec-doc/html"),
    "opencv-doc": Package(
        "Apache-2.0 and BSD-3-Clause",
        pages=f"{_DOC}/opencv-doc/opencv4/html",
        names=(f"{_DOC}/opencv-doc/**/*",),
    ),
    "palapeli-data": Package("GPL-2+", names=("usr/share/palapeli/*/*",)),
    "plasma-workspace-wallpapers": Package(
        "GPL-2+", names=("usr/share/wallpapers/*/contents/images/*",),
        by_folder=True,
    ),
    "povray-doc": Package(
        "CC-BY-SA-3.0", pages=f"{_DOC}/povray/html", names=(f"{_DOC}/povray/html/**/*",)
    ),
    "pysiogame": Package(
        "GPL-3+, public-domain", names=("usr/share/games/pysiogame/res/images/**/*",)
    ),
    "python-pygame-doc": Package("LGPL-2+", pages=f"{_DOC}/python-pygame-doc/html"),
    "python-skimage-doc": Package("BSD-3-Clause", pages=f"{_DOC}/python-skimage-doc/html"),
    "qtdeclarative5-examples": Package(
        "BSD-3-clause", names=("usr/lib/*/qt5/examples/**/*",)
    ),
    "ruby-rmagick-doc": Package("Expat", pages=f"{_DOC}/ruby-rmagick-doc/html"),
    "tuxpaint-data": Package(
        "GPL-2+",
        pages=f"{_DOC}/tuxpaint-data/html",
        names=("usr/share/tuxpaint/starters/*", "usr/share/tuxpaint/templates/*"),
    ),
    "ukui-wallpapers": Package("CC-BY-SA-3.0", names=("usr/share/backgrounds/*",)),
    "wordpress-theme-twentytwentyone": Package(
        "GPL-2+", names=("usr/share/wordpress/**/images/*",)
    ),
    "wordpress-theme-twentytwentytwo": Package(
        "GPL-2+", names=("usr/share/wordpress/**/images/*",)
    ),
}  # fmt: skip


def fetch(data: Path) -> None:
    """DATA/deb/NAME holds each package unpacked afterwards; what is there is kept as it is."""
    for name in PACKAGES:
        debian.unpack(name, data / "deb")
