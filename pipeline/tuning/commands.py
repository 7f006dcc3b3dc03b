"""`pairmill filter`: the verbs of tuned filters. Whatever is heavy is imported when one runs."""

import os
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Tune a dual encoder on trusted pairs, to score others with it.",
)


@app.callback()
def _group() -> None:
    """A group of verbs, also as long as it has one."""


@app.command()
def train(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="What to learn from, and how.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="For the weights and card.")],
    force: Annotated[
        bool, typer.Option("--force", help="Write the weights whatever was forgotten.")
    ] = False,
) -> None:
    """Tune an encoder; writes heads.safetensors or the folder model, and card.html."""
    from pipeline.tuning import train as tuning
    from pipeline.tuning.gate import told

    folder = os.path.abspath(out)
    card = tuning.tune_filter(config, folder, force=force)
    for one in card["anchors"]:
        typer.echo(told(one))
    for name in ("before", "after"):
        value = card["learnt"][name]["separation"]
        if value is not None:
            typer.echo(f"held-out trusted pairs above mismatched ones, {name}: {value:.3f}")
    typer.echo(f"in a recipe: {card['use']}")
    typer.echo(f"card: {os.path.join(folder, tuning.CARD)}")
