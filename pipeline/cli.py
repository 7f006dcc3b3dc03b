"""The command line: the verbs, their options, and what a person reads when something is wrong.

Exit codes: 0 done, 2 the recipe or the command is wrong, 1 anything else. Whatever is heavy is
imported when a verb runs, so that `--help` answers at once.
"""

import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipeline.errors import CurationError, RecipeError
from pipeline.merging import merging
from pipeline.probes import commands as probes
from pipeline.reward import commands as reward
from pipeline.tuning import commands as tuning

if TYPE_CHECKING:
    from pipeline.build import Build
    from pipeline.recipe import Recipe as Loaded

INTERRUPTED = 130  # how typer says that Ctrl-C has ended a verb

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn crawls into training sets of image-text pairs: ingest, score, select, export.",
)
app.add_typer(reward.app, name="reward")
app.add_typer(tuning.app, name="filter")
app.command("merging")(merging)
app.command("probe")(probes.probe)

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="The output directory.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="local (one process), procs (all cores), dask, beam.")
]
Workers = Annotated[
    str,
    typer.Option(
        "--workers",
        metavar="N|gpu",
        help="Processes of the engine; 0: one per core. GPU scorers always have one per GPU;"
        " gpu: as 0, but refuse to begin without a GPU.",
    ),
]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="The dask cluster.")
]
PartOf = Annotated[
    str, typer.Option("--part", metavar="I/N", help="Do part I of N (from 0) of every stage.")
]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", help="How long a part waits for others."),
]
Memory = Annotated[
    str, typer.Option("--memory", help="Memory that selecting may use before it spills.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan, as the verb plan does; do nothing.")
]
BeamOptions = Annotated[
    list[str] | None, typer.Argument(metavar="[-- BEAM OPTIONS]", help="For --engine beam.")
]


def _verb(name: str, verb: str, text: str) -> None:
    def run(
        recipe: Recipe,
        out: Out,
        engine: EngineName = "procs",
        workers: Workers = "0",
        scheduler: Scheduler = None,
        part: PartOf = "0/1",
        wait: Wait = 3600.0,
        memory: Memory = "2GB",
        dry_run: DryRun = False,
        beam_options: BeamOptions = None,
    ) -> None:
        chosen = _engine(engine, workers, scheduler, beam_options or [])
        if dry_run:
            plan(recipe, out)
            return
        _do(verb, (recipe, out), chosen, (part, wait, memory))

    run.__doc__ = text
    app.command(name)(run)


def _do(verb: str, places: tuple[str, str], engine: Any, rest: tuple[str, float, str]) -> None:
    """Run a verb over a recipe and an output directory, and print what it says."""
    with _locked(*places, engine, rest) as build:
        from pipeline import verbs

        for text in getattr(verbs, verb)(build):
            _say(text)


_verb("build", "build", "Do everything: ingest, score, select, export, report.")


@app.command()
def ingest(
    recipe: Recipe,
    out: Out,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Fetch again what failed and may succeed now, and no more."),
    ] = False,
    engine: EngineName = "procs",
    workers: Workers = "0",
    scheduler: Scheduler = None,
    part: PartOf = "0/1",
    wait: Wait = 3600.0,
    memory: Memory = "2GB",
    dry_run: DryRun = False,
    beam_options: BeamOptions = None,
) -> None:
    """Bring every row of the sources into the pool."""
    chosen = _engine(engine, workers, scheduler, beam_options or [])
    if dry_run and retry:
        from pipeline.recipe import load_recipe
        from pipeline.retry import planned

        _say(planned(load_recipe(recipe), _directory(out)))
    elif dry_run:
        plan(recipe, out)
    else:
        _do("retry" if retry else "ingest", (recipe, out), chosen, (part, wait, memory))


_verb("score", "score", "Measure what the recipe asks for; a new scorer computes itself alone.")
_verb("select", "select", "Decide about every row; a changed threshold costs seconds.")
_verb("export", "export", "Write the kept rows as training shards.")


def _engine(name: str, workers: str, scheduler: str | None, beam_options: list[str]) -> Any:
    from pipeline import gpus
    from pipeline.run import Engine

    found: tuple[str, ...] = ()
    if workers == "gpu" and name == "procs":
        found, workers = gpus.required(), "0"
    elif workers == "gpu":
        raise RecipeError(f"--workers gpu goes with the procs engine, not with {name}")
    elif not (workers.isascii() and workers.isdecimal() and len(workers) < 10):
        raise RecipeError(f"--workers {workers}: expected a number from 0, or gpu")
    count = int(workers) or (len(os.sched_getaffinity(0)) if name == "procs" else 1)
    if name == "procs" and max(count, len(found)) == 1:
        name = "local"
    return Engine(name, count, scheduler, tuple(beam_options))


@contextmanager
def _locked(
    recipe: "str | Loaded", out: str, engine: Any, rest: tuple[str, float, str]
) -> "Iterator[Build]":
    """A build whose directories this process holds."""
    from pipeline import storage
    from pipeline.build import Build, Part
    from pipeline.progress import choose_progress
    from pipeline.recipe import load_recipe

    part, wait, memory = rest
    index, count = _parse_part(part)
    build = Build(
        recipe=load_recipe(recipe) if isinstance(recipe, str) else recipe,
        out=_directory(out),
        engine=engine,
        part=Part(index, count, wait),
        memory_limit=memory,
        progress=choose_progress(),
    )
    build.check()
    with storage.lock(build.out, shared=count > 1):
        if build.root != build.out:
            with storage.lock(build.root, shared=count > 1):
                yield build
        else:
            yield build


