"""The readers of an export, for `check-training`: each runs in a process of its own.

    python -m pipeline.training_readers READER WORK PARENT

WORK holds `shards`, and `names.json` with the names of the tars in order; `found.json` there says
afterwards how many samples of each the reader gave. A reader may fail with any error. It ends,
with all that it started, when PARENT, the process that started it, is gone.
"""

import importlib.metadata
import inspect
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

BATCH = 64
_FOLLOW_S = 0.5
_SIDE = 32
_MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": _SIDE, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}
_IMAGES = ("jpg", "png", "jpeg", "webp")


def read_webdataset(work: Path, names: list[str]) -> dict[str, int]:
    """Samples with a picture and a text, per tar, as `webdataset` decodes them."""
    import webdataset

    go_on = webdataset.ignore_and_continue  # the next sample counts, too
    found = {}
    for name in names:
        samples = webdataset.WebDataset(
            str(work / "shards" / name), shardshuffle=False, empty_check=False, handler=go_on
        ).decode("pil", handler=go_on)
        found[name] = sum(
            isinstance(sample.get("txt"), str) and any(kind in sample for kind in _IMAGES)
            for sample in samples
        )
    return found


def read_datasets(work: Path, names: list[str]) -> dict[str, int]:
    """Samples with a picture, a text and a json, per tar, as `datasets` loads them."""
    import datasets

    files = [str(work / "shards" / name) for name in names]
    loaded = datasets.load_dataset(
        "webdataset", data_files={"train": files}, split="train", cache_dir=str(work / "cache")
    )
    found: Counter[str] = Counter()
    for row in loaded:
        whole = all(row.get(member) is not None for member in ("txt", "json"))
        if whole and any(row.get(kind) is not None for kind in _IMAGES):
            found[Path(row["__url__"]).name] += 1
    return dict(found)


def read_open_clip_train(work: Path, names: list[str]) -> dict[str, int]:
    """Samples per tar that reach the model in `open_clip_train`; then it trains an epoch."""
    from open_clip import get_tokenizer
    from open_clip.transform import image_transform
    from open_clip_train import data, params

    _mend_expander(data)
    model, tokenize = _save_model(work / "model"), get_tokenizer("ViT-B-32")
    prepare = image_transform(_SIDE, is_train=True)
    found = {}
    for name in names:
        shard = str(work / "shards" / name)
        args = params.parse_args(["--train-data", shard, "--batch-size", "1", "--workers", "0"])
        args.world_size = 1
        loader = data.get_wds_dataset(args, prepare, True, tokenizer=tokenize).dataloader
        # The loader repeats samples until the number in sizes.json is reached: this does not.
        found[name] = sum(1 for _ in loader.pipeline[0].dataset.iterator1())
    if sum(found.values()):
        _train(work, model, names)
    return found


def _mend_expander(data: Any) -> None:
    """Let open_clip read with webdataset from 0.2.96 on.

    There a tar ends with an empty dict, of which open_clip's grouping knows nothing (open_clip
    issue 935): KeyError 'fname', and no training.
    """
    if "eof_value" in inspect.signature(data.tar_file_expander).parameters:
        data.tar_file_expander = partial(data.tar_file_expander, eof_value=None)


def _save_model(folder: Path) -> str:
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": _MODEL}))
    return f"local-dir:{folder}"


def _train(work: Path, model: str, names: list[str]) -> None:
    """One epoch over all tars, as many samples as sizes.json says, in batches of one size."""
    from open_clip_train import main

    sizes = json.loads((work / "shards" / "sizes.json").read_text())
    # The mend reaches processes that are forked, and no others.
    workers = 1 if multiprocessing.get_start_method() == "fork" else 0
    options = {
        "--dataset-type": "webdataset",
        "--train-data": "::".join(str(work / "shards" / name) for name in names),
        "--model": model,
        "--batch-size": str(min(BATCH, sum(sizes[name] for name in names))),
        "--workers": str(workers),
        "--epochs": "1",
        "--warmup": "1",
        "--precision": "fp32",
        "--device": "cpu",
        "--logs": str(work / "logs"),
        "--name": "check",
    }
    main.main([word for option in options.items() for word in option])
    if not (work / "logs" / "check" / "checkpoints" / "epoch_1.pt").exists():
        raise RuntimeError("the epoch has no end")


READERS = {
    "webdataset": read_webdataset,
    "datasets": read_datasets,
    "open_clip_train": read_open_clip_train,
}
_DISTRIBUTIONS = {"open_clip_train": "open_clip_torch"}


def _follow(parent: int) -> None:
    """End the group of this process, which it leads, as soon as its parent is another one."""
    while os.getppid() == parent:
        time.sleep(_FOLLOW_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(reader: str, work: Path) -> None:
    """Read, and leave what was found in `work`."""
    names = json.loads((work / "names.json").read_text())
    value = {
        "samples": READERS[reader](work, names),
        "version": importlib.metadata.version(_DISTRIBUTIONS.get(reader, reader)),
        "epochs": int(reader == "open_clip_train"),
    }
    (work / "found.json").write_text(json.dumps(value))


if __name__ == "__main__":
    threading.Thread(target=_follow, args=(int(sys.argv[3]),), daemon=True).start()
    main(sys.argv[1], Path(sys.argv[2]))
