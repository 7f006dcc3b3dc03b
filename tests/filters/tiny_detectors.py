"""Tiny detectors: graphs of TensorFlow.js written on the spot, and models with random weights."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np


def save_graph(
    folder: Path, name: str, nodes: list[dict[str, Any]], arrays: dict[str, Any], outputs: list[str]
) -> str:
    """Write a graph of TensorFlow.js; float arrays are stored as float16. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, data = [], b""
    for key, value in arrays.items():
        array = np.asarray(value)
        about: dict[str, Any] = {"name": key, "shape": list(array.shape), "dtype": "int32"}
        if array.dtype.kind == "f":
            about |= {"dtype": "float32", "quantization": {"dtype": "float16"}}
        weights.append(about)
        data += array.astype("float16" if array.dtype.kind == "f" else "int32").tobytes()
    listed = [{"name": key, "op": "Const"} for key in arrays]
    found = {
        "modelTopology": {"node": [*nodes, *listed]},
        "weightsManifest": [{"paths": [f"{name}.bin"], "weights": weights}],
        "signature": {"outputs": {one: {"name": f"{one}:0"} for one in outputs}},
    }
    (folder / f"{name}.bin").write_bytes(data)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found))
    return str(path)


def node(name: str, kind: str, *inputs: str, **settings: Any) -> dict[str, Any]:
    """An operation as a graph holds it."""
    return {
        "name": name,
        "op": kind,
        "input": list(inputs),
        "attr": {key: _attr(value) for key, value in settings.items()},
    }


def _attr(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, list):
        return {"list": {"i": [str(one) for one in value]}}
    if isinstance(value, str):
        return {"s": base64.b64encode(value.encode()).decode()}
    return {"i": str(value)} if isinstance(value, int) else {"f": value}


def save_nanodet(folder: Path, seed: int = 0) -> str:
    """A graph with the outputs of NanoDet: each cell sees the mean of its pixels alone."""
    random = np.random.default_rng(seed)
    nodes = [node("in", "Placeholder"), node("back", "Transpose", "in", "axes")]
    arrays: dict[str, Any] = {"axes": np.array([0, 2, 3, 1])}
    outputs = []
    for cells in (13, 26, 52):
        step = 416 // cells
        pool = {"ksize": [1, step, step, 1], "strides": [1, step, step, 1], "padding": "VALID"}
        nodes.append(node(f"pool{cells}", "MaxPool", "back", **pool))
        for part, width in (("score", 80), ("side", 44)):
            here = f"{part}{cells}"
            arrays[f"k{here}"] = random.normal(0, 1.5, (1, 1, 3, width)).astype(np.float32)
            arrays[f"s{here}"] = np.array([1, cells * cells, width])
            conv = {"strides": [1, 1, 1, 1], "padding": "VALID", "dilations": [1, 1, 1, 1]}
            nodes.append(node(f"c{here}", "Conv2D", f"pool{cells}", f"k{here}", **conv))
            nodes.append(node(f"r{here}", "Reshape", f"c{here}", f"s{here}"))
            nodes.append(node(here, "Sigmoid" if part == "score" else "Identity", f"r{here}"))
            outputs.append(here)
    save_graph(folder, "nanodet", nodes, arrays, outputs)
    return str(folder)


def save_detector(folder: Path, kind: str = "yolos", seed: int = 0) -> str:
    """Write a model folder of transformers; returns what a recipe names it."""
    import torch
    from transformers import (
        DetrConfig,
        DetrForObjectDetection,
        DetrImageProcessor,
        ResNetConfig,
        RTDetrConfig,
        RTDetrForObjectDetection,
        RTDetrImageProcessor,
        RTDetrResNetConfig,
        YolosConfig,
        YolosForObjectDetection,
        YolosImageProcessor,
    )

    torch.manual_seed(seed)
    names = {"id2label": {0: "person", 1: "red_car", 2: "N/A", 3: "dog"}}
    names |= {"label2id": {name: at for at, name in names["id2label"].items()}}  # type: ignore[dict-item]
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    size = {"shortest_edge": 48, "longest_edge": 64}
    blocks: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
    blocks |= {"depths": [1, 1, 1, 1], "layer_type": "basic"}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4}
    layers |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    if kind == "yolos":
        model: Any = YolosForObjectDetection(
            YolosConfig(**small, num_hidden_layers=2, image_size=[48, 64], **names)
        )
        processor: Any = YolosImageProcessor(size=size)
    elif kind == "detr":
        backbone = ResNetConfig(**blocks, out_features=["stage4"])
        model = DetrForObjectDetection(
            DetrConfig(
                backbone_config=backbone,
                use_timm_backbone=False,
                use_pretrained_backbone=False,
                d_model=32,
                num_queries=8,
                **layers,
                **names,
            )
        )
        processor = DetrImageProcessor(size=size)
    else:
        backbone = RTDetrResNetConfig(**blocks, out_features=["stage2", "stage3", "stage4"])
        model = RTDetrForObjectDetection(
            RTDetrConfig(
                backbone_config=backbone,
                d_model=32,
                encoder_hidden_dim=32,
                encoder_in_channels=[8, 16, 16],
                decoder_in_channels=[32, 32, 32],
                num_queries=8,
                **layers,
                **names,
            )
        )
        processor = RTDetrImageProcessor(size={"height": 64, "width": 64})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"local-dir:{folder}"
