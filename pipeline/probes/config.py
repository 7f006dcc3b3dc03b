"""What to ask: one strict YAML file, refused with file:line:column. Without it all is drawn."""

import os
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from pipeline.recipe_errors import problems_of, wrong_value
from pipeline.recipe_values import Count, Name, Path, Section, Text
from pipeline.yaml_reader import Document, Problem, parse_yaml, read_yaml

Drawn = Literal[
    "things",
    "colours",
    "own_colours",
    "relations",
    "swapped",
    "sizes",
    "numbers",
    "negation",
    "written",
    "languages",
]


class Winoground(Section):
    """Winoground as it is published: `examples.jsonl` and a folder of images."""

    folder: Path
    """The folder with `examples.jsonl`."""
    images: Path | None = None
    """The folder of images; by default `images` beside it."""


class SugarCrepe(Section):
    """SugarCrepe: a JSON file for each category, over the images of COCO 2017 val."""

    folder: Path
    """The folder with `add_att.json`, `swap_obj.json` and so on."""
    images: Path
    """The folder of COCO's images."""


class Pairs(Section):
    """JSON lines with `image`, `true`, `false` (one text or several), `category` and `box`."""

    file: Path
    """The file; `box` is left, upper, width, height in pixels of the image."""
    images: Path
    """The folder that the names of images are relative to."""


class Svo(Section):
    """SVO-Probes: `svo_probes.csv`, of which each row has a sentence and two images."""

    file: Path
    """The file."""
    images: Path
    """The folder of images, called by their ids."""


class Babel(Section):
    """Babel-ImageNet: labels of ImageNet's classes in many languages."""

    labels: Path
    """The JSON file: language -> [class indices, labels]."""
    images: Path
    """A folder with one folder of images for each class: its index, or ImageNet's id."""
    classes: Path | None = None
    """The names of the folders in the order of the indices, one a line; needed unless all 1,000
    are there or they are called by index."""
    prompts: Path | None = None
    """JSON: language -> texts with `{}` for the label. By default the label stands alone."""
    languages: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """The languages to ask in; by default all of the file."""
    images_per_class: Count = 50
    """Images of each class at most."""


class Classification(Section):
    """A set in the layout of CLIP_benchmark: `SPLIT/*.tar` with images and `cls`."""

    folder: Path
    """The folder with `classnames.txt` and `zeroshot_classification_templates.txt`."""
    split: Text = "test"
    """The folder of the tars within it."""


class ProbesConfig(Section):
    """Which questions are asked."""

    drawn: Annotated[tuple[Drawn, ...], Field(strict=False)] | None = None
    """The drawn probes; by default all of them."""
    limit: Count | None = None
    """Items of each probe at most, drawn from all of them."""
    lowest: bool = False
    """Whether low scores are the good ones."""
    winoground: Winoground | None = None
    """Winoground."""
    sugarcrepe: SugarCrepe | None = None
    """SugarCrepe."""
    svo: Svo | None = None
    """SVO-Probes."""
    babel_imagenet: Babel | None = None
    """Babel-ImageNet."""
    pairs: dict[Name, Pairs] = Field(default={})
    """Sets of true and false captions, by name, such as ARO or VL-Checklist."""
    classification: dict[Name, Classification] = Field(default={})
    """Sets of images and classes, by name."""

    _document: Document = PrivateAttr()

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        sets = (self.winoground, self.sugarcrepe, self.svo, self.babel_imagenet)
        if self.drawn == () and not (any(sets) or self.pairs or self.classification):
            raise ValueError("nothing is asked: no drawn probe and no data set")
        return self

    def resolve(self, path: str) -> str:
        """A path of the file: relative ones lie beside it."""
        folder = os.path.dirname(os.path.abspath(self._document.name))
        return os.path.join(folder, os.path.expanduser(path))

    def error(self, message: str, *path: str | int) -> Exception:
        """An error about a value, with its file:line:column."""
        return self._document.error([Problem(message, path)])


def load_probes(path: str | None) -> ProbesConfig:
    """What a local file asks for, or all that is drawn. Raises RecipeError."""
    document = parse_yaml("{}", "--probes") if path is None else read_yaml(path)
    if not isinstance(document.data, dict):
        raise document.error([Problem(wrong_value("a mapping", document.data))])
    try:
        config = ProbesConfig.model_validate(document.data)
    except ValidationError as error:
        raise document.error(problems_of(error, ProbesConfig)) from None
    config._document = document
    return config
