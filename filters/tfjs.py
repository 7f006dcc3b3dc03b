"""Graphs of TensorFlow.js, run in torch: what pip and npm packages ship small networks as.

A folder's JSON names operations and arrays, the files beside it hold the arrays: nothing in them is
run but the operations of this module. A graph with another one is refused when it is read.
"""

import base64
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters import files

if TYPE_CHECKING:
    import torch

_SIZES = {"float32": 4, "float16": 2, "int32": 4, "uint8": 1}
_PLAIN: dict[str, Callable[[Any], Any]] = {"i": int, "f": float, "b": bool}
_PLACES = (0, 3, 1, 2)  # of an axis of [n, h, w, c] in torch's [n, c, h, w]
_BACK = (0, 2, 3, 1)


class Step(NamedTuple):
    """An operation: the name of its result, those of its inputs, and its settings."""

    name: str
    kind: str
    inputs: tuple[tuple[str, int], ...]
    settings: Mapping[str, Any]


class Graph(NamedTuple):
    """Steps in an order in which they can run, known arrays, and names of what comes in and out."""

    steps: tuple[Step, ...]
    known: dict[str, npt.NDArray[Any]]
    entry: str
    outputs: tuple[str, ...]


def read(path: str) -> Graph:
    """The graph in a JSON file. Raises ValueError when it is damaged or beyond this module."""
    found = files.read_json(path)
    try:
        nodes = [*map(_step, found["modelTopology"]["node"])]
        known = _arrays(os.path.dirname(path), found["weightsManifest"])
        outputs = found["signature"]["outputs"].values()
        names = tuple(sorted(str(one["name"]).partition(":")[0] for one in outputs))
    except (LookupError, TypeError, ValueError, AttributeError, OSError, OverflowError) as error:
        raise ValueError(f"{path}: is no graph of TensorFlow.js: {error}") from error
    entries = [node.name for node in nodes if node.kind == "Placeholder"]
    steps = [node for node in nodes if node.kind not in ("Const", "Placeholder")]
    strange = sorted({step.kind for step in steps} - _OPERATIONS.keys())
    if strange or len(entries) != 1:
        why = f"operations {', '.join(strange)}" if strange else f"{len(entries)} inputs"
        raise ValueError(f"{path}: a graph with {why} can't be run here")
    nowhere = sorted({*names} - {*known, *entries, *(step.name for step in steps)})
    if nowhere or not names:
        raise ValueError(f"{path}: nothing leads to its outputs {', '.join(nowhere)}".rstrip())
    return Graph(_ordered(path, steps, {*known, *entries}), known, entries[0], names)


def network(graph: Graph, device: str) -> Callable[["torch.Tensor"], dict[str, "torch.Tensor"]]:
    """The graph as a function from its input to its outputs by name, with its arrays loaded."""
    import torch

    known = {name: torch.from_numpy(array).to(device) for name, array in graph.known.items()}
    last = {one: step.name for step in graph.steps for one, _ in step.inputs}

    def run(entry: "torch.Tensor") -> dict[str, "torch.Tensor"]:
        values: dict[str, Any] = {**known, graph.entry: entry}
        for step in graph.steps:
            given = [values[name][at] if at else _first(values[name]) for name, at in step.inputs]
            values[step.name] = _OPERATIONS[step.kind](given, step.settings)
            for name, _ in step.inputs:  # activations that nobody reads any more
                if last[name] == step.name and name not in known and name not in graph.outputs:
                    values.pop(name, None)
        return {name: values[name] for name in graph.outputs}

    return run


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _step(node: Mapping[str, Any]) -> Step:
    inputs = [str(one).partition(":") for one in node.get("input", ()) if one[0] != "^"]
    places = tuple((name, int(at or 0)) for name, _, at in inputs)
    settings = {name: _setting(value) for name, value in node.get("attr", {}).items()}
    return Step(str(node["name"]), str(node["op"]), places, settings)


def _setting(value: Mapping[str, Any]) -> Any:
    """A setting as Python has it; of kinds that no operation here reads, nothing."""
    for kind, found in value.items():
        if kind == "list":
            return [int(one) for one in found.get("i", ())]
        if kind == "s":
            return base64.b64decode(found).decode("ascii")
        if kind in _PLAIN:
            return _PLAIN[kind](found)
    return None


def _ordered(path: str, steps: Sequence[Step], known: set[str]) -> tuple[Step, ...]:
    found: list[Step] = []
    waiting = list(steps)
    while waiting:
        ready = [step for step in waiting if all(name in known for name, _ in step.inputs)]
        if not ready:
            raise ValueError(f"{path}: nothing leads to {waiting[0].name}")
        found += ready
        known |= {step.name for step in ready}
        waiting = [step for step in waiting if step.name not in known]
    return tuple(found)


