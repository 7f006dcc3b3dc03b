"""What lies beside the tars: a card that hubs read, a Croissant file that passes its validator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import card
from tests.conftest import RECIPE

MANIFEST = {
    "recipe_file": "news.yaml",
    "recipe": "sources: {}\n",
    "versions": {"pairmill": "1.2"},
    "steps": [{"name": "zebra"}, {"name": "ape"}, {"name": "mouse"}],
    "ledger": {
        "rows_in": 1100,
        "failed": {"b": 2, "a": 1},
        "dropped": {"ape": 2, "mouse": 3, "takedown": 4, "zebra": 5},
        "kept": 1083,
        "copies": 1083,
        "not_exported": {},
        "written": 1083,
    },
    "shards": [
        {"name": f"{n:05d}.tar", "samples": 500, "size_bytes": 10**6, "sha256": "0" * 64}
        for n in range(3)
    ],
}


def lines_of(manifest):
    return card.readme(manifest).decode().splitlines()


def test_steps_are_listed_in_the_order_they_were_taken_in():
    steps = [line.split("`")[1] for line in lines_of(MANIFEST) if "dropped by" in line]
    assert steps == ["takedown", "zebra", "ape", "mouse"]
    assert "| came in | 1,100 |" in lines_of(MANIFEST)


def test_the_card_begins_with_what_a_hub_reads():
    from ruamel.yaml import YAML

    text = card.readme(MANIFEST | {"recipe_file": 'a: "b".yaml'}).decode()
    head = YAML(typ="safe", pure=True).load(text.split("---")[1])
    assert head["pretty_name"] == 'a: "b"'
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "*.tar"}]
    assert 'WebDataset("{00000..00002}.tar")' in text


def test_an_export_without_tars_has_a_card_that_does_not_speak_of_any():
    text = card.readme(MANIFEST | {"shards": []}).decode()
    assert text.startswith("# news\n")
    assert "1,083 entries, and no images" in text
    assert "Load it" not in text
    value = json.loads(card.croissant(MANIFEST | {"shards": []}))
    assert value["distribution"] == value["recordSet"] == []


def test_a_recipe_with_a_fence_of_its_own_does_not_end_the_block():
    text = card.readme(MANIFEST | {"recipe": "# ```\n# x\n"}).decode()
    assert text.endswith("## The recipe\n\n````yaml\n# ```\n# x\n````\n")


def test_sizes_name_every_tar():
    shards = [("00000", {"samples": 3}), ("00001", {"samples": 4})]
    assert json.loads(card.sizes_json(shards)) == {"00000.tar": 3, "00001.tar": 4}


@pytest.mark.slow
@pytest.mark.parametrize("image", ["original", "webp"])
def test_mlcroissant_finds_no_fault_and_reads_every_record(make_build, tmp_path, image):
    pytest.importorskip("mlcroissant")
    build = make_build(RECIPE.replace("seed: 0", f"seed: 0, image: {image}"), after="select")
    build.export()
    code = (
        "import json, sys, mlcroissant\n"
        "found = mlcroissant.Dataset(jsonld=sys.argv[1])\n"
        "issues = found.metadata.issues\n"
        "rows = {s.id: list(found.records(s.id)) for s in found.metadata.record_sets}\n"
        "sizes = [list(row['images/image'].size) for row in rows['images']]\n"
        "keys = {name: sorted(r[name + '/key'].decode() for r in rows[name]) for name in rows}\n"
        "texts = {r['texts/key'].decode(): r['texts/text'].decode() for r in rows['texts']}\n"
        "jsons = {r['jsons/key'].decode(): json.loads(r['jsons/json']) for r in rows['jsons']}\n"
        "print(json.dumps([list(issues.errors), list(issues.warnings), sizes, keys, texts, jsons]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(build.out) / "shards" / "croissant.json")],
        env=os.environ | {"CROISSANT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    errors, warnings, sizes, keys, texts, jsons = json.loads(done.stdout)
    assert errors == []
    assert [w for w in warnings if "datePublished" not in w] == []  # a card has no date
    assert "not standard" not in done.stderr
    assert sizes == [[96, 64]] * 13
    assert set(keys) == {"images", "texts", "jsons"}
    assert keys["images"] == keys["texts"] == keys["jsons"]
    assert texts == {key: fields["caption"] for key, fields in jsons.items()}


@pytest.mark.slow
def test_datasets_takes_the_tars_of_the_folder_as_the_data(make_build, tmp_path):
    pytest.importorskip("datasets")
    build = make_build(after="export")
    code = (
        "import sys, datasets\n"
        "rows = datasets.load_dataset(sys.argv[1], split='train', cache_dir=sys.argv[2])\n"
        "print(len(rows), rows[0]['jpg'].size, sorted(rows.column_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(build.out) / "shards"), str(tmp_path / "cache")],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("13 (96, 64) ['__key__', '__url__', 'jpg', 'json', 'txt']")
