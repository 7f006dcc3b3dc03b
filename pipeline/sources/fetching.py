"""Fetches URLs by img2dataset in a process of its own, and accounts for every one of them.

A fetch always ends: each attempt has a limit, and the process has one for all of them. Nothing is
fetched from addresses that are not public, unless their host is allowed by name.
"""

import hashlib
import json
import logging
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

import pipeline
from pipeline.errors import CurationError
from pipeline.sources.addresses import is_public, written_address

_LOGGER = logging.getLogger(__name__)
_START_S = 60.0  # for img2dataset to be imported, on a busy machine
_PROGRAM = ("-m", "pipeline.sources.fetch_img2dataset")
_DETAIL = 500
_SAFE = "%/:=&?~+!$,;'@()*[]"  # what a browser leaves as it is in a path or a query
_LOST = re.compile(r"^Sample (\d+) failed to download: (.*)$", re.MULTILINE)
_STATUS = re.compile(r"HTTP Error (\d{3})")
_LATER = frozenset({408, 425, 429})
_CODED = ("blocked_address", "too_large")
_OTHER_SCHEME = ("unknown url type", " - Redirection to url ")  # of a redirect, by urllib
_OPTED_OUT = "disallowed by X-Robots-Tag"
_FOR_GOOD = (
    "Name or service not known",
    "No address associated with hostname",
    "nodename nor servname",
    "CERTIFICATE_VERIFY_FAILED",
    "URL can't contain",
    "nonnumeric port",
    "label empty or too long",
    "label too long",
    "codec can't encode",
)


@dataclass(frozen=True)
class FetchLimits:
    """How to fetch. An attempt ends after `attempt_s`, however slowly its bytes arrive."""

    threads: int = 32
    timeout_s: float = 10.0
    retries: int = 1
    allow_hosts: tuple[str, ...] = ()
    max_bytes: int = 50_000_000
    slowness: float = 6.0

    @property
    def attempt_s(self) -> float:
        """Six time limits: a tenth of a second for each of 600 reads of 64 KiB, say."""
        return self.slowness * self.timeout_s

    def deadline_s(self, urls: int) -> float:
        """A minute to start, and every attempt of every round of threads at its longest."""
        return _START_S + self.attempt_s * (self.retries + 1) * math.ceil(urls / self.threads)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a URL: bytes, or the reason why not."""

    data: bytes | None = field(default=None, repr=False)
    failed: str | None = None
    detail: str | None = None
    retriable: bool | None = None


def refusal(url: str, allow_hosts: Sequence[str]) -> Outcome | None:
    """Why a URL is not fetched at all, as far as it says so itself; None when it is."""
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
        _ = parts.port, encoded(url)
    except ValueError as error:
        return Outcome(failed="bad_url", detail=str(error), retriable=False)
    if parts.scheme not in ("http", "https"):
        scheme = f"{parts.scheme}:" if parts.scheme else "no scheme"
        detail = f"{scheme[:40]}; only http: and https: are fetched"
        return Outcome(failed="bad_scheme", detail=detail, retriable=False)
    if not host:
        return Outcome(failed="bad_url", detail="no host", retriable=False)
    address = written_address(host)
    if address is None or host in (name.lower() for name in allow_hosts) or is_public(address):
        return None
    return Outcome(failed="blocked_address", detail=f"{address} is not public", retriable=False)


def encoded(url: str) -> str:
    """A URL as HTTP can carry it: blanks and letters beyond ASCII as browsers write them.

    Raises ValueError for a host that can't be written so.
    """
    parts = urlsplit(url.strip())
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    path, query = quote(parts.path, safe=_SAFE), quote(parts.query, safe=_SAFE)
    return urlunsplit((parts.scheme, host, path, query, ""))


def judge(message: str) -> Outcome:
    """The reason code of an error that img2dataset met, and whether it may pass with time."""
    detail = message.replace("\0", " ")[:_DETAIL]
    code, _, rest = detail.partition(": ")
    if code in _CODED:
        return Outcome(failed=code, detail=rest, retriable=False)
    if _OPTED_OUT in message:
        return Outcome(failed="opted_out", detail=detail, retriable=False)
    if any(sign in message for sign in _OTHER_SCHEME):
        return Outcome(failed="bad_scheme", detail=detail, retriable=False)
    status = _STATUS.search(message)
    if status is not None:
        later = int(status[1]) >= 500 or int(status[1]) in _LATER
    else:
        later = not any(sign in message for sign in _FOR_GOOD)
    return Outcome(failed="fetch_failed", detail=detail, retriable=later)


@contextmanager
def fetched(urls: Sequence[str], limits: FetchLimits) -> Iterator[Callable[[str], Outcome]]:
    """Fetch each URL once; yields what gives the outcome of one of them, bytes read from disk.

    Raises CurationError when img2dataset can't be run.
    """
    numbers = {url: number for number, url in enumerate(dict.fromkeys(urls))}
    if not numbers:
        yield lambda url: Outcome(failed="fetch_failed", detail="not asked for")
        return
    with tempfile.TemporaryDirectory(prefix="pairmill-fetch-") as folder:
        in_time = _run(folder, [encoded(url) for url in numbers], limits)
        found = _found(folder)
        rest = _rest(folder, in_time, limits.deadline_s(len(numbers)))
        yield lambda url: _outcome(folder, found.get(numbers[url]), rest(numbers[url]))


def _run(folder: str, urls: Sequence[str], limits: FetchLimits) -> bool:
    """Let img2dataset fetch into the folder; whether it came to its end in time."""
    table = pa.table({"url": list(urls), "number": list(range(len(urls)))})
    pq.write_table(table, os.path.join(folder, "urls.parquet"))
    spec = {
        "urls": os.path.join(folder, "urls.parquet"),
        "output": os.path.join(folder, "output"),
        "rows": len(urls),
        "threads": min(limits.threads, len(urls)),
        "timeout_s": limits.timeout_s,
        "attempt_s": limits.attempt_s,
        "retries": limits.retries,
        "allow_hosts": limits.allow_hosts,
        "max_bytes": limits.max_bytes,
    }
    path = os.path.join(folder, "spec.json")
    Path(path).write_text(json.dumps(spec), encoding="utf-8")
    os.mkdir(os.path.join(folder, "output"))
    command = [sys.executable, "-P", *_PROGRAM, path]
    with open(os.path.join(folder, "log"), "wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment()
        )
        try:
            code = child.wait(limits.deadline_s(len(urls)))
        except subprocess.TimeoutExpired:
            return False
        finally:
            child.kill()
            child.communicate()
    if code:
        _explain(folder, code)
    return True


def _environment() -> dict[str, str]:
    """The environment without proxies, in which the child finds this very package."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    home = str(Path(pipeline.__file__).parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def _explain(folder: str, code: int) -> None:
    """img2dataset died: of nothing fetched it was never able to, else rows are just lost."""
    last = (_log(folder).strip().splitlines() or ["no message"])[-1]
    if not any(Path(folder, "output").iterdir()):
        raise CurationError(f"img2dataset ended with exit code {code}: {last}")
    _LOGGER.warning("img2dataset ended with exit code %d: %s", code, last)


