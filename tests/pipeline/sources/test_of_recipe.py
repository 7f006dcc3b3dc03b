import pytest

from pipeline.errors import RecipeError
from pipeline.fetch.options import FetchOptions
from pipeline.recipe import parse_recipe
from pipeline.sources.base import Unit
from pipeline.sources.datacomp import DataCompMetadata
from pipeline.sources.folder import Folder
from pipeline.sources.img2dataset import Img2datasetOutput
from pipeline.sources.of_recipe import all_units, make_sources
from pipeline.sources.parquet import ParquetImages
from pipeline.sources.urls import UrlTable
from pipeline.sources.webdataset import WebDataset

WEB = FetchOptions(retries=3, allow_hosts=frozenset({"h"}))
EVERY = """\
sources:
  a: {folder: photos, captions: captions.csv}
  b: {table: t.csv, url: u, caption: [x, y], key: k, fetch: {retries: 3, allow_hosts: [h]}}
  c: {webdataset: "w/{0..1}.tar", captions: alt}
  d: {img2dataset: out}
  e: {parquet: "s3://bucket/*.parquet", image: img}
  f: {datacomp: metadata}
"""


def made(text, folder="/data"):
    return make_sources(parse_recipe(text, f"{folder}/recipe.yaml"))


def test_every_kind_of_source_is_made_as_the_recipe_says():
    assert made(EVERY) == {
        "a": Folder("a", "/data/photos", "/data/captions.csv"),
        "b": UrlTable(
            "b", "/data/t.csv", "u", ("x", "y"), "k", web=WEB, retries=3, allow_hosts=("h",)
        ),
        "c": WebDataset("c", "/data/w/{0..1}.tar", ("alt",)),
        "d": Img2datasetOutput("d", "/data/out"),
        "e": ParquetImages("e", "s3://bucket/*.parquet", "img", ()),
        "f": DataCompMetadata("f", "/data/metadata"),
    }
    assert [source.fetches for source in made(EVERY).values()].count(True) == 1


def test_captions_are_in_the_order_the_recipe_prefers(tmp_path):
    (tmp_path / "t.jsonl").write_text(
        '{"u": "http://e.org/1", "alt": ["a1", "a2"], "title": "t", "body": "b"}\n'
        '{"u": "http://e.org/2", "body": "b"}\n'
    )
    sections = (
        "sources:\n  s: {table: t.jsonl, url: u, caption: [body, alt, title],"
        " fetch: {allow_hosts: [h]}}\n"
    )
    for prefer, expected in {
        "": "b a1 a2 t",
        "captions: {prefer: [title, alt]}": "t a1 a2 b",
        "captions: {prefer: [alt, nowhere, alt]}": "a1 a2 b t",
    }.items():
        source = made(sections + prefer, tmp_path)["s"]
        assert (source.name, source.fetches) == ("s", True)
        first, second = [r for unit in source.units() for r in source.read(unit)]
        assert " ".join(c["text"] for c in first.captions) == expected
        assert first.caption == expected.split()[0]
        assert second.caption == "b"


def test_the_preferred_caption_names_the_pair(tmp_path):
    (tmp_path / "t.csv").write_text("u,alt,title\nhttp://e.org/1,a,t\n")
    sections = (
        "sources:\n  s: {table: t.csv, url: u, caption: [alt, title], fetch: {allow_hosts: [h]}}\n"
    )
    keys = set()
    for prefer in ("", "captions: {prefer: [title]}"):
        source = made(sections + prefer, tmp_path)["s"]
        keys |= {r.key("s") for unit in source.units() for r in source.read(unit)}
    assert len(keys) == 2


def test_several_sources_are_read_one_after_the_other(tmp_path):
    (tmp_path / "t.csv").write_text("u\nhttp://e.org/1\n")
    text = "sources:\n" + "".join(
        f"  {n}: {{table: t.csv, url: u, fetch: {{allow_hosts: [h]}}}}\n" for n in "ba"
    )
    recipe = parse_recipe(text, str(tmp_path / "recipe.yaml"))
    units = all_units(recipe, make_sources(recipe))
    path, stamp = str(tmp_path / "t.csv"), "17"
    assert units == [Unit("b", path, stamp=stamp), Unit("a", path, stamp=stamp)]


@pytest.mark.parametrize("section", EVERY.splitlines()[1:4] + EVERY.splitlines()[4:5])
def test_what_is_not_there_is_an_error_that_points_into_the_recipe(tmp_path, section):
    recipe = parse_recipe(f"sources:\n{section}\n", str(tmp_path / "recipe.yaml"))
    with pytest.raises(RecipeError, match="there is no") as error:
        all_units(recipe, make_sources(recipe))
    assert str(error.value).startswith(f"{tmp_path}/recipe.yaml:2:")