def _parse_part(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    is_numbers = text.isascii() and index.isdecimal() and count.isdecimal()
    if slash and is_numbers and len(text) < 20 and int(index) < int(count):
        return int(index), int(count)
    raise RecipeError(f"--part {text}: expected I/N with 0 <= I < N, such as 0/4")


def _directory(path: str) -> str:
    """An output directory as given, or from the root where it is a local path."""
    from pipeline import storage

    storage.check_place(path)
    return os.path.abspath(storage.local(path)) if storage.is_local(path) else path


def _say(text: str) -> None:
    """Print for a person; that nobody reads on (`| head`) stops no build."""
    try:
        typer.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def takedown(
    listed: Annotated[
        str,
        typer.Argument(
            metavar="LIST",
            help="Keys, URLs, domains, sha256 or phash of images: text, CSV, JSONL, Parquet.",
        ),
    ],
    out: Out,
    erase: Annotated[
        bool, typer.Option("--erase", help="Also empty the rows in pool, columns and caches.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(help="Why, for entries that do not say so themselves.")
    ] = None,
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Since when; by default today.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="If not that of the last build in --out.")
    ] = None,
    engine: EngineName = "procs",
    workers: Workers = "0",
    memory: Memory = "2GB",
) -> None:
    """Take rows out of use for good, and select and export again without them."""
    import datetime

    from pipeline import takedown as taking
    from pipeline.takedown_list import read_list

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    wanted = read_list(listed, reason, date or today)
    chosen = _engine(engine, workers, None, [])
    made = taking.recipe_of(_directory(out), recipe)
    with _locked(made, out, chosen, ("0/1", 0.0, memory)) as build:
        for text in taking.run(build, wanted, erase):
            _say(text)


@app.command()
def plan(recipe: Recipe, out: Out) -> None:
    """What would run, what is done already, rows, bytes and time; writes nothing."""
    from pipeline import plan as planning

    _say(planning.estimate(recipe, _directory(out)))


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A key, the start of one, a source key or a URL.")
    ],
    out: Out,
) -> None:
    """One row's whole story: source, columns, verdict, and the shard it went to."""
    from pipeline import explain as explaining

    _say(explaining.tell(key, _directory(out)))


@app.command()
def report(out: Out) -> None:
    """Write report.html again."""
    from pipeline import report as reporting

    reporting.rewrite(_directory(out))


@app.command()
def faults(
    table: Annotated[
        str, typer.Argument(metavar="FAULTS.csv", help="Columns file, fault; of, expect, step.")
    ],
    out: Out,
) -> None:
    """Recall and precision of faults that were planted on purpose; adds them to the report."""
    from pipeline import report as reporting

    reporting.show_faults(table, _directory(out))


@app.command()
def verify(out: Out) -> None:
    """Check every promise of the manifest against the files."""
    from pipeline import verify as verifying

    _say(verifying.check(_directory(out)))


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="DIR_A")],
    after: Annotated[str, typer.Argument(metavar="DIR_B")],
    limit: Annotated[int, typer.Option(min=0, help="Keys to list for each step.")] = 10,
) -> None:
    """Which rows went in or out between two builds, and by which step."""
    from pipeline import diff as diffing

    _say(diffing.tell(_directory(before), _directory(after), limit))


@app.command()
def schema() -> None:
    """The JSON Schema of a recipe, for editors."""
    import json

    from pipeline.catalog import parameter_schemas
    from pipeline.schema import recipe_schema

    _say(json.dumps(recipe_schema(parameter_schemas()), indent=1))


@app.command("check-training")
def check_training(out: Out) -> None:
    """Load the shards in webdataset, datasets and open_clip_train, and train one epoch."""
    from pipeline import check_training as checking

    _say(checking.check(_directory(out)))


def main() -> None:
    """Run a verb and leave with its exit code."""
    # One native thread a process: values don't depend on their number, and cores are for workers.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    for stream in (sys.stdout, sys.stderr):  # a caption may hold what a terminal can't show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("apache_beam", "distributed", "fsspec", "datasets", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        app()
    except (CurationError, OSError) as error:
        _complain(f"pairmill: {_escaped(str(error))}")
        _leave(2 if isinstance(error, RecipeError) else 1)
    except KeyboardInterrupt:  # where typer is not yet, or no longer, in charge
        _leave(INTERRUPTED)
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    _leave(0)


def _complain(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr)


def _leave(code: int) -> NoReturn:
    """End this process here, with this exit code; an interrupt is 1, as all that is not done.

    Whatever a verb writes is complete and has its name by now, and its own children are gone. The
    end of the interpreter has nothing left to do but to stop threads of libraries (of Beam, gRPC,
    Dask, DuckDB, Arrow): it waits for some of them for ever, and some it takes away from under
    native code, which now and then ends a finished build with SIGABRT.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == INTERRUPTED:
        _complain("pairmill: interrupted; what is done stays done")
        code = 1
    for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
        with contextlib.suppress(OSError, ValueError):  # nobody reads on, or it is closed
            flush()
    os._exit(code)


def _escaped(text: str) -> str:
    """A message without the signs that would command a terminal: it may quote what came in."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in text
    )
