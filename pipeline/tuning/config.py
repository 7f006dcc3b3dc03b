"""The configuration of a tuning: one strict YAML file, refused with file:line:column."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.recipe_values import Count, Name, Path, Section, Seed, Share, Text, Texts
from pipeline.reward.config import Configuration, EncoderChoice, EncoderOptions, SplitOptions
from pipeline.reward.config import read_configuration as _read


class PairOptions(Section):
    """Pairs of a pool."""

    pool: Path
    """A pool, or the output directory of a build."""
    where: Text | None = None
    """A condition over the pool's rows and the build's columns."""
    keys: Path | None = None
    """A file of keys: one in a line, a DataComp subset (npy), or Parquet with a column `key`."""
    text: Name = "caption"
    """The column of texts."""


class Anchors(PairOptions):
    """Pairs by which it is measured what the encoder has forgotten."""

    name: Text = "anchors"
    """What the card calls them."""
    measure: Literal["retrieval", "zero_shot"] = "retrieval"
    """Recall of the own partner, or accuracy with the distinct texts as names of classes."""
    templates: Texts = ("{}", "a photo of a {}.", "a picture of a {}.")
    """What is said of a class, with {} for its name."""
    rows: Count = 10_000
    """Pairs to take at most; those with the smallest draws."""
    retain: Share | None = None
    """Share of the figure that must be left, in place of the general one."""


class TuningOptions(Section):
    """How the encoder is tuned."""

    epochs: Count = 20
    """Passes over the trusted pairs at most."""
    patience: Count = 4
    """Passes without a better loss on validation images until it stops."""
    batch: Annotated[int, Field(ge=2)] = 256
    """Pairs in a step, each the others' negative."""
    rate: Annotated[float, Field(gt=0)] = 0.0003
    """The learning rate of AdamW; it falls to zero by a cosine."""
    decay: Annotated[float, Field(ge=0)] = 0.1
    """Its weight decay."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps over which the rate rises from zero."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of inputs and units that a step does not see; of the embedded heads alone."""
    blend: Share = 1.0
    """Share of the way from the weights before to the tuned ones that is gone in the end."""
    seed: Seed = 0
    """Of order and dropout."""


class TuningConfig(Configuration):
    """Which pairs are trusted, what must not be forgotten, and how the encoder is tuned."""

    trusted: PairOptions
    """The pairs that are learnt from."""
    anchors: Annotated[tuple[Anchors, ...], Field(strict=False, min_length=1)]
    """Sets of pairs that are not learnt from, and measured before and after."""
    encoder: EncoderChoice = EncoderOptions()
    """What is tuned: the heads of `embedded`, or a model of open_clip."""
    retain: Share = 0.9
    """Share of each figure of the anchors that must be left."""
    training: TuningOptions = TuningOptions()
    """How it is tuned."""
    split: SplitOptions = SplitOptions()
    """Which images of the trusted pairs are held out."""


def load_config(path: str) -> TuningConfig:
    """The configuration in a local file; raises RecipeError with everything that is wrong in it."""
    return _read(path, TuningConfig)
