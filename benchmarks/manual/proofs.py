"""The steps of the proof: each builds through the command line and returns Markdown."""

import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.manual import builds, sheets, tables, truth
from benchmarks.manual import kills as killing
from benchmarks.manual.builds import Row
from benchmarks.manual.site import HOSTS, Site
from benchmarks.measure import table

_SHEETED = 60
_MOMENTS = 8
_PACE = 20
_UNASKED = frozenset({"duplicate_key", "no_text", "icon"})  # rows for which nobody is asked


@dataclass(frozen=True)
class Place:
    """The served manual, and the folder for builds and sheets."""

    site: Site
    data: Path

    def out(self, name: str) -> Path:
        return self.data / "builds" / name

    def crawling(self, pace: float = 400) -> str:
        """The English manual as a source."""
        return builds.crawl_source("manual", [self.site.url()], builds.fetch_section(pace))


def _built(place: Place) -> list[Row]:
    """The rows of the build of the first step, which is made if it is not there."""
    out = place.out("crawl")
    if not (out / "report.html").exists():
        builds.run("build", builds.align(place.crawling()), out)
    return builds.rows(out)


def crawl(place: Place) -> str:
    """Crawl, fetch and select: attrition, requests, chrome and figures, and sheets for the eye."""
    out, kinds = place.out("crawl"), truth.kinds(place.site.roots["en"])
    shutil.rmtree(out, ignore_errors=True)
    begun, started = place.site.count, time.monotonic()
    rows = _built(place)
    took, asked = time.monotonic() - started, place.site.asked(begun)
    chrome, lost = tables.odd_rows(rows, kinds, place.data / "odd-rows.csv")
    due = {row.url for row in rows if row.url is not None and row.fate not in _UNASKED}
    seen = [row for row in rows if row.image is not None]
    folder = place.data / "sheets"
    shutil.rmtree(folder, ignore_errors=True)
    kept = [row for row in seen if row.fate == "kept"]
    dropped = [row for row in seen if row.fate != "kept"]
    icons = list({row.path: row for row in rows if row.fate == "icon"}.values())
    for name, some in (("kept", kept), ("dropped", dropped), ("icon", icons)):
        sheets.write_sheets(place.site, some, folder, name, _SHEETED)
    return "\n\n".join(
        [
            tables.fates(rows, kinds),
            tables.images(rows, kinds),
            f"Chrome that is kept: {chrome} rows. Figures that are not: {lost} rows, all in"
            f" {place.data / 'odd-rows.csv'}. Sheets of {_SHEETED} kept and {_SHEETED} dropped"
            f" images, and of what was refused as icons: {folder}. Report: {out / 'report.html'}.",
            tables.requests(asked, len(due)),
            f"The whole build, crawl included: {took:.0f} s.",
        ]
    )


