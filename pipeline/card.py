"""What describes an export to others: sizes for training code, a dataset card, a Croissant file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
    return "\n".join(_card(manifest)).encode("utf-8")


def _card(manifest: Mapping[str, Any]) -> Iterator[str]:
    ledger, shards = manifest["ledger"], manifest["shards"]
    size = sum(shard["size_bytes"] for shard in shards)
    yield f"# {dataset_name(manifest)}\n"
    yield (
        f"{ledger['written']:,} image–text pairs in {len(shards)} webdataset tars"
        f" ({size / 1e6:,.1f} MB), made by pairmill {manifest['versions']['pairmill']}.\n"
    )
    yield "## Where every row went\n"
    yield "| | rows |\n|---|---:|"
    yield f"| came in | {ledger['rows_in']:,} |"
    for reason, count in ledger["failed"].items():
        yield f"| failed: {reason} | {count:,} |"
    for step, count in ledger["dropped"].items():
        yield f"| dropped by `{step}` | {count:,} |"
    yield f"| kept | {ledger['kept']:,} |"
    for reason, count in ledger["not_exported"].items():
        yield f"| kept but not exported: {reason} | {count:,} |"
    yield f"\n{ledger['copies']:,} copies of the kept rows were chosen.\n"
    yield "## A sample\n"
    yield (
        "Each sample has an image, a `.txt` with the caption, and a `.json` with `key`, `caption`,"
        " `width`, `height`, `sha256` of the image, and three strings of JSON: `captions` (all"
        " that came with the image), `columns` (what was measured), `provenance`.\n"
    )
    yield "## Load it\n"
    pattern = _pattern([shard["name"] for shard in shards])
    yield "```python\nimport webdataset as wds"
    yield f'pairs = wds.WebDataset("{pattern}").decode("pil").to_tuple("jpg;webp", "txt")\n```\n'
    yield "## Licences\n"
    yield (
        "The images and captions keep the licences of their sources; `provenance` in each sample"
        " says where it came from. The recipe below and this card grant none.\n"
    )
    yield f"## The recipe\n\n```yaml\n{manifest['recipe'].rstrip()}\n```\n"


def _pattern(names: Sequence[str]) -> str:
    if len(names) < 2:
        return names[0] if names else ""
    first, last = names[0].removesuffix(".tar"), names[-1].removesuffix(".tar")
    return f"{{{first}..{last}}}.tar"


def croissant(manifest: Mapping[str, Any]) -> bytes:
    """A Croissant 1.0 description: the tars as files, one record per sample."""
    tars = [
        {
            "@type": "cr:FileObject",
            "@id": shard["name"],
            "name": shard["name"],
            "contentUrl": shard["name"],
            "contentSize": f"{shard['size_bytes']} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard["sha256"],
        }
        for shard in manifest["shards"]
    ]
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
        "url": "README.md",
        "distribution": [*tars, *_file_sets([tar["@id"] for tar in tars])] if tars else [],
        "recordSet": [_records()] if tars else [],
    }
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def _file_sets(tars: Sequence[Any]) -> Iterator[dict[str, Any]]:
    kinds = {
        "images": ("image/jpeg", ["*.jpg", "*.webp"]),
        "texts": ("text/plain", ["*.txt"]),
        "jsons": ("application/json", ["*.json"]),
    }
    for name, (encoding, includes) in kinds.items():
        yield {
            "@type": "cr:FileSet",
            "@id": name,
            "name": name,
            "containedIn": [{"@id": tar} for tar in tars],
            "encodingFormat": encoding,
            "includes": includes,
        }


def _records() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "key": {"@id": "samples/key"},
        "field": [
            _field("key", "sc:Text", "images", "filename", "^(.+)\\.[^.]+$"),
            _field("image", "sc:ImageObject", "images", "content"),
            _field("caption", "sc:Text", "texts", "content"),
            _field("json", "sc:Text", "jsons", "content"),
        ],
    }


def _field(
    name: str, kind: str, files: str, extract: str, regex: str | None = None
) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": files}, "extract": {"fileProperty": extract}}
    if regex is not None:
        source["transform"] = {"regex": regex}
    return {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": f"samples/{name}",
        "dataType": kind,
        "source": source,
    }
