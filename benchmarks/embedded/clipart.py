"""The drawings of the Open Clip Art Library with what their makers wrote into the SVG files.

The pictures come from one package and the words from another. A title that names a collection
("Lemon SVG theme") is no caption: there the name of the file stands in. No drawing is left out
but one too large to decode.
"""

import html
import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PICTURES = Path("deb/openclipart-png/usr/share/openclipart/png")
DRAWINGS = Path("deb/openclipart-svg/usr/share/openclipart/svg")
_MOST_PIXELS = 60_000_000  # one drawing has 231 million
_WORD = re.compile(r"[_\-\s.,;:!?()\[\]+\"/#*]+")
_PIECE = re.compile(r"[_\-\s.,()+]+")
_TOKEN = re.compile(r"[_\-\s.]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NUMBER = re.compile(r"^\d+|\d+$")  # "home14" is a home
_SERIAL = re.compile(r"\d\D+\d|\D\d+\D")  # "82pt05step", "0x85fcd64": no word
_MONOCHROME = re.compile(r"\(?\bB ?(and|&) ?W\b\)?", re.IGNORECASE)
_METADATA = re.compile(r"<metadata.*?</metadata>", re.DOTALL)
_TITLE = re.compile(r"<dc:title[^>]*>(.*?)</dc:title>", re.DOTALL)
_AUTHOR = re.compile(r"<dc:creator>.*?<dc:title[^>]*>(.*?)</dc:title>", re.DOTALL)
_KEYWORD = re.compile(r"<rdf:li[^>]*>(.*?)</rdf:li>", re.DOTALL)
_DESCRIPTION = re.compile(r"<dc:description[^>]*>(.*?)</dc:description>", re.DOTALL)
_MOST_NAMES, _MOST_DRAWINGS = 2, 20  # that may share a title; more make it a collection's
_COLLECTION = {"theme", "collection", "iconset", "clipart", "sibmission"}
_NO_KEYWORDS = {"hash", "unsorted", "special", "unchecked"}


@dataclass(frozen=True)
class Drawing:
    """A picture (path under the data folder) and all that is written about it.

    `caption` is the title or, where there is none of its own, the name of the file without its
    author. `file_names` are other readings of that name; `filed` is that of an earlier experiment.
    """

    path: str
    folders: tuple[str, ...]
    caption: str
    keywords: tuple[str, ...]
    file_names: tuple[str, ...]
    filed: str


@dataclass(frozen=True)
class _Told:
    title: str
    author: str
    keywords: tuple[str, ...]
    description: str


def read_drawings(data: Path) -> list[Drawing]:
    """All drawings in the order of their paths."""
    root = data / PICTURES
    paths = [p.relative_to(root) for p in sorted(root.rglob("*.png")) if _pixels(p) <= _MOST_PIXELS]
    told = [_told(data / DRAWINGS / path.with_suffix(".svg")) for path in paths]
    stems = [path.stem for path in paths]
    captions, plain, filed = _captions(stems, told), _plain_names(stems), _filed_names(stems)
    repeated = Counter(t.description for t in told)
    drawings = []
    for i, (path, t) in enumerate(zip(paths, told, strict=True)):
        sentence = t.description if repeated[t.description] <= _MOST_NAMES else ""
        folders = [" ".join(words(folder)) for folder in path.parent.parts]
        keywords = dict.fromkeys([*t.keywords, *folders, sentence])
        drawings.append(
            Drawing(
                str(PICTURES / path),
                path.parent.parts,
                captions[i],
                tuple(k for k in keywords if k),
                (plain[i], _spelled(stems[i])),
                filed[i],
            )
        )
    return drawings


def _captions(stems: list[str], told: list[_Told]) -> list[str]:
    """Titles; the name of the file where a title is missing or that of a collection."""
    pairs = zip(stems, told, strict=True)
    names = [" ".join(_without_author(words(stem), t.author)) for stem, t in pairs]
    titles = [_own_title(t) for t in told]
    sharing = Counter(title for title, _ in set(zip(titles, names, strict=True)))
    common = Counter(titles)

    def is_own(title: str) -> bool:
        return bool(title) and sharing[title] <= _MOST_NAMES and common[title] <= _MOST_DRAWINGS

    return [t if is_own(t) else name for t, name in zip(titles, names, strict=True)]


def words(name: str, shortest: int = 2) -> list[str]:
    """Lower-case words of a name, without numbers, extensions and words that are too short."""
    parts = [word for part in _WORD.split(name) for word in _CAMEL.split(part)]
    kept = [_NUMBER.sub("", w).lower() for w in parts if not _SERIAL.search(w)]
    return [w for w in kept if len(w) >= shortest and w not in ("svg", "png", "bw")]


def _told(svg: Path) -> _Told:
    found = _METADATA.search(svg.read_text("utf-8", "replace"))
    text = found.group() if found else ""
    author = _first(_AUTHOR, text)
    keywords = [" ".join(words(html.unescape(k))) for k in _KEYWORD.findall(text)]
    useless = {"", author.lower(), *_NO_KEYWORDS}
    useful = tuple(k for k in keywords if k not in useless)
    return _Told(_first(_TITLE, text), author, useful, _sentence(_first(_DESCRIPTION, text)))


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return html.unescape(found.group(1)).strip() if found else ""


def _sentence(description: str) -> str:
    """A short sentence on the picture; nothing for addresses, dumps and essays."""
    line = " ".join(description.split())
    is_plain = len(line) <= 100 and not re.search(r"@|http|www|HASH\(", line)
    return line if is_plain else ""


def _own_title(told: _Told) -> str:
    author = _letters(told.author)
    title = words(_MONOCHROME.sub(" ", told.title), shortest=1)
    if (author and author in _letters(told.title)) or _COLLECTION & set(title):
        return ""
    return " ".join(title)


def _without_author(name: list[str], author: str) -> list[str]:
    """The name of a file without its author at the end, who may be cut off: "ours etienne ber"."""
    squeezed = _letters(author)
    for start in range(1, len(name)):
        rest = _letters("".join(name[start:]))
        if len(rest) >= 2 and squeezed.startswith(rest):
            return name[:start]
    return name


def _plain_names(stems: list[str]) -> list[str]:
    """Names of files without numbers and without words that look like authors."""
    names = [_unnumbered(stem) for stem in stems]
    for _ in range(2):  # "newspaper nicu buculei": first name and surname
        names = _without_authors(names)
    return [" ".join(name) for name in names]


def _unnumbered(stem: str) -> list[str]:
    parts = [word for part in _PIECE.split(stem) for word in _CAMEL.split(part)]
    kept = [w.lower() for w in parts if not any(c.isdigit() for c in w)]
    return [w for w in kept if len(w) > 1 and w not in ("svg", "png")]


def _without_authors(names: list[list[str]]) -> list[list[str]]:
    """Names without the author at the end: a word that ends three names and is rare elsewhere."""
    last = Counter(name[-1] for name in names if len(name) > 1)
    anywhere = Counter(word for name in names for word in name)
    works = Counter(name[-1] for name in {tuple(name) for name in names} if len(name) > 1)
    authors = {w for w, n in works.items() if n >= 3 and last[w] >= 0.9 * anywhere[w]}
    return [name[:-1] if len(name) > 1 and name[-1] in authors else name for name in names]


def _spelled(stem: str) -> str:
    """Every word of a file name but bare numbers: the concepts of the quickstart pack."""
    return " ".join(w for w in _TOKEN.split(stem.lower()) if w and not w.isdigit())


def _filed_names(stems: list[str]) -> list[str]:
    """Names of files as an earlier experiment read them: rare authors and serial numbers stay."""
    names = [[w for w in _TOKEN.split(stem) if w and not w.isdigit()] for stem in stems]
    long = [[w for w in name if len(w) > 1] for name in names]
    last = Counter(name[-1] for name in long if len(name) > 1)
    kept = [[w for w in name if w not in ("r", "s")] for name in names]
    cut = [n[:-1] if len(n) > 1 and last[n[-1]] >= 3 else n for n in kept]
    return [" ".join(name).lower() for name in cut]


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() and c.isascii())


def _pixels(png: Path) -> int:
    with png.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    return int(width * height)
