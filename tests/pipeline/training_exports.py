"""Small exports for the tests of the training reader: written by hand, or by a build."""

import functools
import hashlib
import json
from io import BytesIO

import numpy as np
import torch

from pipeline.keys import digest
from pipeline.shards import Sample, ShardWriter
from tests import pictures

SIZE = (32, 24)


def key_of(number):
    return digest(str(number).encode()).hex()


def caption(text, kind="sentence", language=None, **more):
    return {"text": text, "kind": kind, **({"language": language} if language else {}), **more}


@functools.cache
def picture(number):
    return pictures.jpeg(number, SIZE)


def sample(number, captions=(), columns=None, size=SIZE, **members):
    """A sample as an export has it; `members` are further ones, by extension, or replace some."""
    fields = {
        "captions": json.dumps(list(captions)),
        "columns": json.dumps(columns or {}),
        "width": size[0],
        "height": size[1],
    }
    parts = {
        "jpg": picture(number % 7),
        "txt": f"number {number}".encode(),
        "json": json.dumps(fields).encode(),
    }
    return Sample(key_of(number), {**parts, **members})


def write(folder, *shards):
    """An export of these lists of samples; returns the output directory."""
    (folder / "shards").mkdir(parents=True)
    listed = []
    for number, samples in enumerate(shards):
        stream = BytesIO()
        writer = ShardWriter(stream)
        for one in samples:
            writer.write(one)
        writer.close()
        data = stream.getvalue()
        (folder / "shards" / f"{number:05d}.tar").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        listed.append({"name": f"{number:05d}.tar", "samples": len(samples), "sha256": sha256})
    (folder / "shards" / "manifest.json").write_text(json.dumps({"shards": listed}))
    return str(folder)


def write_plain(folder, *counts):
    """An export of shards with so many samples, numbered through."""
    numbers = iter(range(sum(counts)))
    return write(folder, *[[sample(next(numbers)) for _ in range(n)] for n in counts])


def to_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def tokenize(texts):
    """Eight numbers for each text, from its letters."""
    padded = [(text.encode() + bytes(8))[:8] for text in texts]
    return torch.tensor([list(data) for data in padded])


def is_same(one, other):
    """Whether two batches are equal in every part, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[n], other[n]) for n in one)
    return one == other
