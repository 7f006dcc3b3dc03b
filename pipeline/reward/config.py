"""The configuration of a training: one strict YAML file, refused with file:line:column."""

import os
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pipeline.errors import RecipeError
from pipeline.recipe_errors import SCORER, problems_of, wrong_value
from pipeline.recipe_values import Count, Name, Path, Section, Seed, Text
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
    column: Name | None = None
    """The column in which the build at `pool` holds the encoder's vectors of its images."""


def _as_model(value: object) -> object:
    return {"model": value} if isinstance(value, str) else value


class EncoderOptions(Section):
    """A dual encoder: the parameters that the scorer `clip` has, too."""

    model: Text = "embedded"
    """`embedded`, a name of open_clip, or `local-dir:PATH`."""
    weights: Path | None = None
    """Other heads for `embedded`, as `pairmill filter train` writes them."""
    pretrained: Text | None = None
    """A tag of open_clip, or the path of a weights file."""
    preprocess_tag: Text | None = None
    """The tag whose preprocessing a weights file shares."""
    sha256: Text | None = None
    """Pins the weights."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the model while it encodes."""
    batch_size: Count = 32
    """Images or texts encoded at once."""


EncoderChoice = Annotated[EncoderOptions, BeforeValidator(_as_model)]


class HeadOptions(Section):
    """The network over the vectors v and t of image and text."""

    kind: Literal["linear", "mlp", "side", "tokenwise"] = "mlp"
    """One layer, or two; or a network beside the encoder's own layers, and then one layer; or one
    layer over a few numbers of each pair: cosines, and how well words and patches agree."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 64
    """Width of the network beside the encoder."""
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


class CrossOptions(Section):
    """A model that reads image and text together, tuned whole: a BLIP with a matching head."""

    model: Text
    """`local-dir:PATH`, or OWNER/NAME of a hub with its `revision`."""
    revision: Text | None = None
    """The commit on the hub, 40 hexadecimal digits."""
    max_tokens: Annotated[int, Field(ge=3)] = 35
    """A text is read up to so many tokens; give the scorer `itm` the same."""
    first_token: Annotated[int, Field(ge=0)] | None = None
    """The id that stands in place of the first token, as in `itm`."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of what is computed; weights and their changes stay in full precision."""
    batch_size: Count = 16
    """Comparisons that are scored at once where nothing is learnt."""


class JudgeOptions(Section):
    """A scorer as a judge: its name, and beside it the parameters that a recipe would give it."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    scorer: Annotated[str, StringConstraints(pattern=SCORER)]
    """A scorer of recipes that reads an image and a text, or package.module:Class."""
    column: Name | None = None
    """The number that is its answer; by default the first column that it writes."""


class TeacherOptions(Section):
    """A dear judge, whose order of hard negatives the head learns."""

    scores: Path | None = None
    """Its answers: JSON lines or Parquet of image, text, score and optionally judge, prompt."""
    judge: JudgeOptions | None = None
    """Or who is asked, about the captions nearest to each image; answers are kept."""
    weight: Weight = 1.0
    """Of its loss beside that of the comparisons."""
    hard: Annotated[int, Field(ge=1, le=256)] = 16
    """Hard negatives of an anchor: those to which the encoder gives the highest cosines."""
    easy: Annotated[int, Field(ge=0, le=4096)] = 16
    """Negatives drawn for an anchor in every epoch, of which no order is asked."""
    temperature: Weight = 1.0
    """Rewards are divided by it; at 1 they are log strengths, as in the comparisons."""
    criterion: Name | None = None
    """What the judge judges; by default the reward, which is the mean of all criteria."""
    anchors: Count = 2000
    """Images that a judge is asked about at most, those with the smallest draws."""
    texts: bool = True
    """Rank the images of a text, too."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.scores is None) == (self.judge is None):
            raise ValueError("give either 'scores' or 'judge'")
        return self


class Configuration(Section):
    """The whole of a file, which knows where in it each value stands."""

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

    def error(self, message: str, *path: str | int) -> RecipeError:
        """An error about a value, with its file:line:column."""
        return self._document.error([Problem(message, path)])


class RewardConfig(Configuration):
    """What a reward head learns from, and how."""

    preferences: Annotated[tuple[Preferences, ...], Field(strict=False, min_length=1)]
    """Files of preferences."""
    images: Images = Images()
    """Where the images are."""
    encoder: EncoderChoice = EncoderOptions()
    """The frozen encoder of the vectors: its name, or its parameters."""
    criteria: dict[Name, Weight] = Field(default={})
    """Criteria with their weights in the reward; by default all there are, with equal weights."""
    leave_out: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Kinds of worse captions that are not learnt from; the card still reports them."""
    head: HeadOptions = HeadOptions()
    """The network."""
    cross: CrossOptions | None = None
    """In place of encoder and head, a whole model that is tuned."""
    teacher: TeacherOptions | None = None
    """A judge that it learns from beside the preferences."""
    training: TrainingOptions = TrainingOptions()
    """How it is trained."""
    split: SplitOptions = SplitOptions()
    """Which images are held out."""


_NOT_OF = {
    "linear": ("rank", "hidden"),
    "mlp": ("rank",),
    "side": ("hidden",),
    "tokenwise": ("rank", "hidden", "blocks"),
}
"""Parameters of a head that its kind does not have."""

Kind = TypeVar("Kind", bound=Configuration)


def load_config(path: str) -> RewardConfig:
    """The configuration in a local file; raises RecipeError with everything that is wrong in it."""
    config = read_configuration(path, RewardConfig)
    head = config.head
    problems = [
        Problem(f"head: a head of kind {head.kind!r} has no {name!r}", ("head", name), True)
        for name in _NOT_OF[head.kind]
        if name in head.model_fields_set
    ]
    if problems:
        raise config._document.error(problems)
    return config


def read_configuration(path: str, kind: type[Kind]) -> Kind:
    """A configuration of a kind; raises RecipeError with everything that is wrong in it."""
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise document.error([Problem(wrong_value("a mapping", document.data))])
    try:
        config = kind.model_validate(document.data)
    except ValidationError as error:
        raise document.error(problems_of(error, kind)) from None
    config._document = document
    return config
