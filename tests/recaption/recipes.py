"""What tests of the recipes for captions share: pictures of the pack, samples, who was asked."""

import csv
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.build import Build
from pipeline.training.plans import Text, texts_of
from tests.conftest import MakeBuild, built

CONFIGS = Path(__file__).parents[2] / "configs"
PACK = CONFIGS / "quickstart"


def recipe(name: str) -> str:
    return (CONFIGS / f"{name}.yaml").read_text()


def exchanged(text: str, old: str, new: str) -> str:
    """The recipe with something else in place of what matches `old`, which must be there."""
    found, count = re.subn(old, new.replace("\\", r"\\"), text)
    assert count, f"nothing matches {old}"
    return found


def suggested(text: str) -> list[str]:
    """The lines that a recipe's comment offers in place of its own, each as one line."""
    found: list[str] = []
    for line in re.findall(r"(?m)^#   (.*)$", text):
        if re.match(r"\w+: \{", line):
            found.append(line)
        else:
            found[-1] += f" {line.strip()}"
    return found


def taking(text: str, line: str) -> str:
    """The recipe with this line in place of the scorer of its name."""
    name = line.partition(":")[0]
    return exchanged(text, rf"(?m)^  {name}:(?: \{{.*\}}| \w+.*|(?:\n    .*)+)$", f"  {line}")


def over_pack(make_build: MakeBuild, text: str, **counts: int) -> Build:
    """A build over so many faultless pictures of some languages, an exact copy, and sales talk."""
    build = make_build(text)
    folder = Path(build.recipe.resolve("quickstart/photos"))
    folder.mkdir(parents=True)
    rows = [*csv.DictReader((PACK / "faults.csv").open(encoding="utf-8"))]
    for tag, count in counts.items():
        clean = [r["file"] for r in rows if r["fault"] == "none" and r["language"] == tag]
        for name in clean[:count]:
            _copy(name, folder)
    first = next(folder.glob("*.jpg"))
    shutil.copy(first, folder / "copy.jpg")
    (folder / "copy.txt").write_text("The same picture, with other words")
    _copy(next(row["file"] for row in rows if row["fault"] == "boilerplate"), folder)
    return built(build)


def _copy(name: str, folder: Path) -> None:
    for path in (PACK / "photos" / name, (PACK / "photos" / name).with_suffix(".txt")):
        shutil.copy(path, folder)


def samples(build: Build) -> Iterator[dict[str, Any]]:
    """Every exported sample: its json parsed down to captions and columns, its texts."""
    for path in sorted((Path(build.out) / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        for name, data in members.items():
            key, _, member = name.partition(".")
            if member == "json":
                fields = json.loads(data)
                own = {n.partition(".")[2]: d for n, d in members.items() if n.startswith(key)}
                texts = {m: d.decode() for m, d in own.items() if m.endswith("txt")}
                parsed = {n: json.loads(fields.get(n) or "{}") for n in ("captions", "columns")}
                yield fields | parsed | {"texts": texts, "members": own}


def told(sample: dict[str, Any], column: str) -> list[dict[str, Any]]:
    """The captions of a column in a sample's json."""
    return [one for one in sample["captions"] if one.get("column") == column]


def raw(sample: dict[str, Any]) -> str:
    """The caption that the pool has; `caption` of the json is the text of the sample."""
    (found,) = (one["text"] for one in sample["captions"] if "column" not in one)
    assert isinstance(found, str)
    return found


def training_texts(sample: dict[str, Any]) -> list[Text]:
    """The texts of a sample as a plan of `pipeline.training` sees them."""
    return texts_of(sample["members"], sample["captions"])


def verdicts_with(build: Build, *columns: str) -> list[tuple[Any, ...]]:
    """For every row of the pool its verdict and its values in some columns."""
    verdicts = [v for table in build.select().tables() for v in table["verdict"].to_pylist()]
    made = build.open_pool()
    writers = build.resolve(made)[0].writers
    values = [
        [value for shard in made.shards for value in writers[n].read(shard, [n])[n].to_pylist()]
        for n in columns
    ]
    return list(zip(verdicts, *values, strict=True))


def survivors(build: Build, column: str, step: str = "unique") -> int:
    """How many rows a step lets through; asserts that the captioner was asked for these alone."""
    names = [entry.name for entry in build.recipe.steps]
    later = {"kept", *names[names.index(step) + 1 :]}
    rows = verdicts_with(build, column)
    assert all((value is not None) == (verdict in later) for verdict, value in rows)
    assert any(verdict not in later for verdict, _ in rows)
    return sum(verdict in later for verdict, _ in rows)
