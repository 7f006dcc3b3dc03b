"""Load an export in the code that trains with it, and count: nothing may vanish there.

`webdataset`, `datasets` and `open_clip_train` read every sample of every shard, each in a process
of its own, and the last trains one epoch on a tiny model. Most of what they can't use they skip
without a word; here that is an error which says how much, where.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from pipeline import storage
from pipeline.errors import CurationError, DamagedFile

READERS = ("webdataset", "datasets", "open_clip_train")
START_S = 300.0  # for a reader to import what it needs, on a machine that is busy
SAMPLE_S = 0.5  # and for each sample
_SHOWN = 5
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "disabled"}


def check(out: str) -> str:
    """What was read and trained, in lines. Raises CurationError with all that was lost.

    `datasets` is passed over, and that is said, when it is not installed. The samples are copied
    once to the temporary folder: `datasets` loads them so.
    """
    expected = _promised(out)
    total, problems, lines = sum(expected.values()), _wrong_sizes(out, expected), []
    for reader in READERS:
        if importlib.util.find_spec(reader) is None:
            lines.append(f"{reader}: not checked, it is not installed")
            continue
        try:
            found = _read(reader, out, expected)
        except CurationError as error:
            problems.append(str(error))
            continue
        problems += _losses(f"{reader} {found['version']}", expected, found["samples"])
        trained = ", and one epoch trained" if found["epochs"] else ""
        lines.append(f"{reader} {found['version']}: {total:,} samples{trained}")
    if problems:
        raise CurationError("\n  ".join([f"{out}: this export does not train as it is", *problems]))
    head = f"{out}: all {total:,} samples in {len(expected)} shards are read"
    return "\n  ".join([head, *lines])


def _promised(out: str) -> dict[str, int]:
    """Samples per shard by the manifest. Raises CurationError when there is nothing to train on."""
    folder = storage.join(out, "shards")
    path = storage.join(folder, "manifest.json")
    if not storage.is_local(out):
        raise CurationError(f"{out}: can be checked on this machine's disk only; copy it there")
    if not storage.exists(path):
        raise CurationError(f"{folder}: there is no finished export; run `pairmill export`")
    shards = _samples_per_shard(path)
    if not shards:
        raise CurationError(f"{folder}: the export has no shards, so there is nothing to train on")
    missing = [name for name in shards if not storage.exists(storage.join(folder, name))]
    if missing:
        raise CurationError(f"{folder}: {', '.join(missing[:_SHOWN])} of the manifest are missing")
    return shards


def _samples_per_shard(path: str) -> dict[str, int]:
    """What a manifest promises. Raises DamagedFile when it promises nothing that can be held."""
    shards = storage.read_fields(path, "shards")["shards"]
    try:
        found = {shard["name"]: shard["samples"] for shard in shards}
    except (KeyError, TypeError) as error:
        raise DamagedFile(f"{path}: is damaged, export again: its shards are none") from error
    for name, samples in found.items():
        is_name = isinstance(name, str) and name == os.path.basename(name)
        if not is_name or type(samples) is not int or samples < 0:
            what = f"{samples!r} samples in {name!r}"
            raise DamagedFile(f"{path}: is damaged, export again: {what}")
        if not name.endswith(".tar"):
            raise CurationError(f"{path}: {name} is no tar, and training is checked on tars only")
    return found


def _wrong_sizes(out: str, expected: Mapping[str, int]) -> list[str]:
    """`open_clip_train` repeats samples up to the number in this file, or leaves some out."""
    path = storage.join(out, "shards", "sizes.json")
    try:
        if storage.exists(path) and storage.read_json(path) == expected:
            return []
    except DamagedFile as error:
        return [str(error)]
    return [f"{path}: does not say how many samples the tars have"]


def _losses(reader: str, expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """What a reader did not see, and what it saw that nobody wrote; empty when all is well."""
    problems = []
    for word, sign in (("vanish in", 1), ("too many appear in", -1)):
        gaps = {name: sign * (n - found.get(name, 0)) for name, n in expected.items()}
        where = [f"{name}: {gap}" for name, gap in gaps.items() if gap > 0]
        if where:
            lost = sum(gap for gap in gaps.values() if gap > 0)
            more = f" and {len(where) - _SHOWN} more shards" if len(where) > _SHOWN else ""
            problems.append(
                f"{lost} of {sum(expected.values())} samples {word} {reader}"
                f" ({', '.join(where[:_SHOWN])}{more})"
            )
    return problems


def _read(reader: str, out: str, expected: Mapping[str, int]) -> dict[str, Any]:
    """Let a process read the shards. Raises CurationError when it fails or takes too long."""
    limit_s = START_S + SAMPLE_S * sum(expected.values())
    with tempfile.TemporaryDirectory(prefix="pairmill-check-") as work:
        # Loaders take braces, `::` and more for patterns: our own link has none of them.
        os.symlink(os.path.abspath(storage.join(out, "shards")), os.path.join(work, "shards"))
        names = os.path.join(work, "names.json")
        storage.write_json(names, list(expected))
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.training_readers", reader, work, str(os.getpid())],
            env=os.environ | _OFFLINE | {"HF_HOME": work, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # its loader has processes of its own
        )
        try:
            _, said = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise CurationError(f"{reader} is not done after {limit_s:.0f} s") from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise CurationError(f"{reader} fails: {_last_words(said)}")
        found: dict[str, Any] = json.loads(storage.read_bytes(os.path.join(work, "found.json")))
        return found


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process, if it still runs, and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _last_words(said: bytes) -> str:
    """The last line of a traceback, or of whatever a process has said."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else "it says nothing"
