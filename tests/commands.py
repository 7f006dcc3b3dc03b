"""Runs the command line in this process, as a person would: an exit code and what is printed."""

from typing import Any

from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import CurationError, RecipeError

VERBS_WITH_ENGINE = ("build", "ingest", "score", "select", "export")


def pairmill(*arguments: Any) -> tuple[int, str]:
    """Exit code and text of a command, on the local engine unless another is named.

    What would end with a traceback is raised.
    """
    words = [str(argument) for argument in arguments]
    if words[0] in VERBS_WITH_ENGINE and "--engine" not in words:
        words += ["--engine", "local"]
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, RecipeError):
        return 2, str(result.exception)
    if isinstance(result.exception, CurationError | OSError):
        return 1, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def done(*arguments: Any) -> str:
    """The text of a command that must succeed."""
    code, text = pairmill(*arguments)
    assert code == 0, text
    return text
