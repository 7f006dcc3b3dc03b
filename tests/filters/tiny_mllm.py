"""Makes tiny multimodal LLMs with random weights, each as a folder that transformers loads.

The kinds differ where asking can go wrong: how pictures become tokens, and how places count.
"""

from pathlib import Path
from typing import Any

SIDE = 56  # of the squares that tests show these models
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}IMAGE"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SENTENCES = (
    "Yes yes No no None none " * 8,
    "Does this figure show a dog on the road? Please answer yes or no.",
    "0 1 2 3 4 5 6 7 8 9 10 20 50 80 87 100",
    "a red car near two old houses and a blue boat on the lake",
)
_TEXT = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_CHANNELS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
KINDS = ("llava", "idefics", "qwen")


def save_mllm(folder: Path, kind: str = "llava", seed: int = 0) -> str:
    """Write a model folder; returns what a recipe names it."""
    import torch

    torch.manual_seed(seed)
    config, processor = {"llava": _llava, "idefics": _idefics, "qwen": _qwen}[kind]()
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_config(config)
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"local-dir:{folder}"


def _tokenizer(named: dict[str, str]) -> Any:
    """A tokenizer for any text; `named` are the special tokens that a processor looks for."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *named.values()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=named,
    )


def _llava() -> tuple[Any, Any]:
    """Every picture has 16 tokens, whatever its size."""
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaProcessor

    tokenizer = _tokenizer({"image_token": "<image>"})
    vision = {"model_type": "clip_vision_model", "image_size": 56, "patch_size": 14}
    vision |= {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    config = LlavaConfig(
        vision_config=vision | {"num_hidden_layers": 2, "projection_dim": 32},
        text_config={"model_type": "llama", **_TEXT, "pad_token_id": 0},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-1,
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=56)
    processor = LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT.replace("IMAGE", "<image>\n"),
    )
    return config, processor


def _idefics() -> tuple[Any, Any]:
    """Pictures come with a mask of their pixels."""
    from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Processor

    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    tokenizer = _tokenizer(named)
    vision = {"image_size": 64, "patch_size": 16, "hidden_size": 32, "intermediate_size": 64}
    config = Idefics3Config(
        vision_config=vision | {"num_hidden_layers": 2, "num_attention_heads": 4},
        text_config={"model_type": "llama", **_TEXT, "pad_token_id": 0},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    pictures = Idefics3ImageProcessor(
        size={"longest_edge": 64},
        max_image_size={"longest_edge": 64},
        do_image_splitting=False,
        **_CHANNELS,
    )
    processor = Idefics3Processor(
        image_processor=pictures,
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_CHAT.replace("IMAGE", "<image>"),
    )
    return config, processor


def _qwen() -> tuple[Any, Any]:
    """The larger a picture the more tokens, and places count in three directions."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    named = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    tokenizer = _tokenizer(named)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in named.items()}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4}
    vision |= {"window_size": 56, "fullatt_block_indexes": [1], "out_hidden_size": 32}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = Qwen2_5_VLConfig(
        vision_config=vision | {"patch_size": 14, "spatial_merge_size": 2},
        text_config={**_TEXT, "rope_parameters": rope},
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
        vision_start_token_id=ids["vision_bos_token"],
        vision_end_token_id=ids["vision_eos_token"],
    )
    area = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=area),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=_CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return config, processor
