"""Image classifiers of transformers, tiny ones with random weights, as `marks` asks them."""

import json
from pathlib import Path

import numpy as np
import pytest

from filters.marks import Marks
from tests.pictures import photo

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
PICTURES = [photo(1, (60, 40)), photo(2, (33, 90)), photo(3)]


def made(folder, labels=("clear", "watermark", "logo"), **settings):
    """A folder with a tiny classifier of these classes and its processor."""
    torch.manual_seed(0)
    names = dict(enumerate(labels))
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=names,
        label2id={name: place for place, name in names.items()},
        **settings,
    )
    model = transformers.ViTForImageClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=2)
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("classes") / "vit")


def by_hand(folder, images, squash):
    """What the library says of each picture by itself."""
    path = folder.removeprefix("local-dir:")
    model = transformers.AutoModelForImageClassification.from_pretrained(path).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    found = []
    for image in images:
        with torch.inference_mode():
            logits = model(**processor(image, return_tensors="pt")).logits[0]
        found.append(squash(logits).numpy())
    return np.array(found)


def test_the_class_that_is_named(folder):
    expected = by_hand(folder, PICTURES, lambda logits: logits.softmax(-1))
    found = Marks(model=folder, label="watermark", batch_size=2)({"image": PICTURES})
    assert [*found] == ["watermark_likelihood"]
    assert found["watermark_likelihood"] == pytest.approx(expected[:, 1], abs=1e-5)
    both = Marks(model=folder, label="watermark", logo_label="logo")
    assert both.writes.names == ["watermark_likelihood", "logo_likelihood"]
    assert both({"image": PICTURES})["logo_likelihood"] == pytest.approx(expected[:, 2], abs=1e-5)
    assert len({*expected[:, 1].round(4)}) == 3


def test_several_classes_of_one_picture(tmp_path):
    folder = made(tmp_path / "vit", problem_type="multi_label_classification")
    expected = by_hand(folder, PICTURES, torch.sigmoid)
    found = Marks(model=folder, logo_label="logo")({"image": PICTURES})
    assert [*found] == ["logo_likelihood"]
    assert found["logo_likelihood"] == pytest.approx(expected[:, 2], abs=1e-5)


def test_one_class_alone(tmp_path):
    folder = made(tmp_path / "vit", labels=("watermark",))
    expected = by_hand(folder, PICTURES, torch.sigmoid)
    found = Marks(model=folder, label="watermark")({"image": PICTURES})["watermark_likelihood"]
    assert found == pytest.approx(expected[:, 0], abs=1e-5)


def test_values_are_of_the_picture_alone(folder):
    scorer = Marks(model=folder, label="watermark", batch_size=4)
    alone = [scorer({"image": [p]})["watermark_likelihood"][0] for p in PICTURES]
    assert scorer({"image": PICTURES * 2})["watermark_likelihood"] == alone * 2
    assert scorer({"image": []}) == {"watermark_likelihood": []}


def test_identity_and_request(folder, tmp_path):
    scorer = Marks(model=folder, label="watermark")
    copied = Marks(model=made(tmp_path / "other"), label="watermark")
    assert scorer.identity == copied.identity
    assert scorer.weights_digest == copied.weights_digest
    changed = Marks(model=made(tmp_path / "else", labels=("a", "watermark")), label="watermark")
    assert scorer.weights_digest != changed.weights_digest
    assert scorer.image_request == 64
    scorer.prepare()


def test_a_class_that_it_does_not_have(folder):
    with pytest.raises(ValueError, match="no class 'mark'; it has 'clear', 'watermark', 'logo'"):
        Marks(model=folder, label="mark")


@pytest.mark.parametrize("names", [{"a": "watermark"}, "watermark", 5])
def test_names_of_classes_that_are_none(folder, tmp_path, names):
    path = Path(made(tmp_path / "named").removeprefix("local-dir:"))
    config = json.loads((path / "config.json").read_text()) | {"id2label": names}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="its `id2label` is no mapping"):
        Marks(model=f"local-dir:{path}", label="watermark")


@pytest.mark.parametrize("size", [[], [None], 0, -3, True, "64", {"height": 64}])
def test_a_size_that_is_none_is_not_asked_for(tmp_path, size):
    path = Path(made(tmp_path / "sized").removeprefix("local-dir:"))
    config = json.loads((path / "config.json").read_text()) | {"image_size": size}
    (path / "config.json").write_text(json.dumps(config))
    assert Marks(model=f"local-dir:{path}", label="watermark").image_request is None


def test_weights_of_another_model(folder, tmp_path):
    path = made(tmp_path / "vit").removeprefix("local-dir:")
    weights = f"{path}/model.safetensors"
    from safetensors.torch import load_file, save_file

    kept = {n: w for n, w in load_file(weights).items() if not n.startswith("classifier")}
    save_file(kept, weights, {"format": "pt"})
    with pytest.raises(ValueError, match="weights don't fit"):
        Marks(model=f"local-dir:{path}", label="watermark").prepare()
