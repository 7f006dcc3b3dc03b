"""Beam graphs: the one of a stage, and a guard against what engines don't run alike.

Allowed are `Create` of descriptors, `ParDo` and its relatives, small rows through `GroupByKey`,
combiners, `CoGroupByKey`, `Flatten` and side inputs. Refused are sources and sinks of Beam,
windows, time stamps, state, splittable and batch functions, and models in the graph.
"""

import contextlib
import difflib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pipeline import procs
from pipeline.errors import CurationError
from pipeline.stage import Stage, Task, Turns


@contextlib.contextmanager
def _without_cloud_notices() -> Iterator[None]:
    """Drop what Beam logs while it is imported where no Google client is installed.

    `logging.warning`, which it uses, would also give the root logger a handler if it had none.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    bigquery = logging.getLogger("apache_beam.io.gcp.bigquery")

    def is_wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("apitools not found")

    root.addHandler(handler)
    root.addFilter(is_wanted)
    bigquery.setLevel(logging.WARNING)
    try:
        yield
    finally:
        bigquery.setLevel(logging.NOTSET)
        root.removeFilter(is_wanted)
        root.removeHandler(handler)


with _without_cloud_notices():
    import apache_beam as beam
    import grpc  # type: ignore[import-untyped]
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
    from apache_beam.pipeline import AppliedPTransform
    from apache_beam.runners.common import DoFnSignature
    from apache_beam.runners.runner import PipelineRunner, create_runner
    from apache_beam.transforms.window import GlobalWindows

MAX_DESCRIPTORS = 10_000

# Taken as one step: what is inside differs between runners, the meaning doesn't.
WHOLE = (beam.Create, beam.GroupByKey, beam.Reshuffle, beam.Flatten)

_FOREIGN = {
    "apache_beam.io": "sources and sinks of Beam: read and write whole shards in a ParDo instead",
    "apache_beam.ml": "models in the graph: call the model inside the ParDo over whole shards",
    "apache_beam.dataframe": "data frames of Beam",
    "apache_beam.testing.test_stream": "streams",
}


# Runners of this process: no job server behind them may know options that Beam itself does not.
_LOCAL = ("direct", "fnapi", "switchingdirect", "bundlebaseddirect", "testdirect")


class NotPortable(CurationError):
    """A Beam graph uses something that not all engines run alike."""


def stage_graph(
    stage: Stage,
    run: str,
    tasks: Sequence[Task],
    options: Sequence[str],
    runner: PipelineRunner | None = None,
) -> beam.Pipeline:
    """A checked graph that does each task once and fails unless all of them came to an end."""
    source = beam.Create(_groups(tasks))  # redistributes its elements where a runner can
    do = _Do(stage, run, _unheard)
    return _graph(source, do, partial(_require, expected=len(tasks)), options, runner)


def worker_graph(stage: Stage, run: str) -> beam.Pipeline:
    """A checked graph for a worker of `procs`, which does tasks as it pulls them."""
    source = beam.Create([None]) | "Pull" >> beam.FlatMap(_pull)
    do = _Do(stage, run, procs.report_ended)
    return _graph(source, do, procs.confirm, ("--runner=FnApiRunner",))


def options_problem(options: Sequence[str], runner: str) -> str | None:
    """Why Beam can't take these options, or has no such runner; None when it can. Nothing runs."""
    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            _, unknown = parsers[0].parse_known_args(list(options))
    except SystemExit as end:  # as argparse does about a bad value, and when it is asked for help
        words = said.getvalue().rstrip().rpartition(": error: ")[2]
        return f"options of Beam: {words if end.code else 'their help is in the manual of Beam'}"
    is_local = runner.lower().rpartition(".")[2].removesuffix("runner") in _LOCAL
    stray = [word for word in unknown if is_local or not word.startswith("-")]
    if stray and (is_local or unknown[0] == stray[0]):
        return _unknown_option(stray[0], list(parsers[0]._option_string_actions))
    try:
        made = create_runner(runner)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        return f"--runner={runner}: {error}"
    return None if isinstance(made, PipelineRunner) else f"--runner={runner}: is no runner of Beam"


def _unknown_option(word: str, known: Sequence[str]) -> str:
    name = word.partition("=")[0]
    close = difflib.get_close_matches(name, known, n=2)
    guess = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"options of Beam: {word!r} is none{guess}"


def complete(pipeline: beam.Pipeline) -> None:
    """Run a graph to its end; CurationError when its runner says that it did not get there."""
    try:
        state = pipeline.run().wait_until_finish()
    except grpc.FutureTimeoutError as error:  # it says nothing at all
        given = pipeline.options.view_as(PortableOptions)
        where = f"no job server answers at {given.job_endpoint}"
        raise CurationError(f"{where} within {given.job_server_timeout} s") from error
    if state != "DONE":
        raise CurationError(f"the runner ended in state {state}")


_interrupted: set[str] = set()  # runs of this process that were broken off


def interrupt(run: str) -> None:
    """Have a run in another thread of this process skip what it has not begun."""
    _interrupted.add(run)


