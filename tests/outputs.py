"""What a build wrote, read back."""

import json
from pathlib import Path
from typing import Any

from pipeline.shards import read_shard


def exported(out: Path) -> dict[str, dict[str, Any]]:
    """The members of every sample by its source key, the json decoded."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((out / "shards").glob("*.tar")):
        for sample in read_shard(str(path)):
            assert sample.failed is None, sample.detail
            fields = json.loads(sample.parts["json"])
            name = json.loads(fields["provenance"])["source_key"]
            found[name] = sample.parts | {"json": fields}
    return found


def ledger(out: Path) -> dict[str, Any]:
    """The account of all rows."""
    found: dict[str, Any] = json.loads((out / "shards" / "manifest.json").read_text())
    return found["ledger"]
