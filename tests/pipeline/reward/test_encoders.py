"""Vectors on disk: the same again, made once, and noticed when they are damaged."""

import numpy as np
import pytest

from pipeline.errors import DamagedFile, RecipeError
from pipeline.reward import encoders
from pipeline.reward.config import EncoderOptions
from pipeline.reward.encoders import choose_encoder, encode_images, encode_texts

TEXTS = [f"text number {n}" for n in range(200)]


@pytest.mark.slow
def test_what_is_there_is_not_encoded_again(tmp_path, monkeypatch):
    encoder = choose_encoder()
    first = encode_texts(encoder, TEXTS, str(tmp_path))
    assert first.shape == (200, encoder.dimension)
    assert np.array_equal(first, encoder.texts(TEXTS))
    monkeypatch.setattr(encoders.Encoder, "texts", None)
    assert np.array_equal(encode_texts(encoder, TEXTS, str(tmp_path)), first)


def test_images_and_texts_of_nothing(tmp_path):
    encoder = choose_encoder()
    assert encode_texts(encoder, [], str(tmp_path)).shape == (0, encoder.dimension)
    assert encode_images(encoder, [], str(tmp_path)).shape == (0, encoder.dimension)


def test_damaged_vectors_are_noticed(tmp_path):
    encoder = choose_encoder()
    encode_texts(encoder, TEXTS[:3], str(tmp_path))
    (path,) = tmp_path.iterdir()
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DamagedFile, match="remove it and run again"):
        encode_texts(encoder, TEXTS[:3], str(tmp_path))


def test_an_unknown_encoder_is_refused():
    with pytest.raises(RecipeError, match="model 'clap' needs `pretrained`"):
        choose_encoder(EncoderOptions(model="clap"))
