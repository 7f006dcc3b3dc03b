"""`pairmill probe`: the verb. Whatever is heavy is imported when it runs."""

import os
from typing import Annotated

import typer


def probe(
    scorer: Annotated[
        str,
        typer.Argument(
            metavar="SCORER",
            help="A scorer, package.module:Class, or with --recipe one of its instances.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="For probe.html and .json.")],
    parameters: Annotated[
        str | None,
        typer.Option("--with", metavar="YAML", help="Its parameters: 'model: x, pretrained: y'."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="A recipe that has the scorer and what it reads."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column to look at; by default the first of fractions.")
    ] = None,
    probes: Annotated[
        str | None,
        typer.Option(metavar="PROBES", help="What to ask, and data sets; by default all drawn."),
    ] = None,
) -> None:
    """What a score sees and what it can't: counts, relations, order, languages, written words."""
    from pipeline import storage
    from pipeline.errors import RecipeError
    from pipeline.probes import run
    from pipeline.probes.subject import Named
    from pipeline.probes.summary import lines

    storage.check_place(out)
    if not storage.is_local(out):
        raise RecipeError(f"--out {out}: must be a local folder")
    folder = os.path.abspath(storage.local(out))
    _, outcomes = run.probe_score(Named(scorer, parameters, recipe, column), probes, folder)
    for line in lines(outcomes):
        typer.echo(line)
    typer.echo(f"page: {os.path.join(folder, run.PAGE)}")
