"""The `export:` section of a recipe: how the chosen samples are written."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.recipe_values import Count, Renames, Section, Seed, Text, TextList


class SizeBuckets(Section):
    """Sizes of images in multiples of `step`, about as large as squares of `sides`."""

    sides: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    """Sides of squares in pixels, `[512, 1024]`: an image gets the largest that it fills."""
    step: Count = 64
    """Widths and heights are multiples of this."""
    max_ratio: Annotated[float, Field(ge=1)] = 2.0
    """The longest shape, of the long side to the short one."""
    enlarge: bool = False
    """Whether images that fill no bucket are made larger, and not left out."""


class ExportSection(Section):
    """How the chosen samples are written."""

    format: Literal["webdataset", "uids"] = "webdataset"
    """Tars of samples, or a list of uids in DataComp's format."""
    samples_per_shard: Count = 1000
    """Samples in each tar."""
    image: Literal["original", "jpg", "webp"] = "original"
    """The image format; `original` keeps JPEG data as it is, and encodes the rest as JPEG."""
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """Quality of images that are encoded as jpg or webp."""
    max_side: Count | None = None
    """Images with a longer side than this many pixels are made smaller."""
    resize: Literal["longest", "shortest", "crop", "border"] = "longest"
    """How an image is made to fit `max_side`."""
    blur: Text | None = None
    """A column of boxes to make unrecognisable, as `face_boxes`; where it is NULL, no sample."""
    buckets: SizeBuckets | None = None
    """Sizes to which images are scaled and cut; each shard then has images of one size alone."""
    seed: Seed = 0
    """Another seed is another order of the samples."""
    json_columns: TextList = Field(default=(), alias="json")
    """Columns that go into the `.json` of a sample."""
    embeddings: Renames = Field(default={})
    """Columns of vectors to write as `.npz` beside the samples: a list of names, or `new: old`."""

    @model_validator(mode="after")
    def _uses_what_it_is_given(self) -> Self:
        if self.resize != "longest" and self.max_side is None:
            raise ValueError("'resize' has no meaning without 'max_side'")
        if self.buckets is not None and (self.max_side is not None or self.format == "uids"):
            other = "max_side" if self.max_side is not None else "format: uids"
            raise ValueError(f"'buckets' and '{other}' can't stand together")
        return self
