"""What a recipe says to score with what was trained: one line."""

import json
import os
from typing import Any

from pipeline.reward.config import RewardConfig, load_config
from pipeline.reward.cross_training import MODEL
from pipeline.reward.encoders import FOLDER, located
from pipeline.reward.train import WEIGHTS

_OF_ENCODER = {
    "model": "model",
    "pretrained": "pretrained",
    "preprocess_tag": "preprocess_tag",
    "precision": "precision",
    "weights": "encoder_weights",
}
_OF_CROSS = ("max_tokens", "first_token", "precision")


def line_for(path: str, out: str) -> str:
    """The line for what the configuration in a file has made in a folder."""
    config = load_config(path)
    if config.cross is not None:
        given = config.cross.model_dump(include=config.cross.model_fields_set & {*_OF_CROSS})
        return _line("itm", {"model": FOLDER + os.path.join(out, MODEL), **given})
    return _line("reward", {"weights": os.path.join(out, WEIGHTS), **_of_head(config)})


def _of_head(config: RewardConfig) -> dict[str, Any]:
    """What the scorer must be told beside the weights; the embedded encoder is its default."""
    options = located(config, config.encoder)
    plain = config.head.kind in ("linear", "mlp")  # by default these read stored vectors
    given = {
        name: getattr(options, own)
        for own, name in _OF_ENCODER.items()
        if own in options.model_fields_set and getattr(options, own) is not None
    }
    return {**({"image": "image"} if plain else {}), **given}


def _line(scorer: str, parameters: dict[str, Any]) -> str:
    told = (f"{name}: {_plain(value)}" for name, value in parameters.items() if value is not None)
    return f"{scorer}: {{{', '.join(told)}}}"


def _plain(value: Any) -> str:
    is_word = isinstance(value, str) and value.isidentifier()
    return str(value) if is_word else json.dumps(value, ensure_ascii=False)
