"""Folders that img2dataset wrote: every row of its metadata, also of what it could not fetch.

Samples are matched to rows by their key; what a shard holds beyond the metadata is a row too.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pipeline import storage
from pipeline.errors import RecipeError
from pipeline.keys import digest
from pipeline.shards import Sample
from pipeline.sources.base import Incoming, Unit, captions_of, json_fields, readable
from pipeline.sources.fetching import judge
from pipeline.sources.tables import (
    broken,
    files_of,
    parquet_file,
    plain,
    read_rows,
    require_columns,
    text_of,
)
from pipeline.sources.webdataset import row_of, samples_of, take_image

_IMAGES = ("jpg", "png", "webp")  # what img2dataset calls its images, whatever they are
_BATCH = 32
_FOR_ITSELF = ("key", "status", "error_message")


@dataclass(frozen=True)
class Img2datasetOutput:
    """An output folder of img2dataset: `webdataset`, `files` or `parquet`, with its metadata.

    A row that is marked as a success and has no sample failed with `missing_sample`. Captions
    are the `caption` of the metadata, and the `.txt` where it says something else.
    """

    name: str
    root: str
    fetches: ClassVar[bool] = False
    web: ClassVar[None] = None

    def units(self) -> list[Unit]:
        found = files_of(self.root, f"source {self.name!r}")
        files = [file for file in found if not file.startswith("_tmp/")]
        shards = [f.removesuffix(".parquet") for f in files if _is_shard_file(f, ".parquet")]
        self._check_whole(files, frozenset(shards))
        inside: dict[str, list[str]] = defaultdict(list)
        for file in files:
            folder, slash, name = file.partition("/")
            if slash:
                inside[folder].append(name)
        for file in files:
            if _is_shard_file(file, ".tar"):
                size = storage.size(storage.join(self.root, file))
                inside[file.removesuffix(".tar")].append(f"{size}")
        return [self._unit(shard, inside.get(shard, ())) for shard in shards]

    def _check_whole(self, files: Sequence[str], shards: frozenset[str]) -> None:
        """Raises RecipeError for shards without metadata, and when there are no shards."""
        tars = [f for f in files if any(_is_shard_file(f, e) for e in (".tar", ".tfrecord"))]
        folders = [f.split("/")[0] for f in files if "/" in f and f.split("/")[0].isdecimal()]
        for name in dict.fromkeys([*tars, *folders]):
            stem = name.partition(".")[0]
            if stem not in shards:
                raise RecipeError(
                    f"source {self.name!r}: {storage.join(self.root, name)} has no {stem}.parquet"
                    " beside it, which says what img2dataset fetched; to read samples without it"
                    " use `webdataset:` or `folder:`"
                )
            if name.endswith(".tfrecord"):
                raise RecipeError(f"source {self.name!r}: {name}: tfrecord is not read")
        if not shards:
            raise RecipeError(
                f"source {self.name!r}: {self.root} holds no output of img2dataset"
                " (00000.parquet and so on)"
            )

    def _unit(self, shard: str, inside: Sequence[str]) -> Unit:
        path = storage.join(self.root, f"{shard}.parquet")
        try:
            file = parquet_file(path)
        except RecipeError as error:
            hint = "img2dataset was stopped while it wrote it; run it again, or remove the shard"
            raise RecipeError(f"{error.message}; maybe {hint}") from error
        where = f"source {self.name!r}: {path}"
        require_columns(file.schema_arrow.names, ["key", "url", "status"], where)
        stamp = [str(storage.size(path)), *inside]
        stamped = digest(*(s.encode("utf-8", "surrogatepass") for s in stamp)).hex()
        return Unit(self.name, path, stop=file.metadata.num_rows, stamp=stamped)

    def read(self, unit: Unit) -> Iterator[Incoming]:
        samples = _samples(unit)
        shard = unit.path.rpartition("/")[2]
        for number, fields in enumerate(read_rows(unit, _BATCH)):
            yield broken(fields, f"{shard}:{number}") or _row(fields, samples)
        for sample in samples.rest():
            yield _unlisted(sample)

    def fetch(self, rows: Iterable[Incoming]) -> Iterator[Incoming]:
        return iter(rows)


class _Samples(Protocol):
    """The samples of a shard, each of which is taken once."""

    def take(self, fields: dict[str, Any]) -> Sample | None: ...

    def rest(self) -> Iterator[Sample]: ...

    @property
    def detail(self) -> str: ...


def _samples(unit: Unit) -> _Samples:
    stem = unit.path.removesuffix(".parquet")
    if storage.exists(f"{stem}.tar"):
        return _InTar(f"{stem}.tar")
    columns = parquet_file(unit.path).schema_arrow.names
    return _InFolder(stem) if _image_column(columns) is None else _InColumn()


class _InTar:
    """Read once, in order; a class because samples that came too early are held until asked for.

    img2dataset writes rows and samples in one order; then one sample is in memory.
    """

    def __init__(self, path: str) -> None:
        self.detail = "there is no such sample in the tar"
        self._early: dict[str, deque[Sample]] = defaultdict(deque)
        self._left = Counter(s.key for s in self._whole(samples_of(path, headers_only=True)))
        self._stream = self._whole(samples_of(path))

    def take(self, fields: dict[str, Any]) -> Sample | None:
        key = str(fields["key"])
        if not self._left[key]:
            return None
        self._left[key] -= 1
        if self._early[key]:
            return self._early[key].popleft()
        for sample in self._stream:
            if sample.key == key:
                return sample
            self._early[sample.key].append(sample)
        return None

    def rest(self) -> Iterator[Sample]:
        for held in self._early.values():
            yield from held
        yield from self._stream

    def _whole(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if sample.failed == "truncated_archive":
                self.detail = sample.detail or self.detail
            else:
                yield sample


class _InFolder:
    """Files by key; a class because it knows which were taken."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: dict[str, list[str]] = defaultdict(list)
        self.detail = "there are no such files"
        root, _, shard = path.rpartition("/")
        if storage.leads_out(root or "/", shard):
            self.detail = "its folder is a link that leads out of the source, and is not opened"
            return
        for file in storage.files_below(path) if storage.is_folder(path) else ():
            self._files[file.partition(".")[0]].append(file)

    def take(self, fields: dict[str, Any]) -> Sample | None:
        key = str(fields["key"])
        files = self._files.pop(key, None)
        return None if files is None else self._sample(key, files)

    def _sample(self, key: str, files: Sequence[str]) -> Sample:
        paths = {file.partition(".")[2].lower(): storage.join(self._path, file) for file in files}
        for file in files:
            if storage.leads_out(self._path, file):
                detail = f"{readable(file)} is a link that leads out of the folder"
                return Sample(key, {}, "link_outside", f"{detail}, and is not opened")
        try:
            return Sample(key, {e: storage.read_bytes(path) for e, path in paths.items()})
        except OSError as error:
            return Sample(key, {}, "unreadable_file", error.strerror or str(error))

    def rest(self) -> Iterator[Sample]:
        for key, files in self._files.items():
            yield self._sample(key, files)


