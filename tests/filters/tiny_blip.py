"""Makes tiny models with random weights that match or write captions: BLIP, CoCa, a LLaVA.

Each is a folder. The words that tokenizers of transformers know are those of tiny_models.
"""

import copy
import json
from pathlib import Path
from typing import Any

from tests.filters.tiny_models import KINDS, WORDS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
DEC, ENC, SEP = (SPECIAL.index(name) for name in ("[DEC]", "[ENC]", "[SEP]"))
IMAGE = 32
MATCHING, CAPTIONING = "BlipForImageTextRetrieval", "BlipForConditionalGeneration"
_TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %} {{ c['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} near:{% endif %}"
)


def save_blip(folder: Path, kind: str = MATCHING, seed: int = 0) -> str:
    """Write a folder with a BLIP of this class; returns what a recipe names it."""
    import torch
    import transformers

    torch.manual_seed(seed)
    model = getattr(transformers, kind)(_blip_config())
    model.eval().save_pretrained(folder)
    size = {"height": IMAGE, "width": IMAGE}
    tokenizer = transformers.BertTokenizerFast(vocab=_bert_vocabulary())
    images = transformers.BlipImageProcessor(size=size)
    transformers.BlipProcessor(images, tokenizer).save_pretrained(folder)
    return f"local-dir:{folder}"


def _bert_vocabulary() -> dict[str, int]:
    return {word: number for number, word in enumerate((*SPECIAL, *WORDS, "!", "##s"))}


def _blip_config() -> Any:
    from transformers import BlipConfig

    # BLIP's own 1e-10 for images leaves every picture the same.
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 2, "initializer_range": 0.2}
    text = small | {
        "vocab_size": len(_bert_vocabulary()),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 40,
        "bos_token_id": DEC,
        "eos_token_id": SEP,
        "sep_token_id": SEP,
        "pad_token_id": 0,
    }
    vision = small | {"image_size": IMAGE, "patch_size": 8}
    return BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=16)


def coca_config(context: int = 16) -> dict[str, Any]:
    """A CoCa whose decoder takes what its image tower gives: both are 32 wide."""
    found = copy.deepcopy(KINDS["coca"])
    parts = found["model_cfg"]
    parts["embed_dim"] = 32
    for name in ("text_cfg", "multimodal_cfg"):
        parts[name]["context_length"] = context
    return found


def save_coca(folder: Path, seed: int = 0, context: int = 16) -> str:
    """Write a folder with a CoCa that open_clip loads; returns what a recipe names it."""
    import torch
    from open_clip import CoCa
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    found = coca_config(context)
    parts = {name: v for name, v in found["model_cfg"].items() if name != "custom_text"}
    torch.manual_seed(seed)
    model = CoCa(**parts)
    # open_clip leaves this one as it finds it in memory.
    torch.nn.init.normal_(model.text_decoder.text_projection, std=0.2)
    state = model.state_dict()
    save_file(
        {name: v.contiguous().clone() for name, v in state.items()}, folder / "model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps(found))
    return f"local-dir:{folder}"


def save_llava(folder: Path, seed: int = 0) -> str:
    """Write a folder with a tiny LLaVA and its chat template; returns what a recipe names it."""
    import torch
    import transformers

    tokenizer = _byte_tokenizer()
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    vision = transformers.CLIPVisionConfig(
        **small, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = transformers.LlamaConfig(
        **small, num_attention_heads=2, num_key_value_heads=2, vocab_size=len(tokenizer)
    )
    torch.manual_seed(seed)
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    square = {"height": 28, "width": 28}
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size=square, crop_size=square),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)
    return f"local-dir:{folder}"


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<image>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )


def edit_json(path: Path, **values: Any) -> None:
    """Change what a configuration file says."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
