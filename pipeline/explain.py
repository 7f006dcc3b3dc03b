"""One row's whole story: where it came from, what was measured, the verdict, the shard."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pipeline import pool, retry_record, storage, takedown_record
from pipeline.errors import CurationError, DamagedFile, RecipeError
from pipeline.pool import Shard
from pipeline.record import BuildRecord, open_record
from pipeline.shards import read_shard

_LIMIT = 20
_NAMES = ("key", "source_key", "url")
_LONGEST = 200  # signs of a text that are shown
_CAPTIONS = 20  # captions of a column that are shown


@dataclass(frozen=True)
class Found:
    """A row of the pool: its shard, its position there, its base columns.

    `earlier` are rows that were tried again, of which this is the newest.
    """

    shard: Shard
    row: int
    base: dict[str, Any]
    earlier: tuple["Found", ...] = ()

    @property
    def key(self) -> str:
        return str(self.base["key"].hex())


def tell(key: str, out: str) -> str:
    """The story of every row whose key begins so, or whose source key or URL is that.

    Raises CurationError when there is none.
    """
    if not key:
        raise RecipeError("give a key, the start of one (4 digits at least), a source key or a URL")
    record = open_record(out)
    rows = find_rows(record, key)
    if not rows:
        raise CurationError(
            f"{out}: no row has a key that begins with {key!r}, nor that source key or URL"
        )
    stories = ["\n".join(story(record, row)) for row in rows[:_LIMIT]]
    if len(rows) > _LIMIT:
        stories.append(f"and {len(rows) - _LIMIT} more rows")
    return "\n\n".join(stories)


def find_rows(record: BuildRecord, key: str) -> list[Found]:
    """The rows that a key (or the start of one), a source key or a URL names, in pool order.

    Of a row that was tried again the newest, with those before it.
    """
    wanted = key.lower()
    prefix = len(wanted) >= 4 and all(c in "0123456789abcdef" for c in wanted)

    def is_named(name: dict[str, Any]) -> bool:
        is_key = prefix and name["key"].hex().startswith(wanted)
        return is_key or key in (name["source_key"], name["url"])

    found, earlier = _matching(record, is_named)
    lost = earlier.keys() - {row.base["key"] for row in found}
    if lost:  # what came of them is there, but has no other name than its key
        found += _matching(record, lambda name: name["key"] in lost)[0]
    last = {row.base["key"]: number for number, row in enumerate(found)}
    for row_key, before in earlier.items():
        if row_key in last:
            found[last[row_key]] = replace(found[last[row_key]], earlier=tuple(before))
        else:
            found += before
    return found


def _matching(
    record: BuildRecord, is_wanted: Callable[[dict[str, Any]], bool]
) -> tuple[list[Found], dict[bytes, list[Found]]]:
    """Rows whose names are wanted; apart from them, by key, those that were tried again."""
    found: list[Found] = []
    earlier: dict[bytes, list[Found]] = {}
    for shard in record.pool.shards:
        names = pool.read_stored(record.pool.root, shard, _NAMES).to_pylist()
        rows = [row for row, name in enumerate(names) if is_wanted(name)]
        if not rows:
            continue
        base = pool.read_stored(record.pool.root, shard).take(rows).to_pylist()
        retried = set(retry_record.positions(record.pool.root, shard).tolist())
        for row, fields in zip(rows, base, strict=True):
            one = Found(shard, row, fields)
            (earlier.setdefault(fields["key"], []) if row in retried else found).append(one)
    return found, earlier


def story(record: BuildRecord, found: Found) -> Iterator[str]:
    """Lines for a person."""
    base = found.base
    yield f"{found.key}"
    name = base["source_key"] or base["url"] or "(no name)"
    yield f"  source    {base['source']}: {_printable(name)}"
    if base["url"]:
        yield f"  url       {_printable(base['url'])}"
    yield f"  caption   {_short(base['caption'])}"
    raw = [caption for caption in base["captions"] or [] if caption is not None][1:]
    told = (f"{_short(caption['text'])} ({_printable(str(caption['origin']))})" for caption in raw)
    yield from (f"{'':12}{line}" for line in _first(told, len(raw)))
    yield f"  pool      shard {found.shard.name}, row {found.row}, {_sample(base)}"
    yield from _fetched(base)
    yield from (f"  earlier   {_attempt(one)}" for one in found.earlier)
    if base["meta"]:
        yield f"  meta      {_short(base['meta'])}"
    for name in record.scorers if _is_selected(record, found) else ():
        yield from _scores(record, name, found)
    yield from (f"  takedown  {_printable(line)}" for line in _taken_down(record, found))
    yield f"  verdict   {_verdict(record, found)}"
    yield from _written(record, found)


def _sample(base: dict[str, Any]) -> str:
    if base["failed"] is not None:
        retry = ", can be retried" if base["retriable"] else ""
        why = "no more is known" if base["detail"] is None else _printable(base["detail"])
        return f"failed: {base['failed']} ({why}{retry})"
    if base["extension"] is None:
        return "metadata only"
    return f"stored as {base['extension']}, sha256 {base['image_sha256'].hex()[:16]}…"


def _fetched(base: dict[str, Any]) -> Iterator[str]:
    """What came of asking for its URL: of a row that nobody asked for, nothing."""
    if base["fetched_at"] is None:
        return
    said = [str(base[name]) for name in ("http_status", "content_type") if base[name] is not None]
    what = _printable(" ".join(said)) or "nothing"
    size = "" if base["received_bytes"] is None else f", {base['received_bytes']:,} bytes"
    tries = f"{base['attempts']} attempt" + ("" if base["attempts"] == 1 else "s")
    where = _printable(base["final_url"])
    yield f"  fetched   {what} from {where}{size}, {tries}, at {base['fetched_at']}"
    yield from (f"{'':12}redirected to {_printable(url)}" for url in base["redirects"] or [])
    if base["signals"]:
        yield f"  signals   {_short(base['signals'])}"


def _attempt(found: Found) -> str:
    """What became of a row before it was tried again."""
    base = found.base
    when = f" at {base['fetched_at']}" if base["fetched_at"] else ""
    why = "" if base["detail"] is None else f" ({_printable(base['detail'])})"
    return f"failed{when}: {base['failed']}{why}, shard {found.shard.name}, row {found.row}"


def _is_selected(record: BuildRecord, found: Found) -> bool:
    """False of a row that is newer than the selection: the pool has grown since."""
    verdicts = record.selection()
    return verdicts is None or found.shard.name in verdicts.shards


def _scores(record: BuildRecord, name: str, found: Found) -> Iterator[str]:
    columns = [column for column, s in record.columns.items() if s.name == name]
    if not columns:
        return
    values = record.columns[columns[0]].read(found.shard, columns).slice(found.row, 1)
    row = values.to_pylist()[0]
    error = row.pop(f"{name}_error")
    lists = {column: value for column, value in row.items() if _are_captions(value)}
    plain = {column: value for column, value in row.items() if column not in lists}
    if plain:
        shown = ", ".join(f"{column}={_value(value)}" for column, value in plain.items())
        yield f"  {name:<9} {shown}"
    for value in lists.values():  # a scorer writes one such column
        captions = [caption for caption in value if caption is not None]
        for number, line in enumerate(_first(map(_caption, captions), len(captions))):
            yield f"  {name if number == 0 and not plain else '':<9} {line}"
    if error is not None:
        yield f"  {'':<9} failed: {_printable(error)}"


def _taken_down(record: BuildRecord, found: Found) -> Iterator[str]:
    """By what kind of name, why and when a row was taken down."""
    for row in takedown_record.taken_rows(record.pool.root).to_pylist():
        place = row["shard"], row["row"]
        if row["key"] == found.base["key"] and place == (found.shard.name, found.row):
            told = (f"by {row['kind']}", row["date"], row["reason"])
            yield ", ".join(part for part in told if part)


def _verdict(record: BuildRecord, found: Found) -> str:
    verdicts = record.selection()
    if verdicts is None:
        return "nothing is selected yet"
    if not _is_selected(record, found):
        return "none yet: the pool has grown since rows were selected; build again"
    row = verdicts.of_shard(found.shard.name).slice(found.row, 1).to_pylist()[0]
    if row["verdict"] == "kept":
        return f"kept, {row['times']} times" if row["times"] > 1 else "kept"
    if row["verdict"] == "failed":
        return f"failed: {found.base['failed']}"
    if row["verdict"] == "takedown":
        return "taken down, before all steps"
    steps: dict[str, dict[str, Any]] = {s["name"]: s for s in verdicts.summary["steps"]}
    rule = steps.get(row["verdict"], {})
    given = {k: v for k, v in rule.items() if k not in ("name", "kind") and v not in (None, [], ())}
    what = ", ".join(f"{k}={_value(v)}" for k, v in given.items())
    return f"dropped by {row['verdict']} ({rule.get('kind', '')}: {what})"


def _written(record: BuildRecord, found: Found) -> Iterator[str]:
    """The training shards that hold the row or copies of it."""
    manifest = record.manifest()
    if manifest is None:
        yield "  shard     not exported"
        return
    verdicts = record.selection()
    is_current = verdicts is not None and verdicts.digest == manifest["selection"]
    if verdicts is None or not is_current or not _is_selected(record, found):
        yield "  shard     not exported since the selection changed"
        return
    times = verdicts.of_shard(found.shard.name)["times"][found.row].as_py()
    if not times:
        return
    from pipeline.export import copy_key

    keys = {copy_key(found.base["key"], copy).hex() for copy in range(times)}
    places = list(_places(record, manifest, keys))
    yield from places or [f"  shard     not written: {_lost(record, manifest, found)}"]


def _places(record: BuildRecord, manifest: dict[str, Any], keys: set[str]) -> Iterator[str]:
    for shard in manifest["shards"]:
        path = storage.join(record.out, "shards", shard["name"])
        if not storage.exists(path):
            yield f"  shard     {shard['name']} is missing; export again"
            continue
        names = (sample.key for sample in read_shard(path, headers_only=True))
        for position, name in enumerate(names):
            if name in keys:
                yield f"  shard     {shard['name']}, sample {position}, as {name}"


def _lost(record: BuildRecord, manifest: dict[str, Any], found: Found) -> str:
    """Why a kept row is in no shard, as the first pass of the export has recorded it."""
    ledger = storage.join(record.out, "ledger", f"render-{manifest['export']}")
    damaged = []
    for path in (storage.join(ledger, name) for name in storage.files_below(ledger)):
        try:
            stats = storage.read_fields(path, "status").get("stats")
        except DamagedFile:
            damaged.append(path)
            continue
        lost = stats.get("failed_keys") if isinstance(stats, dict) else None
        if isinstance(lost, dict) and found.key in lost:
            return str(lost[found.key])
    if damaged:
        return f"unknown, for {damaged[0]} is damaged"
    return "the export is a list of uids" if "subset.npy" in manifest["files"] else "unknown"


def _are_captions(value: Any) -> bool:
    """Whether it is a list of captions; an empty list may be one of anything, and is shown so."""
    return isinstance(value, list) and any(isinstance(v, dict) and "text" in v for v in value)


def _first(lines: Iterable[str], count: int) -> Iterator[str]:
    """The first of so many lines, and how many there are beside them."""
    yield from islice(lines, _CAPTIONS)
    if count > _CAPTIONS:
        yield f"and {count - _CAPTIONS} more"


def _caption(caption: dict[str, Any]) -> str:
    said = [_printable(str(caption[name])) for name in ("kind", "language") if caption[name]]
    flags = f" [{_printable(', '.join(map(str, caption['flags'])))}]" if caption["flags"] else ""
    return f"{' '.join(said)} {_short(caption['text'])}{flags}".strip()


def _short(text: str | None) -> str:
    if text is None:
        return "(none)"
    shown = " ".join(text.split())
    return repr(shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list) and len(value) > 8:
        return f"[{len(value)} values]"
    return "NULL" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """A text from elsewhere in one line, without signs that would command a terminal."""
    shown = " ".join(text.split())
    shown = shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