def _log(folder: str) -> str:
    return Path(folder, "log").read_text(encoding="utf-8", errors="replace")


def _found(folder: str) -> dict[int, dict[str, Any]]:
    """What img2dataset says of each URL by its number: from its table, or, when it was stopped
    before that was whole, from the file beside each image."""
    output = Path(folder, "output")
    try:
        table = pq.read_table(output / "00000.parquet")
    except (OSError, pa.ArrowException):
        rows = [_read_json(path) for path in sorted(output.glob("00000/*.json"))]
        return {row["number"]: row for row in rows if row is not None}
    return {row["number"]: row for row in table.to_pylist()}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError:  # it was stopped while it wrote this one
        return None
    return row


def _rest(folder: str, in_time: bool, deadline_s: float) -> Callable[[int], Outcome]:
    """Why a URL has no result."""
    if not in_time:
        detail = f"no result when the fetch was stopped after {deadline_s:.0f} s"
        late = Outcome(failed="fetch_deadline", detail=detail, retriable=True)
        return lambda _: late
    said = {int(number): text[:_DETAIL] for number, text in _LOST.findall(_log(folder))}
    return lambda number: Outcome(
        failed="lost_by_img2dataset",
        detail=said.get(number, "img2dataset ended without a result for this row"),
        retriable=True,
    )


def _outcome(folder: str, row: dict[str, Any] | None, rest: Outcome) -> Outcome:
    if row is None:
        return rest
    if row["status"] != "success":
        return judge(row["error_message"] or row["status"] or "no reason given")
    try:
        data = Path(folder, "output", "00000", f"{row['key']}.jpg").read_bytes()
    except OSError:
        return rest
    return Outcome(data) if hashlib.sha256(data).hexdigest() == row["sha256"] else rest
