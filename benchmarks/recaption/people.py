"""Captions by people in several languages: of stamps, and the names of emoji in CLDR."""

import json
from functools import cache
from pathlib import Path

from benchmarks.embedded.pairs import Pair

LANGUAGES = {"es": "es", "ca": "ca", "pt-BR": "pt_BR", "de": "de"}
"""Tags, and what the stamps call them. CLDR's `pt` is that of Brazil."""
_CLDR = {"es": "es", "ca": "ca", "pt-BR": "pt", "de": "de"}
_SELECTOR = "\ufe0f"


def translations(data: Path, pair: Pair) -> dict[str, str]:
    """By tag, those that there are; without a stop in the end, as the English ones."""
    found = _of_stamp(data / pair.path) if pair.source == "stamps" else _of_emoji(data, pair.path)
    return {tag: text for tag, text in found.items() if text}


def _of_stamp(picture: Path) -> dict[str, str]:
    lines = picture.with_suffix(".txt").read_text("utf-8", "replace").splitlines()[1:]
    told = dict(line.split(".utf8=", 1) for line in lines if ".utf8=" in line)
    return {tag: _plain(told.get(code, "")) for tag, code in LANGUAGES.items()}


def keywords(data: Path, path: str) -> list[str]:
    """What people look for the emoji of a file by, in English; none of what is no emoji."""
    return _told(data, "en").get(_symbol(path), {}).get("default", [])


def _of_emoji(data: Path, path: str) -> dict[str, str]:
    tables = {tag: _told(data, code) for tag, code in _CLDR.items()}
    found = {tag: table.get(_symbol(path), {}) for tag, table in tables.items()}
    return {tag: _plain(told["tts"][0]) for tag, told in found.items() if "tts" in told}


def _symbol(path: str) -> str:
    try:
        symbol = "".join(chr(int(code, 16)) for code in Path(path).stem.split("-"))
    except (ValueError, OverflowError):  # a stamp, or clip art
        return ""
    return symbol.replace(_SELECTOR, "")


@cache
def _told(data: Path, language: str) -> dict[str, dict[str, list[str]]]:
    """Name and keywords, by symbol."""
    folder = data / "npm/cldr-annotations-full/package/annotations"
    read = json.loads((folder / language / "annotations.json").read_text("utf-8"))
    listed = read["annotations"]["annotations"].items()
    return {symbol.replace(_SELECTOR, ""): told for symbol, told in listed}


def _plain(text: str) -> str:
    return text.strip().rstrip(".")
