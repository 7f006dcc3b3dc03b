"""WARC and WAT records written out by hand, for tests."""

import base64
import gzip
import hashlib
import json


def record(kind, url, body, content_type, *extra):
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {url}",
        "WARC-Date: 2026-01-02T03:04:05Z",
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>",
        f"Content-Type: {content_type}",
        *extra,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"


def response(url, html, *headers, status="200 OK", kind="text/html; charset=utf-8", more=()):
    html = html if isinstance(html, bytes) else html.encode()
    names = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers]
    head = "\r\n".join(n for n in names if n != "Content-Type: None").encode()
    body = head + b"\r\n\r\n" + html
    return record("response", url, body, "application/http; msgtype=response", *more)


def digest(body):
    return "sha1:" + base64.b32encode(hashlib.sha1(body).digest()).decode()


def members(*records):
    return b"".join(gzip.compress(item) for item in records)


def wat(url, links=(), head=None, headers=None):
    html = {"Head": head or {}, "Links": list(links)}
    answer = {"Headers": headers or {}, "HTML-Metadata": html}
    envelope = {
        "WARC-Header-Metadata": {"WARC-Target-URI": url},
        "Payload-Metadata": {"HTTP-Response-Metadata": answer},
    }
    return json.dumps({"Envelope": envelope}).encode()