class _InColumn:
    """The images are in the metadata itself."""

    detail = "the row holds no image"

    def take(self, fields: dict[str, Any]) -> Sample | None:
        column = _image_column(list(fields))
        data = None if column is None else fields.pop(column)
        if column is None or data is None:
            return None
        text = fields.pop("txt", None)
        parts = {} if text is None else {"txt": str(text).encode("utf-8", "replace")}
        return Sample(str(fields["key"]), {column: data, **parts})

    def rest(self) -> Iterator[Sample]:
        return iter(())


def _row(fields: dict[str, Any], samples: _Samples) -> Incoming:
    """The row of a line of metadata, with its sample when it has one."""
    status = fields.get("status")
    sample = samples.take(fields) if status == "success" else None
    row = _described(fields)
    if sample is not None:
        _add_sample(row, sample)
    elif status == "success":
        row.failed, row.detail, row.retriable = "missing_sample", samples.detail, False
    else:
        message = text_of(fields.get("error_message"))
        outcome = judge(message or f"status {status}")
        row.failed, row.detail, row.retriable = outcome.failed, outcome.detail, outcome.retriable
        if status == "failed_to_resize":
            row.failed, row.retriable = "failed_to_resize", False
    return row


def _unlisted(sample: Sample) -> Incoming:
    """The row of a sample that the metadata does not name."""
    row = _described({"key": sample.key, **json_fields(sample.parts.get("json"))})
    _add_sample(row, sample)
    return row


def _described(fields: dict[str, Any]) -> Incoming:
    others = {k: v for k, v in fields.items() if k not in (*_FOR_ITSELF, "url", "caption")}
    return Incoming(
        source_key=text_of(fields.get("key")),
        url=text_of(fields.get("url")) or None,
        captions=captions_of(fields.get("caption"), "caption"),
        meta=plain(others),
    )


def _add_sample(row: Incoming, sample: Sample) -> None:
    found = row_of(sample)
    row.failed, row.detail, row.retriable = found.failed, found.detail, found.retriable
    take_image(row, sample)
    known = {caption["text"] for caption in row.captions}
    written = captions_of(sample.parts.get("txt") or None, "txt")
    row.captions += [caption for caption in written if caption["text"] not in known]


def _is_shard_file(file: str, ending: str) -> bool:
    return file.endswith(ending) and file.removesuffix(ending).isdecimal()


def _image_column(columns: Sequence[str]) -> str | None:
    return next((name for name in _IMAGES if name in columns), None)
