"""What describes an export to others: sizes for training code, a dataset card, a Croissant file.

The card's head is for the Hugging Face hub, and `mlcroissant` reads the Croissant file. Neither
carries a date: two exports of one recipe have equal cards.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.amplification import Amplification

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def sizes_json(shards: Sequence[tuple[str, Mapping[str, Any]]]) -> bytes:
    """Samples of every tar by its base name, as `open_clip_train` reads it."""
    sizes = {f"{name}.tar": stats["samples"] for name, stats in shards}
    return json.dumps(sizes, sort_keys=True, indent=1).encode() + b"\n"


def dataset_name(manifest: Mapping[str, Any]) -> str:
    """The recipe's file name without its ending."""
    return str(manifest["recipe_file"]).rpartition(".")[0] or str(manifest["recipe_file"])


def readme(manifest: Mapping[str, Any]) -> bytes:
    """A dataset card: what it is, where every row went, how it was made, how to load it."""
    names = [shard["name"] for shard in manifest["shards"]]
    head, use = (_front_matter(manifest), _use(names)) if names else ((), ())
    lines = [*head, *_summary(manifest), *_rows(manifest), *use, *_arrays(manifest)]
    lines += _origin(manifest)
    return "\n".join(lines).encode("utf-8")


def _front_matter(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the hub and `datasets` need to know: that the tars, and no other file, are the data."""
    yield "---"
    yield f"pretty_name: {json.dumps(dataset_name(manifest), ensure_ascii=False)}"
    yield "tags: [webdataset, image-text]"
    yield 'configs: [{config_name: default, data_files: [{split: train, path: "*.tar"}]}]'
    yield "---\n"


def _summary(manifest: Mapping[str, Any]) -> Iterator[str]:
    written, shards = manifest["ledger"]["written"], manifest["shards"]
    size = sum(shard["size_bytes"] for shard in shards)
    what = f"image–text pairs in {len(shards)} webdataset tars ({size / 1e6:,.1f} MB)"
    if not shards:
        what = "entries, and no images: a list of what was chosen"
    yield f"# {dataset_name(manifest)}\n"
    yield f"{written:,} {what}, made by pairmill {manifest['versions']['pairmill']}.\n"


def _rows(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The ledger as a table; steps in the order they were taken in."""
    ledger = manifest["ledger"]
    steps = {step["name"]: place for place, step in enumerate(manifest["steps"])}
    yield "## Where every row went\n"
    yield "| | rows |\n|---|---:|"
    yield f"| came in | {ledger['rows_in']:,} |"
    for reason, count in sorted(ledger["failed"].items()):
        yield f"| failed: {reason} | {count:,} |"
    # What is no step of the recipe, such as takedowns, is done before all steps.
    for step, count in sorted(ledger["dropped"].items(), key=lambda kv: (steps.get(kv[0], -1), kv)):
        yield f"| dropped by `{step}` | {count:,} |"
    yield f"| kept | {ledger['kept']:,} |"
    for reason, count in sorted(ledger["not_exported"].items()):
        yield f"| kept but not exported: {reason} | {count:,} |"
    yield f"\n{ledger['copies']:,} copies of the kept rows were chosen.\n"
    if "generated" in manifest:
        told = Amplification(**manifest["generated"])
        yield f"Images {told}. More may be generated: not known.\n"


def _use(names: Sequence[str]) -> Iterator[str]:
    """What a sample is, and how three loaders read the tars."""
    yield "## A sample\n"
    yield (
        "Each sample has an image, a `.txt` with the caption, and a `.json` with `key`, `caption`,"
        " `width`, `height`, `sha256` of the image, and three strings of JSON: `captions` (all"
        " that came with the image), `columns` (what was measured), `provenance`.\n"
    )
    pattern = _pattern(names)
    yield "## Load it\n"
    yield "```python\nimport webdataset as wds"
    yield f'pairs = wds.WebDataset("{pattern}").decode("pil").to_tuple("jpg;webp", "txt")\n'
    yield "from datasets import load_dataset"
    yield 'rows = load_dataset("webdataset", data_files="*.tar", split="train")\n```\n'
    yield "```sh"
    yield f"python -m open_clip_train.main --dataset-type webdataset --train-data '{pattern}' ..."
    yield "```\n"
    yield (
        "`sizes.json` tells `open_clip_train` how many samples there are; it needs webdataset"
        " before 0.2.96.\n"
    )


def _arrays(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the npz files hold, when there are any."""
    arrays = manifest.get("embeddings", {}).get("arrays", {})
    if not arrays:
        return
    beside = "tar, in the order of its samples" if manifest["shards"] else "table, in its order"
    yield "## Embeddings\n"
    yield (
        f"An `.npz` beside each {beside}: `key` has their keys, `NAME` an array of one row each,"
        " and `NAME_missing` is true where a sample has no vector and the row is zeros.\n"
    )
    yield "| array | column | numbers in a row | type |\n|---|---|---:|---|"
    for name, array in arrays.items():
        yield f"| `{name}` | `{array['column']}` | {array['dims']} | {array['type']} |"
    name = manifest["embeddings"]["files"][0]["name"] if manifest["embeddings"]["files"] else ""
    yield "\n```python\nimport numpy as np"
    yield f'arrays = np.load("{name.rpartition(".")[0] or "00000"}.npz")\n```\n'


def _origin(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Licences\n"
    yield (
        "The images and captions keep the licences of their sources; `provenance` in each sample"
        " says where it came from. The recipe below and this card grant none.\n"
    )
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", manifest["recipe"])), default=0))
    yield f"## The recipe\n\n{fence}yaml\n{manifest['recipe'].rstrip()}\n{fence}\n"


def _pattern(names: Sequence[str]) -> str:
    if len(names) < 2:
        return names[0] if names else ""
    first, last = names[0].removesuffix(".tar"), names[-1].removesuffix(".tar")
    return f"{{{first}..{last}}}.tar"


def croissant(manifest: Mapping[str, Any]) -> bytes:
    """A Croissant 1.0 description: the tars as files, and a record set per kind of member.

    Records of one sample have one key. They are no joint records because `mlcroissant` reads one
    content per record of an archive, and joins no more than two sets of files.
    """
    tars = [_tar(shard) for shard in manifest["shards"]]
    beside = [_beside(file) for file in manifest.get("embeddings", {}).get("files", [])]
    sets = [_files(kind, tars) for kind in _KINDS] if tars else []
    value = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": dataset_name(manifest),
        "description": (
            f"{manifest['ledger']['written']} image-text pairs selected from"
            f" {manifest['ledger']['rows_in']} rows."
        ),
        "version": "1.0.0",
        "license": "The licences of the sources; see provenance in each sample.",
        "citeAs": "The sources that provenance in each sample names.",
        "url": "README.md",
        "distribution": [*tars, *beside, *sets],
        "recordSet": [_records(kind) for kind in _KINDS] if tars else [],
    }
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def _tar(shard: Mapping[str, Any]) -> dict[str, Any]:
    return _file(shard, "application/x-tar")


def _beside(file: Mapping[str, Any]) -> dict[str, Any]:
    is_table = file["name"].endswith(".parquet")
    return _file(file, "application/x-parquet" if is_table else "application/zip")


def _file(file: Mapping[str, Any], encoding: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file["name"],
        "name": file["name"],
        "contentUrl": file["name"],
        "contentSize": f"{file['size_bytes']} B",
        "encodingFormat": encoding,
        "sha256": file["sha256"],
    }


# Kinds of members: their formats, the endings of their names, the type of a field.
_KINDS: dict[str, tuple[list[str], list[str], str]] = {
    "image": (["image/jpeg", "image/webp"], ["*.jpg", "*.webp"], "sc:ImageObject"),
    "text": (["text/plain"], ["*.txt"], "sc:Text"),
    "json": (["application/json"], ["*.json"], "sc:Text"),
}


def _files(kind: str, tars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    encodings, includes, _ = _KINDS[kind]
    return {
        "@type": "cr:FileSet",
        "@id": f"{kind}-files",
        "name": f"{kind}-files",
        "containedIn": [{"@id": tar["@id"]} for tar in tars],
        "encodingFormat": encodings,
        "includes": includes,
    }


def _records(kind: str) -> dict[str, Any]:
    name = f"{kind}s"
    key = _field(kind, "key", "sc:Text", "filename", "^(.+)\\.[^.]+$")
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": key["@id"]},
        "field": [key, _field(kind, kind, _KINDS[kind][2], "content")],
    }


def _field(
    kind: str, name: str, data_type: str, extract: str, regex: str | None = None
) -> dict[str, Any]:
    source: dict[str, Any] = {
        "fileSet": {"@id": f"{kind}-files"},
        "extract": {"fileProperty": extract},
    }
    if regex is not None:
        source["transform"] = {"regex": regex}
    return {
        "@type": "cr:Field",
        "@id": f"{kind}s/{name}",
        "name": name,
        "dataType": data_type,
        "source": source,
    }
