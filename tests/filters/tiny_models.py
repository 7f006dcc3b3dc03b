"""Makes tiny dual encoders with random weights, each as a model folder that open_clip loads.

The kinds differ where scoring can go wrong: preprocessing, tokenizer, normalisation, branches.
"""

import copy
import json
from pathlib import Path
from typing import Any

WORDS = (
    "a",
    "red",
    "blue",
    "car",
    "dog",
    "house",
    "on",
    "the",
    "road",
    "near",
    "old",
    "and",
    "two",
)
CONTEXT = 16
_TEXT = {"context_length": CONTEXT, "width": 32, "heads": 2, "layers": 1}
_NATIVE = _TEXT | {"vocab_size": 49408}
_VIT = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8}
_OPENAI = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
_HALF = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
_PLAIN = {"mean": [0] * 3, "std": [1] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}

KINDS: dict[str, dict[str, Any]] = {
    "clip": {
        "model_cfg": {"embed_dim": 24, "vision_cfg": _VIT, "text_cfg": _NATIVE},
        "preprocess_cfg": _OPENAI,
    },
    "siglip": {
        "model_cfg": {
            "embed_dim": 64,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 160,
                "timm_model_name": "test_vit",
                "timm_pool": "map",
                "timm_proj": "none",
            },
            "text_cfg": _TEXT
            | {
                "vocab_size": len(WORDS) + 2,
                "hf_tokenizer_name": "somebody/tokenizer",
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "no_causal_mask": True,
                "proj_bias": True,
                "pool_type": "last",
            },
        },
        "preprocess_cfg": _HALF,
    },
    "coca": {
        "model_cfg": {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": _VIT
            | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
            "text_cfg": _NATIVE | {"embed_cls": True, "output_tokens": True},
            "multimodal_cfg": _NATIVE | {"attn_pooler_heads": 2},
        },
        "preprocess_cfg": _OPENAI,
    },
    "mobileclip": {
        "model_cfg": {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": {"image_size": 64, "timm_model_name": "fastvit_t8", "timm_pool": "avg"},
            "text_cfg": _NATIVE | {"no_causal_mask": True},
        },
        "preprocess_cfg": _PLAIN,
    },
}


def save_model(folder: Path, kind: str = "clip", seed: int = 0) -> str:
    """Write a model folder; returns what a recipe names it."""
    import torch
    from open_clip import CLIP, CoCa, CustomTextCLIP
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    parts = copy.deepcopy(KINDS[kind]["model_cfg"])
    custom = parts.pop("custom_text", False)
    make = CoCa if "multimodal_cfg" in parts else CustomTextCLIP if custom else CLIP
    state = make(**parts).state_dict()
    for name, tensor in state.items():
        if name.endswith("text_decoder.text_projection"):  # which open_clip leaves as it finds it
            tensor.normal_(std=0.1)
    save_file(
        {name: v.contiguous().clone() for name, v in state.items()}, folder / "model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps(KINDS[kind]))
    if kind == "siglip":
        save_tokenizer(folder)
    return f"local-dir:{folder}"


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of WORDS that ends a text and fills the rest with `</s>`, as SigLIP's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(("<unk>", "</s>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
