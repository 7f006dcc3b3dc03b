"""The pages of WAT files, which hold links of crawled pages as JSON: what LAION was made from.

A WAT record has no text around images: alt, title and the page's head are all there is.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastwarc import WarcRecordType

from pipeline.crawl import head
from pipeline.crawl.archive import Tally, records
from pipeline.crawl.links import Base
from pipeline.crawl.page import Candidate, Limits, Page
from pipeline.crawl.variants import Variant, largest, of_set

_MOST_BYTES = 64 << 20  # of one record


def pages(path: str, tally: Tally, limits: Limits | None = None) -> Iterator[Page]:
    """A page for each record that names an image, in order; the others are counted by reason."""
    limits = limits or Limits()
    for record in records(path, WarcRecordType.metadata, tally):
        try:
            data = record.reader.read(_MOST_BYTES)
        except OSError:
            tally.skipped["damaged"] += 1
            continue
        if b"IMG@" not in data and b"og:image" not in data:
            tally.skipped["no_image"] += 1
            continue
        page = read_record(data, limits)
        if page is None:
            tally.skipped["bad_record"] += 1
        else:
            yield page


def read_record(data: bytes, limits: Limits | None = None) -> Page | None:
    """The page of one JSON record; None when it is none, or has no address."""
    limits = limits or Limits()
    try:
        envelope = _object(_object(json.loads(data)).get("Envelope"))
    except (ValueError, RecursionError):
        return None
    url = _text(_object(envelope.get("WARC-Header-Metadata")).get("WARC-Target-URI"))
    if url is None:
        return None
    payload = _object(envelope.get("Payload-Metadata"))
    answer = _object(payload.get("HTTP-Response-Metadata"))
    html = _object(answer.get("HTML-Metadata"))
    headers = tuple(
        (name, value)
        for name, value in _object(answer.get("Headers")).items()
        if isinstance(value, str)
    )
    return _page(url, html, headers, limits)


def _page(
    url: str, html: Mapping[str, Any], headers: tuple[tuple[str, str], ...], limits: Limits
) -> Page:
    top = _object(html.get("Head"))
    base = Base(url, _text(top.get("Base")))
    metas = _metas(top.get("Metas"))
    links = [_object(link) for link in _list(html.get("Links"))]
    marks = [
        link.get("url")
        for link in (*links, *map(_object, _list(top.get("Link"))))
        if "license" in str(link.get("rel")).lower().split()
        or "creativecommons.org/licenses/" in str(link.get("url"))
        or "creativecommons.org/publicdomain/" in str(link.get("url"))
    ]
    found = list(_candidates(links, metas, base, limits))
    over = len(found) - limits.max_images
    first = metas.first
    language = first.get("http:content-language") or first.get("og:locale")
    return Page(
        url,
        base.url,
        tuple(found[: limits.max_images]),
        _text(top.get("Title"), limits.max_text),
        _text(first.get("description") or first.get("og:description"), limits.max_text),
        language=language.replace("_", "-") if language else None,
        licences=head.addresses((_text(mark) for mark in marks), base),
        signals={**metas.signals, **head.header_signals(headers)},
        notes={"images_left_out": over} if over > 0 else {},
    )


def _metas(items: Any) -> head.Metas:
    found = head.Metas()
    for item in map(_object, _list(items)):
        http = item.get("http-equiv")
        name = _text(item.get("property") or item.get("name") or http)
        content = _text(item.get("content"))
        if name is not None and content is not None:
            head.note_meta(found, name, content, is_http=bool(http))
    return found


def _candidates(
    links: list[Mapping[str, Any]], metas: head.Metas, base: Base, limits: Limits
) -> Iterator[Candidate]:
    seen: set[str] = set()
    for link in links:
        if not str(link.get("path")).startswith("IMG@"):
            continue
        url = base.resolve(_text(link.get("url"), None))
        variants = of_set(_text(link.get("srcset"), None), "srcset", base)
        variants += [Variant(url, "src")] if url is not None else []
        best = largest(variants)
        if best is None:
            continue
        is_data = best.url[:5] == "data:"
        seen.update(variant.url for variant in variants)
        yield Candidate(
            best.url[:64] if is_data else best.url,
            tuple(variant._replace(url=variant.url[:64]) for variant in variants)
            if is_data
            else tuple(variants),
            "img",
            is_data,
            _text(link.get("alt"), limits.max_text),
            _text(link.get("title"), limits.max_text),
        )
    for item in metas.images[:20]:
        url = base.resolve(item["url"])
        if url is not None and url[:4] == "http" and url not in seen:
            seen.add(url)
            alt = _text(item.get("alt"), limits.max_text)
            yield Candidate(url, (Variant(url, item["family"]),), "meta", alt=alt, is_main=True)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any, limit: int | None = 2000) -> str | None:
    """A text that is one; with a limit also with single spaces."""
    if not isinstance(value, str):
        return None
    text = value.encode("utf-8", "replace").decode()
    return (text if limit is None else " ".join(text[: 4 * limit].split())[:limit]) or None
