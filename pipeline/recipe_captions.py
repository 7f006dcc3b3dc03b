"""The `captions:` section of a recipe: which text a sample carries, and which go along with it."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, Tag, model_validator

from pipeline.recipe_errors import MEMBER
from pipeline.recipe_sections import kinds
from pipeline.recipe_values import Section, Text, TextList

TAKEN = ("txt", "json", "jpg", "webp", "png", "cls")  # members of a sample that are not captions
Member = Annotated[str, StringConstraints(pattern=MEMBER)]
Weight = Annotated[float, Field(gt=0)]


class ChoiceRule(Section):
    """What every way to choose a caption can be given."""

    unflagged: bool = False
    """Whether captions with flags are passed over."""


class ChoiceFrom(ChoiceRule):
    """The first caption of a column, or the first of a kind or language in it."""

    column: Text = Field(alias="from")
    """A column of text, or of captions."""
    kind: Text | None = None
    """The kind of caption, as `short` or `sentence`; only in a column of captions."""
    language: Text | None = None
    """The language of the caption, as `es`; only in a column of captions."""


class ChoiceBest(ChoiceRule):
    """The caption with the highest score, over one column or several."""

    best: Annotated[dict[Text, Text], Field(min_length=1)]
    """Columns of text or captions, each with the column of its scores: `{caption: clip_score}`."""


class ChoiceDraw(ChoiceRule):
    """One caption at random, by the key of the sample and the seed of the export."""

    draw: Annotated[dict[Text, Weight], Field(min_length=1)]
    """Columns of text or captions, each with its weight: `{caption: 0.2, long: 0.8}`."""


CHOICES = (ChoiceFrom, ChoiceBest, ChoiceDraw)
Choice = Annotated[
    Annotated[Text, Tag("(text)")]
    | Annotated[ChoiceFrom, Tag("(from)")]
    | Annotated[ChoiceBest, Tag("(best)")]
    | Annotated[ChoiceDraw, Tag("(draw)")],
    kinds("choice", *CHOICES),
]


class CaptionsSection(Section):
    """Which captions the written samples carry."""

    profile: Literal["clip", "mllm", "t2i"] | None = None
    """What the samples are for: it decides about `txt`, if that is not given, and `json`.

    `clip` draws one caption of the columns `of`, a short one or a sentence where there are some,
    or the raw one; `mllm` takes the first long one, else the first; `t2i` the first. Captions
    with flags or of a box are passed over.
    """
    of: TextList = ()
    """The columns of captions that a profile takes, the most important first."""
    raw: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The share of samples of profile `clip` that keep the raw caption, .2 if not given."""
    txt: Choice | None = None
    """The column that becomes the `.txt`, or how a caption is chosen for it; else `caption`."""
    prefer: TextList = ()
    """Kinds of raw caption in order of preference (`[title, alt]`), for the column `caption`."""
    json_columns: TextList = Field(default=(), alias="json")
    """Columns of captions, and of their scores, that go into the `.json` of a sample."""
    files: dict[Member, Choice] = Field(default={})
    """Further members with a text each: `{long: long}` is `KEY.long.txt`; empty where none is."""

    @property
    def told(self) -> tuple[str, ...]:
        """The columns for the `.json`, those of the profile too."""
        return tuple(dict.fromkeys([*self.json_columns, *self.of]))

    @model_validator(mode="after")
    def _fits_its_profile(self) -> Self:
        if (self.profile is None) != (not self.of):
            raise ValueError("'profile' and 'of', the columns it takes, stand together")
        if self.profile == "clip" and "caption" in self.of:
            raise ValueError("the raw caption is in the mix by its share, `raw: 0.2`, not by 'of'")
        if self.raw is not None and (self.profile != "clip" or self.txt is not None):
            raise ValueError("'raw' is for `profile: clip`, which chooses the text by it")
        return self

    @model_validator(mode="after")
    def _has_names_of_its_own(self) -> Self:
        for name in self.files:
            if name in TAKEN:
                raise ValueError(f"'{name}' is a member of every sample; taken: {', '.join(TAKEN)}")
        return self
