"""What tests share: folders of pairs built in code, and builds over them."""

import functools
import gc
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests share the machine with each other

import pytest

from pipeline.build import Build
from pipeline.recipe import parse_recipe
from tests import commands, pictures, quick_beam

SCORED = """\
sources:
  photos: {folder: photos/}
score:
  image: {}
  caption: {}
"""
RECIPE = f"""\
{SCORED}select:
  - readable:  {{where: width is not null}}
  - described: {{where: caption_words between 2 and 64}}
export: {{samples_per_shard: 4, seed: 0}}
ingest: {{rows_per_shard: 5}}
"""
VERBS = ("ingest", "score", "select", "export")
MakeBuild = Callable[..., Build]


def write_pair(folder: Path, name: str, image: bytes, caption: str | None) -> None:
    """An image, and its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jpg").write_bytes(image)
    if caption is not None:
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")


def write_photos(folder: Path) -> Path:
    """Twelve good pairs, and one of each kind that must survive: broken, foreign, mute, doubled."""
    for i in range(12):
        write_pair(folder, f"{i:02d}", pictures.jpeg(i), f"picture number {i} größe")
    whole = pictures.jpeg(20)
    write_pair(folder, "20_cut", whole[: len(whole) * 3 // 4], "cut in the middle")
    write_pair(folder, "21_html", b"<html></html>", "a page named jpg")
    write_pair(folder, "22_mute", pictures.jpeg(22), None)
    write_pair(folder, "23_same_pair", pictures.jpeg(1), "picture number 1 größe")
    write_pair(folder, "24_same_image", pictures.jpeg(2), "the picture of two, again")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The folder that RECIPE reads."""
    return write_photos(tmp_path / "photos")


def built(build: Build, verb: str = "export") -> Build:
    """The build after all verbs up to this one."""
    for name in VERBS[: VERBS.index(verb) + 1]:
        getattr(build, name)()
    return build


def up_to(recipe: str, verb: str) -> str:
    """The sections of a recipe that a build up to this verb depends on."""
    wanted = ("sources", "ingest", *VERBS[1 : VERBS.index(verb) + 1])
    sections = re.split(r"(?m)^(?=\w+:)", recipe)
    return "".join(text for text in sections if text.partition(":")[0] in wanted)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The output of a recipe over the photos after a verb, made once in a session: to be copied."""

    @functools.cache
    def make(recipe: str, verb: str) -> Path:
        root = tmp_path_factory.mktemp("built")
        write_photos(root / "photos")
        build = Build(parse_recipe(recipe, str(root / "recipe.yaml")), str(root / "out"))
        return Path(built(build, verb).out)

    return lambda recipe, verb: make(up_to(recipe, verb), verb)


@pytest.fixture
def make_build(tmp_path: Path, photos: Path, built_once: Callable[[str, str], Path]) -> MakeBuild:
    """Makes the build of a recipe in a folder under tmp_path, on the local engine.

    With `after` a build over the photos as they are begins with a copy of what that verb leaves.
    """

    def make(
        recipe: str = RECIPE, out: str = "out", after: str | None = None, **options: object
    ) -> Build:
        if after is not None:
            shutil.copytree(built_once(recipe, after), tmp_path / out)
        parsed = parse_recipe(recipe, str(tmp_path / "recipe.yaml"))
        return Build(parsed, str(tmp_path / out), **options)  # type: ignore[arg-type]

    return make


def tree(folder: Path | str, *patterns: str) -> dict[str, bytes]:
    """The bytes of every file below a folder that matches, by relative name."""
    root = Path(folder)
    found = [path for pattern in patterns or ("**/*",) for path in root.glob(pattern)]
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(found) if p.is_file()}


PROMISED = ("pool/*", "columns/**/*", "verdicts/*", "shards/*")


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a recipe, and its build in `out`: to be read, and copied."""
    folder = tmp_path_factory.mktemp("original")
    for i in range(8):
        write_pair(folder / "photos", f"{i}", pictures.jpeg(i), f"picture number {i}")
    (folder / "recipe.yaml").write_text(RECIPE)
    commands.done("build", folder / "recipe.yaml", "--out", folder / "out")
    return folder


@pytest.fixture(scope="session")
def expected(original: Path) -> dict[str, bytes]:
    """What the original promises to hold."""
    return tree(original / "out", *PROMISED)


@pytest.fixture
def out(original: Path, tmp_path: Path) -> Path:
    """A copy of the original's build, which may be damaged."""
    return Path(shutil.copytree(original / "out", tmp_path / "out"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without the Debian program it needs a test is skipped; in CI, which installs it, it fails."""
    for mark in item.iter_markers("system"):
        for program in mark.args:
            if shutil.which(program) is None:
                message = f"needs the program {program}"
                if os.environ.get("CI"):
                    pytest.fail(message, pytrace=False)
                pytest.skip(message)


def pytest_collection_finish() -> None:
    """What all tests import stays: the collector of garbage need not look at it all the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_runtest_call() -> None:
    """A test that comes after the first one that imports Beam has it with a memory."""
    quick_beam.remember()
