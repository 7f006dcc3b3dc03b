"""Graphs of TensorFlow.js: every operation as torch has it, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from filters import tfjs
from tests.filters.tiny_detectors import node, save_graph

VALID = {"padding": "VALID", "strides": [1, 1, 1, 1]}


def ran(path, entry):
    graph = tfjs.read(path)
    return tfjs.network(graph, "cpu")(torch.from_numpy(entry))


def saved(folder, kind, arrays, **settings):
    """A graph of one operation over the input and these arrays."""
    nodes = [node("in", "Placeholder"), node("out", kind, "in", *arrays, **settings)]
    return save_graph(folder, "g", nodes, arrays, ["out"])


def test_a_convolution_equals_the_sum_by_hand(tmp_path):
    kernel = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)
    path = saved(tmp_path, "Conv2D", {"k": kernel}, **VALID, dilations=[1, 1, 1, 1])
    entry = np.arange(18, dtype=np.float32).reshape(1, 3, 3, 2)
    found = ran(path, entry)["out"].numpy()
    by_hand = [
        [(entry[0, y : y + 2, x : x + 2] * kernel[..., 0]).sum() for x in (0, 1)] for y in (0, 1)
    ]
    assert found[0, ..., 0].tolist() == by_hand


@pytest.mark.parametrize(
    ("kind", "arrays", "settings", "expected"),
    [
        ("LeakyRelu", {}, {"alpha": 0.1}, lambda x: np.where(x > 0, x, x * np.float32(0.1))),
        ("Sigmoid", {}, {}, lambda x: 1 / (1 + np.exp(-x))),
        ("Identity", {}, {}, lambda x: x),
        ("AddV2", {"b": np.array([1.0, 2.0])}, {}, lambda x: x + np.array([1.0, 2.0])),
        ("Transpose", {"p": np.array([0, 3, 1, 2])}, {}, lambda x: x.transpose(0, 3, 1, 2)),
        ("Reshape", {"s": np.array([1, -1])}, {}, lambda x: x.reshape(1, -1)),
        ("Pad", {"p": np.array([[0, 0], [1, 2], [0, 1], [0, 0]])}, {}, "pad"),
        ("MaxPool", {}, {**VALID, "ksize": [1, 2, 2, 1]}, "pool"),
        ("ResizeBilinear", {"s": np.array([6, 6])}, {"half_pixel_centers": True}, "resize"),
    ],
)
def test_operations(tmp_path, kind, arrays, settings, expected):
    entry = np.random.default_rng(0).normal(size=(1, 3, 3, 2)).astype(np.float32)
    found = ran(saved(tmp_path, kind, arrays, **settings), entry)["out"].numpy()
    if expected == "pad":
        wanted = np.pad(entry, ((0, 0), (1, 2), (0, 1), (0, 0)))
    elif expected == "pool":
        wanted = np.stack(
            [[entry[0, y : y + 2, x : x + 2].max((0, 1)) for x in (0, 1)] for y in (0, 1)]
        )[None]
    elif expected == "resize":
        assert found.shape == (1, 6, 6, 2)
        assert found[0, 0, 0].tolist() == entry[0, 0, 0].tolist()  # beyond the first centre
        wanted = found
    else:
        wanted = expected(entry)
    assert np.allclose(found, wanted, atol=1e-3)


def test_an_operation_with_several_results(tmp_path):
    arrays = {"sizes": np.array([1, 2]), "axis": np.array(1)}
    nodes = [
        node("in", "Placeholder"),
        node("parts", "SplitV", "in", "sizes", "axis"),
        node("out", "ConcatV2", "parts:1", "parts", "axis"),
    ]
    path = save_graph(tmp_path, "g", nodes, arrays, ["out"])
    assert ran(path, np.array([[1, 2, 3]], np.float32))["out"].tolist() == [[2, 3, 1]]


def test_steps_run_in_any_order_they_are_written_in(tmp_path):
    nodes = [
        node("out", "Sigmoid", "mid"),
        node("mid", "Identity", "in"),
        node("in", "Placeholder"),
    ]
    path = save_graph(tmp_path, "g", nodes, {}, ["out"])
    assert ran(path, np.zeros(2, np.float32))["out"].tolist() == [0.5, 0.5]


def test_quantised_weights_are_scaled(tmp_path):
    path = Path(saved(tmp_path, "AddV2", {"b": np.array([1, 2])}))
    graph = json.loads(path.read_text())
    about = graph["weightsManifest"][0]["weights"][0]
    about |= {"dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}}
    path.write_text(json.dumps(graph))
    (tmp_path / "g.bin").write_bytes(bytes([0, 4]))
    assert ran(str(path), np.zeros(2, np.float32))["out"].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g["modelTopology"]["node"][1].update(op="Evil"), "operations Evil"),
        (lambda g: g["modelTopology"]["node"][1].update(input=["x"]), "nothing leads to out"),
        (lambda g: g["modelTopology"]["node"].pop(0), "0 inputs"),
        (lambda g: g["weightsManifest"][0].update(paths=["../x"]), "must lie beside it"),
        (lambda g: g["weightsManifest"][0].update(paths=["x.bin"]), "No such file"),
        (lambda g: g["weightsManifest"][0]["weights"][0].update(shape=[5]), "is no graph"),
        (lambda g: g.pop("signature"), "is no graph"),
        (lambda g: g["modelTopology"]["node"][1].update(input=[""]), "is no graph"),
        (lambda g: g["weightsManifest"][0]["weights"][0].update(shape=[1e999]), "is no graph"),
        (lambda g: g["signature"]["outputs"].clear(), "nothing leads to its outputs"),
        (
            lambda g: g["signature"]["outputs"].update(o={"name": "gone:0"}),
            "nothing leads to its outputs gone",
        ),
    ],
)
def test_what_is_damaged_is_refused(tmp_path, change, message):
    path = Path(saved(tmp_path, "AddV2", {"b": np.array([1.0, 2.0])}))
    graph = json.loads(path.read_text())
    change(graph)
    path.write_text(json.dumps(graph))
    with pytest.raises(ValueError, match=message):
        tfjs.read(str(path))


def test_padding_that_is_not_known_is_refused(tmp_path):
    kernel = {"k": np.ones((1, 1, 2, 1), np.float32)}
    path = saved(tmp_path, "Conv2D", kernel, padding="SAME", strides=[1, 1, 1, 1])
    with pytest.raises(ValueError, match="padding of its own"):
        ran(path, np.zeros((1, 3, 3, 2), np.float32))


def test_deep_json_can_not_be_read(tmp_path):
    (tmp_path / "g.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"g\.json: can't be read"):
        tfjs.read(str(tmp_path / "g.json"))
