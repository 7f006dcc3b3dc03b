"""The configuration of a training: one strict YAML file, refused with file:line:column."""

import os
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, ValidationError

from pipeline.recipe_errors import problems_of, wrong_value
from pipeline.recipe_sections import Count, Name, Path, Section, Seed, Text
from pipeline.yaml_reader import Document, Problem, read_yaml

Format = Literal["rankings", "pairs", "ratings", "imagereward", "pickapic"]
Block = Literal["image", "text", "product", "difference"]
Part = Annotated[float, Field(gt=0, lt=0.5)]
Weight = Annotated[float, Field(gt=0)]


class Preferences(Section):
    """A file of preferences."""

    format: Format
    """The layout of the file."""
    path: Path
    """The file, relative to this configuration; for Pick-a-Pic also a pattern."""
    criterion: Name | None = None
    """The criterion of all its rows, in place of what they say."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Ratings that differ by no more than this are a tie."""


class Images(Section):
    """Where the images are that the preferences refer to."""

    pool: Path | None = None
    """A pool, or the output directory of a build; references are keys."""
    folder: Path | None = None
    """A folder; references are paths below it."""


class HeadOptions(Section):
    """The network over the vectors v and t of image and text."""

    kind: Literal["linear", "mlp"] = "mlp"
    """One layer, or two."""
    hidden: Annotated[int, Field(ge=1, le=4096)] = 64
    """Units of the first of two layers."""
    blocks: Annotated[tuple[Block, ...], Field(strict=False, min_length=1)] = (
        *("image", "text", "product", "difference"),
    )
    """What it looks at: v, t, v * t, |v - t|."""
    cosine: bool = True
    """Begin with the cosine, and learn what to add to it."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the inputs and units that a step does not see."""


class TrainingOptions(Section):
    """How the head is trained."""

    epochs: Count = 40
    """Passes over the comparisons at most."""
    patience: Count = 6
    """Passes without a better loss on validation images until it stops."""
    batch: Count = 512
    """Comparisons in a step."""
    rate: Weight = 0.001
    """The learning rate of AdamW."""
    decay: Annotated[float, Field(ge=0)] = 0.05
    """Its weight decay."""
    across: Annotated[float, Field(ge=0)] = 0.0
    """Weight of comparing what is better for one image with what is worse for another one."""
    seed: Seed = 0
    """Of initial weights, order and dropout."""


class SplitOptions(Section):
    """Which images are held out."""

    validation: Part = 0.1
    """Share of the images by which training stops."""
    test: Part = 0.2
    """Share of the images that the card reports."""
    seed: Seed = 0
    """Of the split."""


class RewardConfig(Section):
    """What a reward head learns from, and how."""

    preferences: Annotated[tuple[Preferences, ...], Field(strict=False, min_length=1)]
    """Files of preferences."""
    images: Images = Images()
    """Where the images are."""
    encoder: Text = "embedded"
    """The frozen encoder of the vectors."""
    criteria: dict[Name, Weight] = Field(default={})
    """Criteria with their weights in the reward; by default all there are, with equal weights."""
    leave_out: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Kinds of worse captions that are not learnt from; the card still reports them."""
    head: HeadOptions = HeadOptions()
    """The network."""
    training: TrainingOptions = TrainingOptions()
    """How it is trained."""
    split: SplitOptions = SplitOptions()
    """Which images are held out."""

    _document: Document = PrivateAttr()

    @property
    def source_text(self) -> str:
        """The configuration as it was written."""
        return self._document.text

    def resolve(self, path: str) -> str:
        """A path of the configuration: relative ones lie beside it."""
        if "://" in path:
            return path
        folder = os.path.dirname(os.path.abspath(self._document.name))
        return os.path.join(folder, os.path.expanduser(path))

    def error(self, message: str, *path: str | int) -> Exception:
        """An error about a value, with its file:line:column."""
        return self._document.error([Problem(message, path)])


def load_config(path: str) -> RewardConfig:
    """The configuration in a local file; raises RecipeError with everything that is wrong in it."""
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise document.error([Problem(wrong_value("a mapping", document.data))])
    try:
        config = RewardConfig.model_validate(document.data)
    except ValidationError as error:
        raise document.error(problems_of(error, RewardConfig)) from None
    config._document = document
    return config
