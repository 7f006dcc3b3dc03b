"""Files that a parameter names lie beside the recipe; what only looks like one is left alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from tests.conftest import SCORED


@dataclass(frozen=True)
class Told:
    """Keeps what it is given."""

    glossary: Any = None
    weights: Any = None
    kinds: tuple[Any, ...] = ()
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("caption",)
    writes: ClassVar[pa.Schema] = pa.schema([("nothing", pa.string())])

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"nothing": [None for _ in batch["caption"]]}


def scorer_of(make_build, parameters):
    told = f"  told: {{scorer: 'tests.pipeline.test_located:Told', {parameters}}}\n"
    build = make_build(SCORED + told)
    build.ingest()
    resolved, _ = build.resolve(build.open_pool())
    found = next(one.scorer for one in resolved.instances if one.name == "told")
    return found, Path(build.recipe.resolve(""))


def test_files_are_found_beside_the_recipe(make_build):
    given = "glossary: words.tsv, weights: mine.safetensors, kinds: [short, {file: my.txt}]"
    found, folder = scorer_of(make_build, given)
    assert Path(found.glossary) == folder / "words.tsv"
    assert Path(found.weights) == folder / "mine.safetensors"
    assert found.kinds[0] == "short"
    assert Path(found.kinds[1]["file"]) == folder / "my.txt"


def test_words_of_a_user_stay_what_they_are(make_build):
    words = {"file": "fichero", "classes": "clases", "weights": {"es": "a/b"}}
    found, _ = scorer_of(
        make_build, "glossary: {file: fichero, classes: clases, weights: {es: a/b}}"
    )
    assert found.glossary == words
    found, _ = scorer_of(make_build, "weights: openai")
    assert found.weights == "openai"
