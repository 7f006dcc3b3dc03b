"""Pages as WARC 1.1 files: a gzip member for each record, equal bytes for equal pages and dates.

Bodies are stored as they were after content decoding, so no header speaks of an encoding.
"""

import base64
import hashlib
import uuid
import zlib
from contextlib import ExitStack
from typing import IO

from pipeline import storage
from pipeline.fetch.outcome import Outcome

ROLL_BYTES = 256 << 20
_LEVEL = 6
_NOT_STORED = frozenset({"content-length", "content-encoding", "transfer-encoding"})


class WarcWriter:
    """Writes `pages-00000.warc.gz` and those after it; a class, because it holds a file.

    A file has its name once it is complete: when the next one begins, or at the end of the
    context without an error. `files` are those, with their sizes.
    """

    def __init__(self, folder: str, agent: str, roll_bytes: int = ROLL_BYTES) -> None:
        self.files: dict[str, int] = {}
        self._folder, self._agent, self._roll_bytes = folder, agent, roll_bytes
        self._open = ExitStack()
        self._stream: IO[bytes] | None = None
        self._name, self._info, self._end = "", "", 0

    def __enter__(self) -> "WarcWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._end_file(*error)

    def write(self, page: Outcome) -> tuple[str, int]:
        """Add a page; returns the name of its file, and where its record begins there."""
        assert page.final_url is not None
        assert page.data is not None
        assert page.date is not None
        head = _http_head(page)
        block = digest(head, page.data)
        name = f"{page.final_url} {block}"
        if self._stream is None or self._end >= self._roll_bytes:
            self._end_file(None, None, None)
            self._begin_file(page.date, name)
        start = self._end
        fields = {
            "WARC-Type": "response",
            "WARC-Record-ID": _urn(name),
            "WARC-Warcinfo-ID": self._info,
            "WARC-Target-URI": page.final_url,
            "WARC-Date": page.date,
            "WARC-Block-Digest": block,
            "WARC-Payload-Digest": digest(page.data),
            "Content-Type": "application/http; msgtype=response",
        }
        self._add(fields, head, page.data)
        return self._name, start

    def _begin_file(self, date: str, first: str) -> None:
        """A file with its first record, whose date and name are made from the first page."""
        self._name = f"pages-{len(self.files):05d}.warc.gz"
        path = self._open.enter_context(storage.writing(storage.join(self._folder, self._name)))
        self._stream = self._open.enter_context(open(path, "wb"))  # noqa: SIM115 (held)
        self._end = 0
        body = (
            "software: pairmill\r\nformat: WARC File Format 1.1\r\n"
            "conformsTo: http://iipc.github.io/warc-specifications/specifications/"
            "warc-format/warc-1.1/\r\n"
            f"http-header-user-agent: {self._agent}\r\n"
        ).encode()
        self._info = _urn(f"{self._name} {self._agent} {first}")
        fields = {
            "WARC-Type": "warcinfo",
            "WARC-Record-ID": self._info,
            "WARC-Filename": self._name,
            "WARC-Date": date,
            "WARC-Block-Digest": digest(body),
            "Content-Type": "application/warc-fields",
        }
        self._add(fields, body)

    def _end_file(self, *error: object) -> None:
        is_whole = self._stream is not None and error[:1] == (None,)
        self._open.__exit__(*error)  # type: ignore[arg-type]
        if is_whole:
            self.files[self._name] = self._end
        self._stream = None

    def _add(self, fields: dict[str, str], *block: bytes) -> None:
        """One record as one gzip member."""
        assert self._stream is not None
        lines = [f"{name}: {text}" for name, text in fields.items()]
        lines += [f"Content-Length: {sum(map(len, block))}", "", ""]
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)  # 31: gzip, without a time
        for part in ("\r\n".join(["WARC/1.1", *lines]).encode(), *block, b"\r\n\r\n"):
            self._end += self._stream.write(packer.compress(part))
        self._end += self._stream.write(packer.flush())


def _http_head(page: Outcome) -> bytes:
    """The status line and the headers of a page, none of which can end its line."""
    lines = ["HTTP/1.1 200 OK"]
    for name, value in page.headers:
        if name.lower() not in _NOT_STORED:
            lines.append(f"{name}: {value}".replace("\r", " ").replace("\n", " "))
    lines += [f"Content-Length: {len(page.data or b'')}", "", ""]
    return "\r\n".join(lines).encode()


def digest(*parts: bytes) -> str:
    """SHA-1 in base 32, which is what every reader of WARC can check."""
    found = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        found.update(part)
    return f"sha1:{base64.b32encode(found.digest()).decode()}"


def _urn(text: str) -> str:
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}>"