def warc(place: Place) -> str:
    """The same rules over the archives that the crawl has left."""
    everything = _built(place)
    crawled = [row for row in everything if row.url is not None]
    kept = {row.key for row in crawled if row.fate == "kept"}
    files = place.out("crawl") / "pool" / "crawl" / "manual" / "*.warc.gz"
    lines = []
    for name in ("manual", "archive"):
        out = place.out(f"warc-{name}")
        shutil.rmtree(out, ignore_errors=True)
        begun = place.site.count
        source = builds.warc_source(name, str(files), builds.fetch_section())
        builds.run("build", builds.align(source), out)
        rows = builds.rows(out)
        pages = [one for one in place.site.asked(begun) if tables.kind(one.path) == "pages"]
        same = Counter(row.said for row in rows) == Counter(row.said for row in crawled)
        found = [row.key for row in rows if row.fate == "kept"]
        is_same = sorted(found) == sorted(kept)
        words = [f"{len(rows):,}", _yes(same), f"{len(found):,}", _yes(is_same), str(len(pages))]
        lines.append([f"`warc:` named `{name}`", *words])
    head = ["build", "rows", "same rows", "kept", "same keys kept", "pages asked for"]
    note = (
        "Rows are compared as a multiset of key, URL, caption, SHA-256 of the image, reason and"
        f" verdict. Of the crawl {len(everything) - len(crawled)} rows are left out, those of pages"
        " that gave none: an archive has no such rows."
    )
    return "\n\n".join([table(head, lines), note])


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def languages(place: Place) -> str:
    """Both languages in one recipe; captions of an image are joined by the hash of its bytes."""
    out, fetch = place.out("languages"), builds.fetch_section()
    shutil.rmtree(out, ignore_errors=True)
    sources = [
        builds.crawl_source(HOSTS[host], [place.site.url(host)], fetch)
        for host in ("127.0.0.1", "127.0.0.2")
    ]
    builds.run("build", builds.two_languages("".join(sources)), out)
    rows = [row for row in builds.rows(out) if row.image is not None]
    texts: dict[str, dict[bytes, set[str]]] = {"en": {}, "es": {}}
    for row in rows:
        texts[row.source].setdefault(row.image or b"", set()).add(row.caption or "")
    both = texts["en"].keys() & texts["es"].keys()
    differ = sum(not texts["en"][image] & texts["es"][image] for image in both)
    kept = [row for row in rows if row.fate == "kept"]
    samples = list(builds.samples(out))
    spanish = [one for one in samples if one["es.txt"]]
    told = [json.loads(json.loads(one["json"])["captions"]) for one in samples]
    spoken = [{caption.get("language") for caption in captions} for captions in told]
    lines = [
        ["images of the English manual (different bytes, with a text)", f"{len(texts['en']):,}"],
        ["of these with a Spanish text, by `image_sha256`", f"{len(both):,}"],
        ["and no text the same in both languages", f"{differ:,}"],
        ["kept: English rows, one of each image", f"{len(kept):,}"],
        ["samples with `.es.txt`", f"{len(spanish):,}"],
        [
            "samples with captions in both languages",
            f"{sum(one >= {'en', 'es'} for one in spoken):,}",
        ],
    ]
    shown = [(one["txt"].decode(), one["es.txt"].decode()) for one in spanish[:3]]
    examples = "\n".join(f"* {english} / {other}" for english, other in shown)
    return "\n\n".join([table(["two languages", "count"], lines), examples])


def kills(place: Place) -> str:
    """Builds killed with all their processes while they crawl and fetch, and run until done."""
    said, lines = Counter(row.said for row in _built(place)), []
    for seed in range(2):
        out, again = place.out(f"killed-{seed}"), place.out(f"whole-{seed}")
        recipe = builds.align(place.crawling(pace=150))
        done = killing.killed_build(place.site, recipe, out, _MOMENTS, seed)
        rows = builds.rows(out)
        # What no kill disturbed, from the same archives: the dates of pages are theirs.
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(out / "pool" / "crawl", again / "pool" / "crawl")
        builds.run("build", recipe, again)
        same = Counter(row.said for row in rows) == said
        differ = killing.differences(out, again)
        lines.append(
            [
                f"{done.kills} ({done.in_crawl} in the crawl)",
                f"{done.requests:,}",
                f"{done.again}",
                f"{done.stored}",
                _yes(same),
                ", ".join(differ) or "none",
            ]
        )
    head = ["kills", "requests", "asked again", "of these stored", "same rows and verdicts"]
    return table([*head, "files of the pool that differ"], lines)


def manners(place: Place) -> str:
    """Four addresses at a pace of 20 a second, built with 1, 2 and 4 workers."""
    starts = [place.site.url(host) for host in HOSTS]
    lines = []
    for workers in (1, 2, 4):
        out = place.out(f"manners-{workers}")
        shutil.rmtree(out, ignore_errors=True)
        fetch = builds.fetch_section(_PACE, at_once=32)
        source = builds.crawl_source("manual", starts, fetch, "max_pages_per_host: 120")
        recipe = f"sources:\n{source}ingest: {{rows_per_shard: 50}}\n"
        begun, started = place.site.count, time.monotonic()
        builds.run("ingest", recipe, out, workers)
        asked = place.site.asked(begun)
        busiest = tables.busiest_second(asked)
        lines.append(
            [
                str(workers),
                f"{len(asked):,}",
                *(str(busiest[host]) for host in HOSTS),
                str(tables.asked_twice(asked)),
                f"{time.monotonic() - started:.0f}",
            ]
        )
    head = ["workers", "requests", *HOSTS, "pages and images asked for twice", "seconds"]
    return "\n\n".join(
        [
            f"The most requests that began within any second, by address; the limit is {_PACE}.",
            table(head, lines),
        ]
    )
