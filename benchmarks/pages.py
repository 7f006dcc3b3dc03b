"""What pages cost: CPU milliseconds per page of HTML, and reading WARC files next to bare fastwarc.

    python -m benchmarks.pages [--pages 1000] [--site FOLDER]

Makes pages of some 16 KB with 45 images each (srcset, links, figures, headings), reads them alone
and out of a gzipped WARC file. Every pair of ways takes turns in one run; the best round of each
counts, so compare the ratios. `--site` measures a folder of saved pages too.
"""

import argparse
import gzip
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastwarc import ArchiveIterator, WarcRecordType
from selectolax.lexbor import LexborHTMLParser

from benchmarks.measure import table
from pipeline.crawl import charset, saved
from pipeline.crawl.archive import Tally
from pipeline.crawl.page import parse
from pipeline.crawl.rows import RowOptions, rows
from pipeline.crawl.warc import responses

ROUNDS, IMAGES = 7, 45
TEXT = "light falls on old stones near the river while a red boat passes two brown cows"
WORDS = TEXT.split()
URL = "https://example.org/gallery/page.html"


def made_page(number: int) -> bytes:
    """A page as shops and galleries have them: navigation, headings, cards with images."""
    dice = random.Random(number)

    def some(count: int) -> str:
        return " ".join(dice.choices(WORDS, k=count))

    menu = "".join(f'<li><a href="/part/{i}">{some(2)}</a></li>' for i in range(20))
    out = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{some(5)}</title>'
        f'<meta name="description" content="{some(12)}"></head><body><ul>{menu}</ul><main>'
    ]
    for i in range(IMAGES):
        if i % 5 == 0:
            out.append(f"<h2>{some(4)}</h2>")
        image = (
            f'<img src="/i/{number}-{i}-300.jpg" width="300" height="200" alt="{some(5)}"'
            f' srcset="/i/{number}-{i}-300.jpg 300w, /i/{number}-{i}-600.jpg 600w" loading="lazy">'
        )
        if i % 3 == 0:
            image = f"<figure>{image}<figcaption>{some(6)}</figcaption></figure>"
        out.append(
            f'<div class="card"><a href="/item/{i}">{image}</a>'
            f"<p>{some(14)} <b>{some(2)}</b></p></div>"
        )
    return "\n".join([*out, "</main></body></html>"]).encode()


def record(url: str, html: bytes) -> bytes:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nServer: x\r\n"
    body = answer + f"Content-Length: {len(html)}\r\n\r\n".encode() + html
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n"
        "WARC-Date: 2026-01-02T03:04:05Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"WARC-Record-ID: <urn:uuid:{0:032d}>\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def bare_trees(path: str) -> int:
    """fastwarc and selectolax as their manuals have them."""
    count = 0
    with open(path, "rb") as stream:
        for item in ArchiveIterator(stream, record_types=WarcRecordType.response):
            LexborHTMLParser(item.reader.read())
            count += 1
    return count


def our_trees(path: str) -> int:
    """Ours up to the same tree: choice of records, damage, lengths, encodings."""
    count = 0
    for answer in responses(path, Tally()):
        LexborHTMLParser(charset.decoded(answer.html, answer.content_type)[0])
        count += 1
    return count


def bare_attributes(path: str) -> int:
    """The least that pairs need: address and alt text of every image, as they stand there."""
    count = 0
    with open(path, "rb") as stream:
        for item in ArchiveIterator(stream, record_types=WarcRecordType.response):
            for node in LexborHTMLParser(item.reader.read()).css("img"):
                attributes = node.attributes
                count += attributes.get("src") is not None and attributes.get("alt") is not None
    return count


def our_candidates(path: str) -> int:
    return sum(len(answer.page().candidates) for answer in responses(path, Tally()))


def our_rows(path: str) -> int:
    options = RowOptions()
    return sum(1 for answer in responses(path, Tally()) for _ in rows(answer.page(), options))


def best_s(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The best CPU time of each way; they take turns."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, act in ways.items():
            started = time.process_time()
            act()
            found[name] = min(found[name], time.process_time() - started)
    return found


def single_pages(count: int) -> None:
    pages = [made_page(number) for number in range(min(count, 200))]
    size = sum(map(len, pages)) / len(pages)
    images = sum(len(parse(html, URL).candidates) for html in pages) / len(pages)
    options = RowOptions()
    found = best_s(
        {
            "selectolax, tree only": lambda: sum(1 for h in pages if LexborHTMLParser(h)),
            "ours, candidates": lambda: sum(1 for h in pages if parse(h, URL)),
            "ours, rows": lambda: sum(1 for h in pages for _ in rows(parse(h, URL), options)),
        }
    )
    print(f"pages of {size / 1000:.1f} KB with {images:.0f} images\n")
    cells = [(name, f"{took / len(pages) * 1e3:.2f}") for name, took in found.items()]
    print(table(("way", "CPU ms per page"), cells))


def archives(count: int, folder: Path) -> None:
    path = folder / "pages.warc.gz"
    with path.open("wb") as stream:
        for number in range(count):
            stream.write(gzip.compress(record(f"{URL}?{number}", made_page(number)), 6))
    ways = {
        "bare fastwarc and selectolax, trees": bare_trees,
        "ours, trees": our_trees,
        "bare, src and alt of each image": bare_attributes,
        "ours, candidates": our_candidates,
        "ours, rows": our_rows,
    }
    assert our_trees(str(path)) == bare_trees(str(path)) == count
    found = best_s({name: lambda way=way: way(str(path)) for name, way in ways.items()})
    first = next(iter(found.values()))
    cells = [
        (name, f"{took / count * 1e3:.2f}", f"{first / took:.2f}") for name, took in found.items()
    ]
    print(f"\nWARC of {count} pages, {path.stat().st_size / 1e6:.1f} MB\n")
    print(table(("way", "CPU ms per page", "speed by the first"), cells))


def site(folder: str) -> None:
    pages = saved.names(folder)

    def read() -> None:
        counts.append(sum(len(page.candidates) for page in saved.pages(folder, "http://h.org")))

    counts: list[int] = []
    took = best_s({"site": read})["site"]
    each = took / len(pages) * 1e3
    print(f"\n{len(pages)} saved pages, {counts[0]} images: {each:.2f} CPU ms per page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--site", help="a folder of saved pages")
    options = parser.parse_args()
    single_pages(options.pages)
    with tempfile.TemporaryDirectory() as folder:
        archives(options.pages, Path(folder))
    if options.site:
        site(options.site)


if __name__ == "__main__":
    main()
