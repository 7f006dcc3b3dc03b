"""Beam on a Dask cluster: every step is run and no row is lost, or the graph is refused.

Beam's own DaskRunner runs only the last leaf of a graph, mixes tagged outputs and drops what
`finish_bundle` gives. This one takes from it the options and the type of a result, and leans on
private modules of Beam, so its minor version is pinned. Rows stay on the cluster: the client
sees states only. What is grouped, redistributed or read as a side input passes through the
memory of one worker, so it must be small rows.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.coders import FastPrimitivesCoder
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners import common
from apache_beam.runners.dask.dask_runner import DaskOptions, DaskRunner, DaskRunnerResult
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.core import _MultiParDo
from apache_beam.transforms.sideinputs import SideInputMap
from apache_beam.transforms.window import GlobalWindows
from dask.distributed import Client, Future, KilledWorker

from pipeline import aside, portable
from pipeline.errors import CurationError

CONNECT_S = 10
NO_WORKERS_S = 300.0  # a cluster that grows on demand needs minutes
POLL_S = 0.2
WORKERS_EVERY_S = 2.0
MAX_PARTITIONS = 10_000  # of a Create
FEWEST_PARTITIONS, MOST_GROUP_PARTITIONS = 8, 256  # that rows are dealt out to

Rows = list[Any]
Step = Callable[[Rows, Sequence[Rows]], Rows]  # rows of a partition, rows of each side input


class WorkersKilled(CurationError):
    """Some partitions cost every worker that tried them; all others have been done."""


# On the workers


@dataclass(frozen=True)
class _Bundle:
    """A ParDo over the rows of one partition. Its function is pickled, so no two share it."""

    label: str
    function: bytes  # DoFn, arguments, keyword arguments
    views: bytes  # type and options of each side input
    tags: frozenset[str | None]  # outputs that somebody takes; None is the main one
    other_tags: frozenset[str] | None  # declared outputs that nobody takes; None: any name

    def __call__(self, rows: Rows, sides: Sequence[Rows]) -> Rows:
        if not rows:
            return []
        outputs: list[tuple[str | None, Any]] = []
        invoker = self._invoker(_Receivers(self, outputs), sides)
        invoker.invoke_setup()
        try:
            invoker.invoke_start_bundle()
            for row in rows:
                invoker.invoke_process(GlobalWindows.windowed_value(row))
            invoker.invoke_finish_bundle()
        finally:
            invoker.invoke_teardown()
        return list(outputs)

    def _invoker(self, receivers: "_Receivers", sides: Sequence[Rows]) -> Any:
        function, args, kwargs = pickler.loads(self.function)
        maps = [
            SideInputMap(view, options, [GlobalWindows.windowed_value(row) for row in side])
            for (view, options), side in zip(pickler.loads(self.views), sides, strict=True)
        ]
        handler = common._OutputHandler(
            window_fn=GlobalWindows(),
            main_receivers=receivers[None],
            tagged_receivers=receivers,
            per_element_output_counter=None,
            output_batch_converter=None,
            process_yields_batches=False,
            process_batch_yields_elements=False,
        )
        return common.DoFnInvoker.create_invoker(
            common.DoFnSignature(function),
            handler,
            context=common.DoFnContext(self.label, state=None),
            side_inputs=maps,
            input_args=list(args),
            input_kwargs=dict(kwargs),
        )


class _Receiver(common.Receiver):
    """Appends the outputs of one tag. Mutable: Beam pushes values into it."""

    def __init__(self, tag: str | None, outputs: list[tuple[str | None, Any]]) -> None:
        self.tag, self.outputs = tag, outputs

    def receive(self, windowed_value: Any) -> None:
        self.outputs.append((self.tag, windowed_value.value))


class _Receivers(dict[str | None, common.Receiver]):
    """A receiver for each tag; KeyError for one that was not declared. Mutable: it fills itself."""

    def __init__(self, bundle: _Bundle, outputs: list[tuple[str | None, Any]]) -> None:
        super().__init__({tag: _Receiver(tag, outputs) for tag in bundle.tags})
        self.others = bundle.other_tags

    def __missing__(self, tag: str) -> common.Receiver:
        if self.others is not None and tag not in self.others:
            raise KeyError(tag)
        self[tag] = _Receiver(tag, [])
        return self[tag]


@dataclass(frozen=True)
class _Tagged:
    """The rows that a ParDo put out under one tag."""

    tag: str | None

    def __call__(self, rows: Rows, sides: Sequence[Rows]) -> Rows:
        return [value for tag, value in rows if tag == self.tag]


@dataclass(frozen=True)
class _Keyed:
    """(encoded key, key, value) of each row; a key is what its bytes are, as in other runners."""

    label: str

    def __call__(self, rows: Rows, sides: Sequence[Rows]) -> Rows:
        coder = FastPrimitivesCoder().as_deterministic_coder(self.label)
        return [(coder.encode(key), key, value) for key, value in rows]


def _counted(rows: Rows, sides: Sequence[Rows]) -> Rows:
    return [len(rows)]


def _rows(part: bytes | Rows) -> Rows:
    return list(pickler.loads(part)) if isinstance(part, bytes) else part


def _run_steps(part: bytes | Rows, steps: Sequence[Step], sides: Sequence[Rows] = ()) -> Rows:
    """Run steps one after the other; side inputs are those of the last one."""
    rows = _rows(part)
    for step in steps[:-1]:
        rows = step(rows, ())
    return steps[-1](rows, sides)


def _gathered(parts: Iterable[bytes | Rows]) -> Rows:
    return [row for part in parts for row in _rows(part)]


def _grouped(parts: Iterable[Rows]) -> Rows:
    """(key, values) in the order of the encoded keys."""
    groups: dict[bytes, tuple[Any, Rows]] = {}
    for encoded, key, value in _gathered(parts):
        groups.setdefault(encoded, (key, []))[1].append(value)
    return [groups[encoded] for encoded in sorted(groups)]


def _dealt(part: int, rows: Rows, count: int) -> Rows:
    return rows[part::count]


# On the client


@dataclass(frozen=True)
class _Parts:
    """A PCollection: pickled rows or futures of rows, and the steps still to be run on each."""

    parts: tuple[bytes | Future[Any], ...]
    steps: tuple[Step, ...] = ()

    def then(self, step: Step) -> "_Parts":
        return replace(self, steps=(*self.steps, step))

    @property
    def label(self) -> str | None:
        """The first function that is still to be run."""
        return next((step.label for step in self.steps if isinstance(step, _Bundle)), None)


class _Translation:
    """Submits a graph step by step. Mutable: it collects what it submitted.

    Functions that follow each other run as one task, as long as each has one consumer; more
    would run them more than once.
    """

    def __init__(self, client: Client, graph: Sequence[AppliedPTransform]) -> None:
        self.futures: list[Future[Any]] = []
        self._client, self._run, self._submissions = client, uuid.uuid4().hex, 0
        self._collections: dict[Any, _Parts] = {}
        self._uses = Counter[Any](c for node in graph for c in node.main_inputs.values())
        self._sides = Counter[Any](side.pvalue for node in graph for side in node.side_inputs)

    def add(self, node: AppliedPTransform) -> None:
        inputs = [self._collections[c] for c in node.main_inputs.values() if c in self._collections]
        transform = node.transform
        if isinstance(transform, beam.ParDo):
            self._add_function(node, inputs[0])
        elif isinstance(transform, beam.Create):
            self._put(node, None, _created(transform.values))
        elif isinstance(transform, beam.Flatten):
            parts = [part for rows in inputs for part in self._submitted(rows).parts]
            self._put(node, None, _Parts(tuple(parts)))
        elif isinstance(transform, beam.GroupByKey):
            keyed = inputs[0].then(_Keyed(node.full_label))
            self._put(node, None, self._redistributed(_grouped, keyed, MOST_GROUP_PARTITIONS))
        elif isinstance(transform, beam.Reshuffle):
            self._put(node, None, self._redistributed(_gathered, inputs[0], MAX_PARTITIONS))
        else:
            raise AssertionError(f"{node.full_label} passed the guard")

    def _add_function(self, node: Any, rows: _Parts) -> None:
        sides = [self._merged(_gathered, self._collections[s.pvalue]) for s in node.side_inputs]
        todo = rows.then(_bundle(node))
        if len(node.outputs) > 1 or sides:
            todo = self._submitted(todo, sides)
        for tag in node.outputs:
            self._put(node, tag, todo.then(_Tagged(tag)))

    def _put(self, node: Any, tag: str | None, rows: _Parts) -> None:
        """Keep an output for its consumers; what nobody consumes is run as well."""
        output = node.outputs[tag]
        uses, sides = self._uses[output], self._sides[output]
        if uses + sides == 0 and rows.label is not None:
            self._submitted(rows.then(_counted))
        self._collections[output] = self._submitted(rows) if uses > 1 or sides else rows

    def _submitted(self, rows: _Parts, sides: Sequence[Future[Any]] = ()) -> _Parts:
        if not rows.steps:
            return rows
        run = partial(_run_steps, steps=rows.steps)
        return self._mapped(run, rows.parts, rows.label, sides=list(sides))

    def _mapped(
        self, run: Callable[..., Rows], parts: Sequence[Any], label: str | None, **shared: Any
    ) -> _Parts:
        keys = self._keys(label, len(parts))
        futures = self._client.map(run, list(parts), key=keys, pure=False, **shared)
        self.futures += futures
        return _Parts(tuple(futures))

    def _merged(self, merge: Callable[[Any], Rows], rows: _Parts) -> Future[Any]:
        (key,) = self._keys("merge", 1)
        parts = list(self._submitted(rows).parts)
        future = self._client.submit(merge, parts, key=key, pure=False)
        self.futures.append(future)
        return future

    def _redistributed(self, merge: Callable[[Any], Rows], rows: _Parts, most: int) -> _Parts:
        merged = self._merged(merge, rows)
        count = min(max(len(rows.parts), FEWEST_PARTITIONS), most)
        return self._mapped(_dealt, range(count), "deal", rows=merged, count=count)

    def _keys(self, label: str | None, count: int) -> list[str]:
        """Names that no other run on this scheduler has: equal names would share a result."""
        self._submissions += 1
        prefix = f"{label or 'rows'}-{self._run}-{self._submissions}"
        return [f"{prefix}-{part}" for part in range(count)]


def _created(values: Sequence[Any]) -> _Parts:
    """One row to a partition; an empty collection has one empty partition."""
    size = max(1, -(-len(values) // MAX_PARTITIONS))
    chunks = [list(values[i : i + size]) for i in range(0, len(values), size)]
    return _Parts(tuple(pickler.dumps(chunk) for chunk in chunks or [[]]))


def _bundle(node: Any) -> _Bundle:
    transform = node.transform
    views = [(type(side), side._view_options()) for side in node.side_inputs]
    return _Bundle(
        label=node.full_label,
        function=pickler.dumps((transform.fn, transform.args, transform.kwargs)),
        views=pickler.dumps(views),
        tags=frozenset(node.outputs),
        other_tags=_declared_tags(node.parent.transform),
    )


def _declared_tags(parent: Any) -> frozenset[str] | None:
    """The names of additional outputs, None when any will do."""
    if not isinstance(parent, _MultiParDo):
        return frozenset()
    is_open = parent._allow_unknown_tags
    if is_open or (is_open is None and not parent._tags):
        return None
    return frozenset(parent._tags)


class StrictDaskRunner(DaskRunner):
    """Runs a graph on the scheduler at `--dask_client_address`; it never starts a cluster.

    `tick` is called several times a second while the result is waited for.
    """

    def __init__(self, tick: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._tick = tick

    @staticmethod
    def is_fnapi_compatible() -> bool:
        return True  # keeps Beam from rebuilding the graph out of its serialized form

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> "StrictDaskResult":
        graph = portable.steps(pipeline)
        client = connect(options.view_as(DaskOptions).get_all_options()["address"])
        try:
            translation = _Translation(client, graph)
            for node in graph:
                translation.add(node)
        except BaseException:
            client.close()
            raise
        return StrictDaskResult(client, translation.futures, self._tick)


def connect(address: str | None) -> Client:
    """A client of the scheduler at an address; CurationError when nobody answers there."""
    if address is None:
        raise CurationError("no --dask_client_address: this runner needs a running cluster")
    client = partial(Client, address, timeout=CONNECT_S, set_as_default=False)
    try:
        # A port that takes connections and says nothing holds `Client` for ever.
        return aside.begin(client).result(1.5 * CONNECT_S)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last: TLS and no keys
        text = f"no Dask scheduler answers at {address} within {CONNECT_S} s"
        raise CurationError(f"{text} ({type(error).__name__})") from error


@dataclass
class StrictDaskResult(DaskRunnerResult):
    """A run that has been submitted. Mutable, as results of Beam are."""

    tick: Callable[[], None] = lambda: None

    def wait_until_finish(self, duration: float | None = None) -> str:
        """Wait for every task, also when some fail, then raise the first error.

        `duration` is in milliseconds. Raises WorkersKilled, or CurationError when the cluster is
        lost. The connection is closed in any case.
        """
        self._state = PipelineState.FAILED
        try:
            self._wait(duration)
        except BaseException:
            self.client.cancel(list(self.futures))
            raise
        finally:
            self.client.close()
        self._state = PipelineState.DONE
        return str(self._state)

    def _wait(self, duration: float | None) -> None:
        started = seen = asked = time.monotonic()
        while any(future.status in ("pending", "lost") for future in self.futures):
            now = time.monotonic()
            if duration is not None and now - started > duration / 1000:
                raise CurationError(f"not finished within {duration / 1000:g} s")
            if now - seen > NO_WORKERS_S:
                raise CurationError(f"the cluster has had no workers for {NO_WORKERS_S:g} s")
            if now - asked > WORKERS_EVERY_S:
                asked = now
                seen = now if self._workers() else seen
            self.tick()
            time.sleep(POLL_S)
        _raise_first(self.futures)

    def _workers(self) -> int:
        return int(self.client.scheduler_info(n_workers=0)["n_workers"])


def _raise_first(futures: Sequence[Future[Any]]) -> None:
    states = Counter(future.status for future in futures)
    if states["cancelled"]:
        raise CurationError("the connection with the Dask scheduler was lost")
    errors = [future.exception() for future in futures if future.status == "error"]
    others = [error for error in errors if not isinstance(error, KilledWorker)]
    if others:
        raise others[0]
    if errors:
        raise WorkersKilled(f"worker died {errors[0].allowed_failures + 1} times while running it")
