"""`pairmill reward`: the verbs of reward models. Whatever is heavy is imported when one runs."""

import os
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train a reward on preferences over captions, and make preferences without labelers.",
)

_FIGURES = {"accuracy": "reward", "cosine_accuracy": "cosine", "before_accuracy": "before"}


@app.command()
def train(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="What to learn from, and how.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="For the weights and card.")],
) -> None:
    """Train a head on preferences, or tune a whole cross-encoder; writes weights and card.html."""
    from pipeline.reward import train as training
    from pipeline.reward.card import CARD
    from pipeline.reward.cross_training import MODEL
    from pipeline.reward.use import line_for

    folder = os.path.abspath(out)
    card = training.train_reward(config, folder)
    overall, is_cross = card["figures"]["overall"], card.get("kind") == "cross"
    for name, told in _FIGURES.items():
        figure = overall.get(name)
        if figure is not None:
            value, low, high = (figure[part] for part in ("value", "low", "high"))
            typer.echo(f"{told}: pairwise accuracy {value:.3f} ({low:.3f} to {high:.3f})")
    typer.echo(f"weights: {os.path.join(folder, MODEL if is_cross else training.WEIGHTS)}")
    typer.echo(f"card: {os.path.join(folder, CARD)}")
    typer.echo(f"in a recipe: {line_for(config, folder)}")


@app.command()
def bootstrap(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The rankings to write, JSON lines.")],
    pool: Annotated[
        str,
        typer.Option("--pool", metavar="DIR", help="A pool, or a build: then the rows it kept."),
    ],
    kinds: Annotated[
        str, typer.Option(help="The kinds of worse captions, with commas; all by default.")
    ] = "",
    rows: Annotated[
        int, typer.Option(min=1, help="Rows to take at most; those with the smallest draws.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.")] = 0,
) -> None:
    """Make rankings without labelers: every caption above damaged copies of itself."""
    from pipeline.reward import bootstrap as making

    chosen = tuple(kind.strip() for kind in kinds.split(",") if kind.strip())
    counts = making.bootstrap(file, pool, making.BootstrapOptions(chosen, rows, seed))
    for kind, count in counts.items():
        typer.echo(f"{kind}: {count:,}")
