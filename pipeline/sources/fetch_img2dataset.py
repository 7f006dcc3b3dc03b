"""Runs img2dataset once, in a process of its own behind the guard: `... SPEC.json`.

One shard of img2dataset, one process, no re-encoding: what it stores are the bytes that came.
When the parent dies this process removes its folder and ends.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

from pipeline.sources import guard

# Imported by img2dataset for what is not asked of it here: resizing, tars, dashboards. They cost
# seconds and memory, and two of them call home. `imghdr` has left Python with 3.13.
_UNUSED = ("albumentations", "webdataset", "wandb", "imghdr")


class _NoLogger:
    """Stands in for a process that prints speeds; a class because img2dataset makes one."""

    def __init__(self, *_: Any) -> None:
        self.done_shards: set[int] = set()

    def start(self) -> None: ...

    def join(self) -> None: ...

    def terminate(self) -> None: ...


def _in_this_process(_: int, downloader: Any, shards: Iterable[Any], *__: Any) -> None:
    """A distributor that starts no process, so that the guard holds where connections are made."""
    for shard in shards:
        downloader(shard)


def _end_with_parent(folder: str) -> None:
    """Wait for the end of standard input, which the parent holds open as long as it lives."""
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _run(spec: dict[str, Any]) -> None:
    for name in _UNUSED:
        sys.modules[name] = ModuleType(name)
    program: Any = import_module("img2dataset.main")  # the package has a function of this name
    program.LoggerProcess = _NoLogger
    program.multiprocessing_distributor = _in_this_process
    program.download(
        url_list=spec["urls"],
        input_format="parquet",
        url_col="url",
        save_additional_columns=["number"],
        output_folder=spec["output"],
        output_format="files",
        processes_count=1,
        thread_count=spec["threads"],
        number_sample_per_shard=spec["rows"],
        timeout=spec["timeout_s"],
        retries=spec["retries"],
        user_agent_token="pairmill",
        resize_mode="no",
        disable_all_reencoding=True,
        extract_exif=False,
        compute_hash="sha256",
    )


def main(path: str) -> None:
    """Fetch what the spec at `path` names into its folder."""
    with open(path, encoding="utf-8") as stream:
        spec = json.load(stream)
    folder = os.path.dirname(path)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    hosts = frozenset(host.lower() for host in spec["allow_hosts"])
    guard.install(guard.Limits(hosts, spec["max_bytes"], spec["attempt_s"]))
    _run(spec)


if __name__ == "__main__":
    main(sys.argv[1])
