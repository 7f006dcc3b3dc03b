"""What a server has told of a picture is found by the picture's name: nothing is decoded again."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from filters import served
from filters.served import keep_in
from pipeline import decoding
from recaption.captioner import Captioner
from tests import pictures
from tests.conftest import built
from tests.filters.model_server import Action, serve

RECIPE = """\
sources: {{photos: {{folder: photos/}}}}
score:
  told: {{scorer: captioner, kinds: [short, long], {more}max_side: 64,
    server: {{endpoints: ['{url}'], model: tiny, kind: openai}}}}
ingest: {{rows_per_shard: 5}}
"""
TELLS = Action(lambda body: f"A thing called {hash(str(body['messages'])) % 10**6}.")


@pytest.fixture(autouse=True)
def _keeps_nothing():
    yield
    keep_in(None)


@pytest.fixture
def decoded(monkeypatch):
    """Counts images that are decoded."""
    times: list[int] = []
    decode = decoding.decode

    def counted(*args, **more):
        times.append(1)
        return decode(*args, **more)

    monkeypatch.setattr(decoding, "decode", counted)
    return times


def scored(make_build, url: str, more: str = ""):
    """The files of a build that scores anew."""
    build = make_build(RECIPE.format(url=url, more=more))
    shutil.rmtree(f"{build.root}/columns", ignore_errors=True)
    built(build, "score")
    paths = sorted(Path(build.root, "columns").rglob("*.parquet"))
    return [path.read_bytes() for path in paths]


def kept(build_files: Path) -> Path:
    (path,) = build_files.rglob("requests.sqlite")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "context: caption, ", "samples: 2, "])
def test_a_second_run_asks_and_decodes_nothing_and_writes_the_same(
    make_build, decoded, more, tmp_path
):
    with serve(TELLS) as model:
        first = scored(make_build, model.url, more)
        asked = len(model.asked)
        decoded.clear()
        assert scored(make_build, model.url, more) == first
        assert len(model.asked) == asked > 0
    assert sum(decoded) == 1  # the one that can't be: nothing was told of it


@pytest.mark.slow
def test_answers_of_a_file_without_names_are_found_and_named(make_build, decoded, tmp_path):
    with serve(TELLS) as model:
        first = scored(make_build, model.url)
        asked = len(model.asked)
        with sqlite3.connect(kept(tmp_path)) as connection:
            connection.execute("drop table names")
        served._PROCESSES.clear()  # as in a new process, which opens the file
        for is_named in (False, True):
            decoded.clear()
            assert scored(make_build, model.url) == first
            assert (sum(decoded) == 1) == is_named
        assert len(model.asked) == asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", ["max_tokens: 7, ", "sentences: 3, ", "language: es, ", "seed: 1, samples: 2, "]
)
def test_what_decides_about_an_answer_is_in_its_name(make_build, more):
    with serve(TELLS) as model:
        scored(make_build, model.url, "samples: 2, " if "samples" in more else "")
        asked = len(model.asked)
        scored(make_build, model.url, more)
        assert len(model.asked) > asked


def test_a_row_is_known_when_all_of_it_is(tmp_path):
    keep_in(str(tmp_path))
    with serve(Action(lambda body: "" if "sentences" in str(body) else "A dog.")) as model:
        server = {"endpoints": [model.url], "model": "tiny", "kind": "openai"}
        scorer = Captioner(server=server, max_side=64)
        names = [b"a" * 32, b"b" * 32, None]
        batch = {"image": [pictures.photo(i, (40, 60)) for i in range(3)], "image_name": names}
        told = scorer(batch)["captions"]
        assert scorer.recall({"image_name": names})["captions"] == [*told[:2], None]
        both = Captioner(server=server, max_side=64, kinds=("short", "long"))
        assert both.recall({"image_name": names})["captions"] == [None] * 3
        assert Captioner(server=server, max_side=65).recall({"image_name": names}) == {
            "captions": [None] * 3
        }


def test_a_local_model_knows_nothing_by_name(tiny_captioner):
    scorer = Captioner(tiny_captioner("llava"), max_side=56)
    assert scorer.recall({"image_name": [b"a" * 32]}) == {"captions": [None]}