def _graph(
    source: Any,
    do: beam.DoFn,
    check: Callable[[int], None],
    options: Sequence[str],
    runner: PipelineRunner | None = None,
) -> beam.Pipeline:
    """`source` gives elements, `do` does the tasks of one and says how many it did."""
    logging.getLogger("apache_beam.runners.common").addFilter(_is_news)
    logger = logging.getLogger("apache_beam")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)  # at INFO, Beam logs each step of its own planning
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(options)))
    counts = pipeline | "Tasks" >> source | "Run" >> beam.ParDo(do)
    _ = counts | "Count" >> beam.CombineGlobally(sum) | "Check" >> beam.Map(check)
    check_portable(pipeline)
    return pipeline


def _is_news(record: logging.LogRecord) -> bool:
    """False of what a user will read anyway: Beam logs it with the whole way it came."""
    return record.exc_info is None or not isinstance(record.exc_info[1], CurationError)


def _groups(tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
    """At most MAX_DESCRIPTORS runs of tasks in their order, of equal length but for the last."""
    size = -(-len(tasks) // MAX_DESCRIPTORS)
    return [tuple(tasks[i : i + size]) for i in range(0, len(tasks), size)]


class _Do(beam.DoFn):
    """Does groups of tasks, and says how many; when a bundle is over, all of them have ended."""

    def __init__(self, stage: Stage, run: str, ended: Callable[[str], None]) -> None:
        self._stage, self._run, self._ended = stage, run, ended

    def start_bundle(self) -> None:
        self._turns = Turns(self._stage, self._run, self._ended)

    def process(self, group: Sequence[Task]) -> Iterator[int]:
        for task in group:
            if self._run not in _interrupted:
                self._turns.do(task)
        yield len(group)

    def finish_bundle(self) -> None:
        self._turns.settle()


def _unheard(name: str) -> None:
    """Nobody waits for the end of a single task."""


def _require(count: int, expected: int) -> None:
    if count != expected:
        raise CurationError(f"{expected} tasks were given, {count} came to an end")


def _pull(_: None) -> Iterator[tuple[Task]]:
    return ((task,) for task in procs.pull())


def check_portable(pipeline: beam.Pipeline) -> None:
    """Raise NotPortable, naming the step, unless every engine gives this graph the same meaning."""
    for node in _nodes(pipeline):
        _refuse(node, _foreign(node) or _unsupported(node) or _too_many(node))


def steps(pipeline: beam.Pipeline) -> list[AppliedPTransform]:
    """The steps of a graph, inputs first, those of WHOLE undivided.

    Raises NotPortable unless they need no more than that elements are processed once, grouped by
    key and joined. Unlike `check_portable` it lets through what is merely unwise.
    """
    found = [node for node in _nodes(pipeline) if _is_step(node)]
    for node in found:
        _refuse(node, _unsupported(node))
    return found


def _refuse(node: AppliedPTransform, problem: str | None) -> None:
    if problem is not None:
        raise NotPortable(f"step {node.full_label!r} is not portable: {problem}")


def _unsupported(node: AppliedPTransform) -> str | None:
    for output in node.outputs.values():
        windowing = getattr(output, "windowing", None)
        if windowing is None:
            continue
        if not isinstance(windowing.windowfn, GlobalWindows):
            return "windows"
        if not windowing.is_default():
            return "triggers"
    if isinstance(node.transform, beam.WindowInto):
        return None  # into the one global window, as its output says: changes nothing
    if isinstance(node.transform, beam.ParDo):
        return _unsupported_function(node.transform.fn)
    if _is_step(node) and not isinstance(node.transform, WHOLE):
        return f"{type(node.transform).__name__} (a source, or a step of another runner)"
    return None


def _unsupported_function(function: beam.DoFn) -> str | None:
    signature: Any = DoFnSignature(function)
    if signature.is_stateful_dofn():
        return "state and timers"
    if signature.is_splittable_dofn():
        return "splittable functions"
    if signature.has_bundle_finalization():
        return "bundle finalization"
    if type(function).process_batch is not beam.DoFn.process_batch:
        return "functions over batches of Beam"
    if any(default is beam.DoFn.TimestampParam for default in signature.process_method.defaults):
        return "time stamps"
    return None


def _foreign(node: AppliedPTransform) -> str | None:
    module = type(node.transform).__module__
    for name, problem in _FOREIGN.items():
        if module == name or module.startswith(f"{name}."):
            return problem
    return None


def _too_many(node: AppliedPTransform) -> str | None:
    if not isinstance(node.transform, beam.Create):
        return None
    count = len(node.transform.values)
    if count <= MAX_DESCRIPTORS:
        return None
    return f"{count} descriptors (limit {MAX_DESCRIPTORS}): let each stand for a range of shards"


def _nodes(pipeline: beam.Pipeline) -> Iterator[AppliedPTransform]:
    root = pipeline._root_transform()
    for part in root.parts:
        yield from _below(part)


def _below(node: AppliedPTransform) -> Iterator[AppliedPTransform]:
    yield node
    if not isinstance(node.transform, WHOLE):
        for part in node.parts:
            yield from _below(part)


def _is_step(node: AppliedPTransform) -> bool:
    """Neither a composite nor one that hands its input on."""
    if isinstance(node.transform, WHOLE):
        return True
    inputs = set(node.main_inputs.values())
    return not node.parts and not all(output in inputs for output in node.outputs.values())
