"""The pages of WARC files: HTML answers with status 200, as they were received.

Whatever is no such page is counted by reason; damage costs the record it lies in.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import brotli  # type: ignore[import-untyped]
from fastwarc import WarcHeader, WarcRecord, WarcRecordType

from pipeline.crawl.archive import Tally, records
from pipeline.crawl.page import Limits, Page, parse

_HTML = ("text/html", "application/xhtml+xml")
_CHUNK = 1 << 16


class Response(NamedTuple):
    """One page as an archive has it. `offset` is where its record begins in the file."""

    url: str
    html: bytes
    content_type: str | None
    headers: tuple[tuple[str, str], ...]
    date: str | None
    offset: int

    def page(self, limits: Limits | None = None) -> Page:
        return parse(self.html, self.url, self.content_type, headers=self.headers, limits=limits)


def responses(
    path: str, tally: Tally, *, max_bytes: int = 5_000_000, verify: bool = False
) -> Iterator[Response]:
    """The pages of one file, in order; of a body at most `max_bytes` and one are read.

    `verify` passes over records whose block does not have its digest; one without a digest stays.
    """
    kinds = WarcRecordType.response | WarcRecordType.resource
    for record in records(path, kinds, tally, parse_http=not verify):
        reason = _unproved(record) if verify else None
        found = reason or _response(record, max_bytes)
        if isinstance(found, Response):
            yield found
        else:
            tally.skipped[found] += 1


def _unproved(record: WarcRecord) -> str | None:
    """Check the block of a record against its digest, then read the HTTP headers in it."""
    try:
        if "WARC-Block-Digest" in record.headers:
            record.freeze()
            if not record.verify_block_digest():
                return "digest"
        if record.is_http:
            record.parse_http(auto_decode="transfer")
    except OSError:
        return "damaged"
    return None


def _response(record: WarcRecord, max_bytes: int) -> Response | str:
    """The page of a record, or why it is none. Asks fastwarc for each header once: that is slow."""
    url = (record.headers.get(WarcHeader.WARC_TARGET_URI) or "").strip("<>")
    if url[:4].lower() != "http":
        return "no_url"
    headers: tuple[tuple[str, str], ...] = ()
    if record.is_http:
        said = record.http_headers if record.is_http_parsed else None
        status = said.status_code if said is not None else None
        if said is None or status != 200:
            return "no_answer" if status is None else "http_status"
        headers = said.to_tuples()
        named = {name.lower(): value for name, value in headers}
        kind = named.get("content-type")
    else:
        named = {}
        kind = record.headers.get(WarcHeader.CONTENT_TYPE)
    if kind is not None and not kind.lstrip().lower().startswith(_HTML):
        return "not_html"
    body = _body(record, named, max_bytes)
    if isinstance(body, str):
        return body
    date = record.headers.get(WarcHeader.WARC_DATE)
    return Response(url, body, kind, headers, date, record.stream_pos)


def _body(record: WarcRecord, headers: Mapping[str, str], max_bytes: int) -> bytes | str:
    """The page's bytes, or why they can't be read."""
    due = record.content_length
    try:
        data = record.reader.read(max_bytes + 1)
    except OSError:
        return "damaged"
    if len(data) < min(due, max_bytes) and "transfer-encoding" not in headers:
        return "cut"
    coding = headers.get("content-encoding")
    unpacked = _unpacked(data, coding.strip().lower(), max_bytes + 1) if coding else data
    return "content_encoding" if unpacked is None else unpacked


def _unpacked(data: bytes, coding: str, limit: int) -> bytes | None:
    """At most `limit` bytes of a body; many archives keep the header of what they have unpacked."""
    head = data[:512].lstrip()
    if coding in ("identity", "utf-8", "none") or head[:1] == b"<":
        return data
    try:
        if coding in ("gzip", "x-gzip", "deflate"):
            wbits = 47 if data[:2] == b"\x1f\x8b" or data[:1] == b"\x78" else -15
            return zlib.decompressobj(wbits).decompress(data, limit)
        if coding == "br":
            return _of_brotli(data, limit)
    except (zlib.error, brotli.error):
        return None
    return None


def _of_brotli(data: bytes, limit: int) -> bytes:
    unpacker = brotli.Decompressor()
    parts = [unpacker.process(data, output_buffer_limit=_CHUNK)]
    size = len(parts[0])
    while parts[-1] and size < limit and not unpacker.is_finished():
        parts.append(unpacker.process(b"", output_buffer_limit=_CHUNK))
        size += len(parts[-1])
    return b"".join(parts)[:limit]
