"""Models that pip packages ship: found without importing the package, opened only as pinned.

Refuses a file whose SHA-256 is another than the one its values were measured with. A package that
is not there is a ValueError that says how to install it.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
SAFETY = "pip install 'pairmill[safety]'"


class Shipped(NamedTuple):
    """A file of an installed package: `module` and the path in it, its digest, how to get it."""

    module: str
    inner: str
    sha256: str
    package: str
    install: str = SAFETY


@cache
def shipped_file(file: Shipped, scorer: str) -> Path:
    """Where the file is, after its digest was compared with the pinned one.

    Raises ValueError when the package or onnxruntime is missing, or the package ships something
    else; `scorer` is who asks.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ValueError(f"scorer {scorer!r} needs the package onnxruntime: {SAFETY}")
    spec = importlib.util.find_spec(file.module)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"scorer {scorer!r} needs the package {file.package}: {file.install}")
    path = Path(spec.submodule_search_locations[0]) / file.inner
    if not path.exists():
        raise ValueError(f"scorer {scorer!r}: {file.package} ships no {file.inner}: {file.install}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != file.sha256:
        raise ValueError(f"scorer {scorer!r}: sha256 of {path} is {found}, not {file.sha256}")
    return path


class Network:
    """An ONNX model on one thread of the CPU; its runs may overlap.

    A class because it holds the session, which costs a second to make.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, values: Floats) -> list[Floats]:
        """All outputs for an input whose first axis is the batch."""
        results: list[Floats] = self._session.run(None, {self._input: values})
        return results

    def note(self, name: str) -> str:
        """A text that the file says about itself."""
        return str(self._session.get_modelmeta().custom_metadata_map[name])


@cache
def network(file: Shipped, scorer: str, change: Callable[[bytes], bytes] | None = None) -> Network:
    """The loaded model, one per process, of the file's bytes or what `change` makes of them.

    Raises ValueError as `shipped_file` does.
    """
    model = shipped_file(file, scorer).read_bytes()
    return Network(model if change is None else change(model))