def _arrays(folder: str, manifest: Any) -> dict[str, npt.NDArray[Any]]:
    found: dict[str, npt.NDArray[Any]] = {}
    for group in manifest:
        parts = []
        for name in group["paths"]:
            if os.path.basename(name) != name:
                raise ValueError(f"weights {name!r} must lie beside it")
            with open(os.path.join(folder, name), "rb") as stream:
                parts.append(stream.read())
        data, start = b"".join(parts), 0
        for one in group["weights"]:
            shape = [int(side) for side in one["shape"]]
            kind = str(one.get("quantization", {}).get("dtype", one["dtype"]))
            end = start + math.prod(shape) * _SIZES[kind]
            array = np.frombuffer(data[start:end], kind).reshape(shape)
            found[str(one["name"])] = _dequantized(array, one)
            start = end
        if start != len(data):
            raise ValueError(f"its weights have {len(data)} bytes, and it names {start}")
    return found


def _dequantized(array: npt.NDArray[Any], one: Mapping[str, Any]) -> npt.NDArray[Any]:
    about = one.get("quantization")
    if about is not None and "scale" in about:
        array = array.astype(np.float32) * about["scale"] + about["min"]
    return array.astype(str(one["dtype"]))


# Operations: their inputs and settings to what comes out


def _conv(given: list[Any], settings: Mapping[str, Any]) -> Any:
    import torch

    x, kernel = given
    _, high, wide, _ = settings["strides"]
    if settings["padding"] != "VALID" or settings.get("data_format", "NHWC") != "NHWC":
        raise ValueError("a convolution with padding of its own can't be run here")
    dilation = tuple(settings.get("dilations") or (1, 1, 1, 1))[1:3]
    found = torch.nn.functional.conv2d(
        x.permute(_PLACES), kernel.permute(3, 2, 0, 1), None, (high, wide), 0, dilation
    )
    return found.permute(_BACK)


def _pool(given: list[Any], settings: Mapping[str, Any]) -> Any:
    import torch

    if settings["padding"] != "VALID":
        raise ValueError("pooling with padding of its own can't be run here")
    size, step = settings["ksize"][1:3], settings["strides"][1:3]
    return torch.nn.functional.max_pool2d(given[0].permute(_PLACES), size, step).permute(_BACK)


def _pad(given: list[Any], _: Mapping[str, Any]) -> Any:
    import torch

    sides = [side for pair in reversed(given[1].tolist()) for side in pair]
    value = float(given[2]) if len(given) > 2 else 0.0
    return torch.nn.functional.pad(given[0], sides, value=value)


def _resized(given: list[Any], settings: Mapping[str, Any]) -> Any:
    import torch

    if settings.get("align_corners") or not settings.get("half_pixel_centers"):
        raise ValueError("resizing by corners can't be run here")
    size = given[1].tolist()
    found = torch.nn.functional.interpolate(
        given[0].permute(_PLACES), size, mode="bilinear", align_corners=False
    )
    return found.permute(_BACK)


def _dense(given: list[Any], _: Mapping[str, Any]) -> Any:
    import torch

    places, shape, values, value = given
    found = torch.full(shape.tolist(), value.item(), dtype=value.dtype, device=value.device)
    for place, one in zip(places.tolist(), values.tolist(), strict=True):
        found[tuple(place)] = one
    return found


def _concatenated(given: list[Any], _: Mapping[str, Any]) -> Any:
    import torch

    return torch.cat(given[:-1], int(given[-1]))


def _leaky(given: list[Any], settings: Mapping[str, Any]) -> Any:
    import torch

    return torch.nn.functional.leaky_relu(given[0], settings.get("alpha", 0.2))


_OPERATIONS: dict[str, Callable[[list[Any], Mapping[str, Any]], Any]] = {
    "Add": lambda given, _: given[0] + given[1],
    "AddV2": lambda given, _: given[0] + given[1],
    "ConcatV2": _concatenated,
    "Conv2D": _conv,
    "Identity": lambda given, _: given[0],
    "LeakyRelu": _leaky,
    "MaxPool": _pool,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": lambda given, _: given[0].reshape(given[1].tolist()),
    "ResizeBilinear": _resized,
    "Sigmoid": lambda given, _: given[0].sigmoid(),
    "SparseToDense": _dense,
    "SplitV": lambda given, _: given[0].split(given[1].tolist(), int(given[2])),
    "Transpose": lambda given, _: given[0].permute(given[1].tolist()),
}
