"""The import rules and sizes of the house. A failure here is a question of design."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "filters", "recaption")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
BEAM = {f"pipeline/{name}.py" for name in ("run", "dask_runner", "portable", "procs")}
ONLY_IN = {
    "apache_beam": BEAM,
    "dask": BEAM,
    "distributed": BEAM,
    "duckdb": {"pipeline/database.py"},
    "tarfile": {"pipeline/shards.py"},
    "simplejpeg": {"pipeline/jpeg.py", "pipeline/decoding.py"},
    "protego": {"pipeline/fetch/rules.py"},
    "aiohttp": {
        "pipeline/fetch/client.py",
        "pipeline/fetch/failures.py",
        "filters/served_http.py",
        "filters/served_calls.py",
    },
    "selectolax": {
        f"pipeline/crawl/{n}.py" for n in ("page", "walk", "head", "structured", "outlinks")
    },
    "fastwarc": {f"pipeline/crawl/{n}.py" for n in ("archive", "warc", "wat")},
    "img2dataset": {"pipeline/sources/fetch_img2dataset.py"},
    "filters": set(),
    "recaption": set(),
}
HEAVY = ("torch", "open_clip", "transformers", "apache_beam", "duckdb", "pyarrow", "cv2", "typer")
BROAD = {  # the named places that may turn any exception into a record
    "pipeline/score.py",  # of a sample
    "pipeline/stage.py",  # of a shard
}
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 6


def module_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(tree: ast.Module) -> set[str]:
    """The modules that a file imports anywhere, by their full names."""
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return names | {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_module_imports_only_what_it_may(path):
    here = module_name(path)
    for name in {name.partition(".")[0] for name in imported(parsed(path))}:
        if name in ("filters", "recaption") and here.startswith(f"{name}/"):
            continue
        if name == "filters" and here.startswith("recaption/"):
            continue
        assert here in ONLY_IN.get(name, {here}), f"{here} may not import {name}"
        assert name != "pipeline" or here.startswith("pipeline/"), f"{here} may not import pipeline"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_module_has_the_size_and_the_docstrings_of_the_house(path):
    text = path.read_text()
    tree = parsed(path)
    assert text.count("\n") <= FILE_LINES
    assert ast.get_docstring(tree), "a module says what it promises"
    for function in functions(tree):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < FUNCTION_LINES, function.name
        arguments = function.args
        count = len([a for a in arguments.args if a.arg not in ("self", "cls")])
        is_command = here_is_command(path)
        assert is_command or count + len(arguments.kwonlyargs) <= PARAMETERS, function.name


def here_is_command(path: Path) -> bool:
    """Options of a command are parameters of its function: that is how typer reads them."""
    return module_name(path) == "pipeline/cli.py"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_only_the_named_places_catch_everything(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "bare except"
            names = ast.unparse(node.type)
            if names in ("Exception", "BaseException") and not _raises_again(node):
                assert module_name(path) in BROAD, f"line {node.lineno} catches {names}"


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """A handler that only tidies up or rewords and raises, or hands the exception on."""
    text = ast.unparse(handler)
    return any(isinstance(n, ast.Raise) for n in ast.walk(handler)) or "set_exception" in text


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_prints_but_the_command_line_and_the_report(path):
    if module_name(path) in ("pipeline/cli.py", "pipeline/report.py"):
        return
    calls = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
    prints = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not prints


def test_there_is_no_cycle_of_imports():
    graph = {}
    for path in SOURCES:
        name = module_name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        top = [n for n in parsed(path).body if isinstance(n, ast.Import | ast.ImportFrom)]
        graph[name] = {m for node in top for m in _targets(node)}
    done: set[str] = set()
    for start in graph:
        _walk(start, graph, [], done)


def _targets(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = node.module or ""
    return {f"{base}.{alias.name}" for alias in node.names} | {base}


def _walk(name: str, graph: dict[str, set[str]], above: list[str], done: set[str]) -> None:
    assert name not in above, " -> ".join([*above, name])
    if name in done:
        return
    for target in graph.get(name, set()) & graph.keys():
        if target != name and not name.startswith(f"{target}."):
            _walk(target, graph, [*above, name], done)
    done.add(name)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from pipeline.cli import app\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "['typer']", done.stderr


@pytest.mark.slow
def test_adding_a_scorer_takes_a_file_a_line_and_a_test():
    """Every scorer of the catalog is one line there, one class, and has a test file of its name."""
    from pipeline.catalog import SCORERS

    for target in SCORERS.values():
        package, _, module = target.partition(":")[0].rpartition(".")
        assert (ROOT / package / f"{module}.py").exists()
        assert (ROOT / "tests" / package / f"test_{module}.py").exists(), module
    others = [p for p in (ROOT / "pipeline").rglob("*.py") if p.name != "catalog.py"]
    for path in others:
        for target in SCORERS.values():
            name = re.escape(target.partition(":")[2])
            assert not re.search(rf"\b{name}\b", path.read_text()), f"{path} names {target}"
