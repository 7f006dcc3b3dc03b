"""What tests of the recipes of published data sets share: rows that are made to fail one step."""

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.build import Build
from pipeline.conditions import evaluate
from pipeline.pool import read_base
from pipeline.recipe import load_recipe
from tests.conftest import built
from tests.pictures import Size, image, saved
from tests.recaption.recipes import exchanged

PAPERS = ("align", "cc12m", "wukong", "wit", "laion", "coyo")
TEXTS = ["figcaption", "attribution", "alt"]
MODELS = {  # columns that models write, each with its entry in `score:` and a value that passes
    "nsfw_score": ("nsfw", 0.0),
    "clip_score": ("clip", 0.5),
    "multilingual_score": ("multilingual", 0.5),
    "watermark_likelihood": ("marks", 0.1),
}
JPEG_COMMENT = b"\xff\xfe"


@dataclass(frozen=True)
class Case:
    """A row, and the step that should drop it, or `kept`.

    Rows with one `seed` have one picture; `bytes` is the size of its file, if it is a JPEG.
    """

    verdict: str
    text: str | None = None
    seed: int | None = None
    origin: str = "alt"
    size: Size = (500, 500)
    format: str = "JPEG"
    bytes: int = 30_000
    meta: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    def row(self, number: int) -> dict[str, Any]:
        text = self.text
        if text is None:
            text = f"a brown dog runs along the sunny beach at noon, day {number}"
        picture = self.picture(number if self.seed is None else 1000 + self.seed)
        return {"name": str(number), "image": picture, self.origin: text, **self.meta}

    def picture(self, seed: int) -> bytes:
        made = image(seed, (50, 40)).resize(self.size)
        if self.format != "JPEG":
            return saved(made, self.format)
        data = saved(made, "JPEG", quality=30)
        spare = self.bytes - len(data) - 4
        assert 0 <= spare < 65_000, len(data)
        comment = (spare + 2).to_bytes(2, "big") + bytes(spare)
        return data[:2] + JPEG_COMMENT + comment + data[2:]


def over(text: str, cases: Sequence[Case], folder: Path) -> Build:
    """A build of a recipe over these rows, in place of its source and its models."""
    rows = [case.row(number) for number, case in enumerate(cases)]
    names = {name: None for row in rows for name in row}
    pq.write_table(
        pa.table({name: [row.get(name) for row in rows] for name in names}), folder / "rows.parquet"
    )
    models = {n: v for n, v in MODELS.items() if re.search(rf"(?m)^  {v[0]}:", text)}
    told = {n: [c.scores.get(n, passes) for c in cases] for n, (_, passes) in models.items()}
    scores = {n: pa.array(values, pa.float32()) for n, values in told.items()}
    pq.write_table(
        pa.table({"source_key": [r["name"] for r in rows], **scores}), folder / "told.parquet"
    )
    columns = ""
    for entry, _ in models.values():
        text = exchanged(text, rf"(?m)^  {entry}:.*\n(?:    .*\n)*", "")
    if models:
        columns = "columns: {told: {import: told.parquet, on: source_key, take: [%s]}}\n"
        columns %= ", ".join(models)
    captions = ", ".join(name for name in TEXTS if name in names)
    source = f"{{parquet: rows.parquet, image: image, caption: [{captions}], key: name}}"
    text = exchanged(
        text, r"(?ms)^sources:\n.*?(?=^score:)", f"sources: {{rows: {source}}}\n{columns}"
    )
    (folder / "recipe.yaml").write_text(text)
    return Build(load_recipe(str(folder / "recipe.yaml")), str(folder / "out"))


def verdicts(build: Build) -> dict[str, str]:
    """The step that dropped each row, by its name."""
    made = build.open_pool()
    names = [
        name
        for shard in made.shards
        for name in read_base(made.root, shard, ["source_key"])["source_key"].to_pylist()
    ]
    found = [v for table in build.select().tables() for v in table["verdict"].to_pylist()]
    return dict(zip(names, found, strict=True))


def check(text: str, cases: Sequence[Case], folder: Path) -> Build:
    build = built(over(text, cases, folder))
    found = verdicts(build)
    expected = {str(number): case.verdict for number, case in enumerate(cases)}
    assert found == expected
    return build


def texts(build: Build) -> Iterator[str]:
    for path in sorted((Path(build.out) / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".txt"):
                    yield tar.extractfile(member).read().decode()  # type: ignore[union-attr]


def passes(build: Build, name: str, **columns: Any) -> list[bool]:
    """Which rows of some columns the condition of a step lets through."""
    (condition,) = (entry.rule.where for entry in build.recipe.steps if entry.name == name)  # type: ignore[union-attr]
    return evaluate(condition, pa.table(columns))


def of_size(verdict: str, *size: int) -> Case:
    return Case(verdict, size=size)  # type: ignore[arg-type]


def lines_of(text: str) -> list[str]:
    """The lines of a comment that offer a scorer or a step, each as one line."""
    found: list[str] = []
    for line in re.findall(r"(?m)^#   (.*)$", text):
        if re.match(r"\w+: \{", line):
            found.append(line)
        else:
            found[-1] += f" {line.strip()}"
    return found


def with_offered(text: str, *names: str) -> str:
    """The recipe with them, or those of these names: scorers below all others, or in place of one
    of their name, steps before all others.
    """
    for line in lines_of(text):
        name, is_step = line.partition(":")[0], re.search(r"\b(where|draw|top): ", line)
        if names and name not in names:
            continue
        if is_step:
            text = exchanged(text, r"(?m)^select:\n", f"select:\n  - {line}\n")
            continue
        text = re.sub(rf"(?m)^  {name}: .*\n", "", text)
        text = exchanged(text, r"(?m)^select:\n", f"  {line}\nselect:\n")
    return text
