"""Makes tiny models with random weights of families that write captions, beside tiny_mllm's.

Each is a folder that transformers loads; the kinds differ in how a picture becomes tokens.
"""

from pathlib import Path
from typing import Any

from tests.filters import tiny_mllm
from tests.filters.tiny_blip import CAPTIONING, save_blip

CHAT_KINDS = (*tiny_mllm.KINDS, "qwen3", "internvl", "smolvlm")
KINDS = (*CHAT_KINDS, "blip", "florence2")
SIDE = tiny_mllm.SIDE


def save_captioner(folder: Path, kind: str, seed: int = 0) -> str:
    """Write a model folder; returns what a recipe names it."""
    import torch

    if kind in tiny_mllm.KINDS:
        return tiny_mllm.save_mllm(folder, kind, seed)
    if kind == "blip":
        return save_blip(folder, CAPTIONING, seed)
    torch.manual_seed(seed)
    makers = {"qwen3": _qwen3, "internvl": _internvl, "florence2": _florence2}
    make = makers.get(kind, _smolvlm)
    config, processor = make()
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_config(config)
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"local-dir:{folder}"


def _qwen3() -> tuple[Any, Any]:
    """Patches of 16 pixels, and features of several layers of the picture."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    named = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    tokenizer = tiny_mllm._tokenizer(named)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in named.items()}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4}
    vision |= {"out_hidden_size": 32, "num_position_embeddings": 64, "patch_size": 16}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    config = Qwen3VLConfig(
        vision_config=vision | {"deepstack_visual_indexes": [0], "spatial_merge_size": 2},
        text_config={
            **tiny_mllm._TEXT,
            "head_dim": 8,
            "rope_parameters": rope | {"mrope_interleaved": True},
        },
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
        vision_start_token_id=ids["vision_bos_token"],
        vision_end_token_id=ids["vision_eos_token"],
    )
    area = {"shortest_edge": 32 * 32, "longest_edge": 32 * 32 * 16}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size=area, patch_size=16, merge_size=2, **tiny_mllm._CHANNELS
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=tiny_mllm._CHAT.replace(
            "IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"
        ),
    )
    return config, processor


def _internvl() -> tuple[Any, Any]:
    """Pictures are cut into tiles, and how many depends on their shape."""
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = tiny_mllm._tokenizer(named)
    vision = {"image_size": [32, 32], "patch_size": [8, 8], "hidden_size": 32}
    vision |= {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = InternVLConfig(
        vision_config=vision,
        text_config={"model_type": "qwen2", **tiny_mllm._TEXT, "tie_word_embeddings": False},
        tie_word_embeddings=False,  # else random weights repeat what they were told last
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(
            size={"height": 32, "width": 32}, max_patches=2, **tiny_mllm._CHANNELS
        ),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size={"height": 32, "width": 32}),
        image_seq_length=4,
        chat_template=tiny_mllm._CHAT.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    return config, processor


def _smolvlm() -> tuple[Any, Any]:
    """As Idefics3, with a processor that wants the module num2words."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    tokenizer = tiny_mllm._tokenizer(named)
    vision = {"image_size": 64, "patch_size": 16, "hidden_size": 32, "intermediate_size": 64}
    config = SmolVLMConfig(
        vision_config=vision | {"num_hidden_layers": 2, "num_attention_heads": 4},
        text_config={"model_type": "llama", **tiny_mllm._TEXT, "pad_token_id": 0},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=False,
    )
    size = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 64}}
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(
            **size, do_image_splitting=False, **tiny_mllm._CHANNELS
        ),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(**size),
        image_seq_len=4,
        chat_template=tiny_mllm._CHAT.replace("IMAGE", "<image>"),
    )
    return config, processor


def _florence2() -> tuple[Any, Any]:
    """An encoder with a decoder, asked by tokens for tasks."""
    from transformers import CLIPImageProcessor, Florence2Config, Florence2Processor

    tokenizer = tiny_mllm._tokenizer({"image_token": "<image>"})
    tokenizer.bos_token = "<|im_start|>"
    vision = {"depths": [1, 1, 1, 1], "embed_dim": [8, 16, 16, 32], "num_heads": [2, 2, 2, 2]}
    vision |= {"num_groups": [2, 2, 2, 2], "projection_dim": 32, "window_size": 2}
    text = {"model_type": "bart", "vocab_size": 400, "d_model": 32, "encoder_layers": 2}
    text |= {"decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    text |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 128}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    config = Florence2Config(
        vision_config=vision,
        text_config=text | {"forced_eos_token_id": None, "tie_word_embeddings": False},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        is_encoder_decoder=True,
        tie_word_embeddings=False,
    )
    size = {"height": 64, "width": 64}
    pictures = CLIPImageProcessor(size=size, do_center_crop=False)
    pictures.image_seq_length = 5  # 64 pixels by 32, squared, and one for all
    return config, Florence2Processor(image_processor=pictures, tokenizer=tokenizer)


def save_llama(folder: Path, seed: int = 0) -> str:
    """Write a folder with a model of text alone; returns what a recipe names it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    tokenizer = tiny_mllm._tokenizer({})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    model = LlamaForCausalLM(LlamaConfig(**{**tiny_mllm._TEXT, "max_position_embeddings": 2048}))
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"local-dir:{folder}"
