"""`pairmill merging`: the verb; what it measures with is imported when it runs."""

import os
from typing import Annotated

import typer


def merging(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The output directory.")],
    merge: Annotated[
        list[str] | None,
        typer.Option(help="A plan such as tome:8 or pitome:0.9; several may be given."),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=100, help="Rows to score at most; those with the smallest draws.")
    ] = 2000,
    fraction: Annotated[
        float, typer.Option(help="The share of rows that a selection would keep.")
    ] = 0.3,
    at_least: Annotated[
        float | None, typer.Option(help="Exit with 1 if a Spearman correlation is below this.")
    ] = None,
) -> None:
    """What token merging costs a recipe's `clip` in agreement, and what it gains in speed."""
    from pipeline import merging_cost, storage
    from pipeline.errors import RecipeError

    if not 0 < fraction < 1:
        raise RecipeError(f"--fraction {fraction:g}: must be between 0 and 1")
    storage.check_place(out)
    place = os.path.abspath(storage.local(out)) if storage.is_local(out) else out
    wanted = merging_cost.Wanted(tuple(dict.fromkeys(merge or [])), rows, fraction)
    found = merging_cost.compare(recipe, place, wanted)
    for line in merging_cost.lines_of(found, fraction):
        typer.echo(line)
    if at_least is not None:
        merging_cost.require(found, at_least)
