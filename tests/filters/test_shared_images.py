"""An image of several captions is looked at once, and no value shows that it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filters import blip, clip, clip_weights, embedded, shared_images, tokens
from filters.clip import ClipScore
from filters.comclip import ComClip
from filters.consistency import ClipConsistency
from filters.facets import Facets
from filters.likelihood import CaptionLikelihood
from filters.matching import ImageTextMatching
from filters.mirrored import Mirrored
from filters.reward import RewardScore
from filters.tmars import MaskedClipScore
from filters.tokenwise import TokenWise
from filters.transport import WordRegionTransport
from pipeline.each import EachCaption
from tests.filters.reward_files import write_embedded
from tests.filters.tiny_blip import CAPTIONING, MATCHING, save_blip, save_coca
from tests.filters.tiny_models import save_model
from tests.pictures import photo

SHOWN = (0, 0, 1, 2, 0, 1, 3, 3, 4, 4, 0)
"""Which image each caption is of: images come back, and there are more than a batch has."""
TEXTS = ("a red car", "the old house", "two dog near a blue car", "", "a dog on the road", "a dog")
TEXTS += ("a man rides a horse", "a red car", "a red dog near two car", "road", "a dog holds a car")
SIZE = 4
EMBEDDED: dict[str, Callable[[], Any]] = {
    "clip": lambda: ClipScore(batch_size=SIZE, embeddings=True),
    "mirrored": lambda: Mirrored(batch_size=SIZE),
    "tmars": lambda: MaskedClipScore(batch_size=SIZE),
    "consistency": lambda: ClipConsistency(batch_size=SIZE, views=("jpeg", "blur")),
    "reward": lambda: RewardScore(batch_size=SIZE),
    "filip": lambda: TokenWise(batch_size=SIZE),
    "ot": lambda: WordRegionTransport(batch_size=SIZE),
    "comclip": lambda: ComClip(batch_size=SIZE, depth=1),
    "facets": lambda: Facets(batch_size=SIZE),
    "itm": lambda: ImageTextMatching(batch_size=SIZE, copies=2),
    "likelihood": lambda: CaptionLikelihood(batch_size=SIZE),
}
LOOKS = {"likelihood": 2, "consistency": 3, "reward": 2}
"""How many times each image is prepared for a model, where it is not once."""
DUAL = {
    "clip": ClipScore,
    "mirrored": Mirrored,
    "tmars": MaskedClipScore,
    "consistency": ClipConsistency,
    "filip": TokenWise,
    "ot": WordRegionTransport,
    "comclip": ComClip,
}
READERS = {"blip": MATCHING, "captioner": CAPTIONING, "coca": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def dual(folder: Path) -> str:
    return save_model(folder / "dual")


@pytest.fixture(scope="module")
def readers(folder: Path) -> dict[str, str]:
    found = {kind: save_blip(folder / kind, READERS[kind]) for kind in ("blip", "captioner")}
    return {**found, "coca": save_coca(folder / "coca")}


def reader(kind: str, models: dict[str, str]) -> Any:
    if kind == "blip":
        return ImageTextMatching(models[kind], batch_size=SIZE, cosine=True)
    more = {} if kind == "coca" else {"max_tokens": 12}
    return CaptionLikelihood(models[kind], batch_size=SIZE, **more)


def pairs(scorer: Any) -> dict[str, list[Any]]:
    images = [photo(number, (70 + 10 * number, 64)) for number in range(5)]
    boxes = [[0.1, 0.1, 0.6, 0.4, 0.9], [], [], [], []]
    found = {
        "image": [images[number] for number in SHOWN],
        "caption": list(TEXTS),
        "text_boxes": [boxes[number] for number in SHOWN],
    }
    return {name: found[name] for name in scorer.reads}


def plain(value: Any) -> Any:
    """Something that is equal for equal values alone, to the last bit."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    kept = getattr(value, "kept", {})
    if isinstance(value, Exception):
        return repr(value), {name: plain(one) for name, one in kept.items()}
    return value


def asked(scorer: Any, batch: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The values of each pair."""
    fitted = ()
    if hasattr(scorer, "fit"):
        vectors = np.random.default_rng(0).normal(size=(16, WIDTHS[scorer.model != "embedded"]))
        fitted = ({"words": vectors.astype(np.float32)},)
    found = scorer(batch, *fitted)
    assert list(found) == scorer.writes.names
    rows = zip(*found.values(), strict=True)
    return [dict(zip(found, map(plain, row), strict=True)) for row in rows]


WIDTHS = (embedded.dimension(), 24)


def check(scorer: Any) -> None:
    """One call says of each pair what a call for it alone says, of a copy of its image."""
    batch = pairs(scorer)
    together = asked(scorer, batch)
    assert len(together) == len(TEXTS)
    for place, found in enumerate(together):
        own = {name: [column[place]] for name, column in batch.items()}
        own["image"] = [own["image"][0].copy()]
        assert asked(scorer, own) == [found]


@pytest.mark.slow
@pytest.mark.parametrize("name", EMBEDDED)
def test_with_the_embedded_encoder_a_value_does_not_show_it(name):
    check(EMBEDDED[name]())


@pytest.mark.parametrize("name", DUAL)
def test_with_a_dual_encoder_a_value_does_not_show_it(name, dual):
    check(DUAL[name](dual, batch_size=SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_with_a_model_that_reads_beside_the_image_a_value_does_not_show_it(kind, readers):
    check(reader(kind, readers))


@pytest.mark.slow
def test_with_a_head_over_vectors_or_layers_a_value_does_not_show_it(tmp_path):
    for name, arrays in (("vectors", {}), ("side", side_arrays())):
        weights = write_embedded(tmp_path / f"{name}.safetensors", more=arrays)
        check(RewardScore(weights, "image", "caption", batch_size=SIZE))


def side_arrays(rank: int = 3) -> dict[str, np.ndarray]:
    """Networks beside the embedded encoder, of random numbers."""
    dice, size, found = np.random.default_rng(0), embedded.dimension(), {}
    for tower, layers, width in (("image", 3, 320), ("text", 1, 512)):
        shapes: dict[str, tuple[int, ...]] = {
            "down": (layers, rank, width),
            "down_bias": (layers, rank),
            "anchor.weight": (rank, size),
            "anchor.bias": (rank,),
            "confidence": (rank,),
            "up.weight": (size, rank),
            "up.bias": (size,),
        }
        for name, shape in shapes.items():
            found[f"{tower}.{name}"] = dice.normal(0, 0.1, shape).astype(np.float32)
    return found


def counting(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """What a function of a module is called with first, from now on."""
    known, seen = getattr(module, name), []

    def called(first: Any, *more: Any) -> Any:
        seen.append((first, *more))
        return known(first, *more)

    monkeypatch.setattr(module, name, called)
    return seen


@pytest.mark.parametrize("name", [name for name in EMBEDDED if name != "comclip"])
def test_the_embedded_encoder_is_shown_an_image_once(name, monkeypatch):
    scorer, seen = EMBEDDED[name](), counting(monkeypatch, embedded, "fit")
    image = photo(0)
    batch = {**pairs(scorer), "image": [image] * len(TEXTS)}
    if "text_boxes" in batch:
        batch["text_boxes"] = [[]] * len(TEXTS)
    asked(scorer, batch)
    assert len(seen) == LOOKS.get(name, 1)


def test_crops_of_an_image_are_shown_once(monkeypatch):
    scorer, seen = ComClip(depth=1), counting(monkeypatch, embedded, "fit")
    texts = ["a man rides a horse", "a dog holds a car", "a horse carries a man"]
    scorer({"image": [photo(0)] * 3, "caption": texts})
    shown = {image.tobytes() for (image,) in seen}
    assert len(shown) == len(seen) <= 1 + 5 + 5 + 10  # the whole, crops, and two and two of them


@pytest.mark.parametrize("name", ["clip", "ot"])
def test_a_dual_encoder_is_shown_an_image_once(name, dual, monkeypatch):
    seen = counting(monkeypatch, {"clip": clip, "ot": tokens}[name], "prepared")
    scorer = DUAL[name](dual, batch_size=SIZE)
    scorer(pairs(scorer))
    assert len(seen) == len(set(SHOWN))


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_a_reader_is_shown_an_image_once_and_its_blank_once(kind, readers, monkeypatch):
    scorer = reader(kind, readers)
    module, name = (clip_weights, "prepared") if kind == "coca" else (blip, "_pixels")
    seen = counting(monkeypatch, module, name)
    scorer(pairs(scorer))
    count = len(seen) if kind == "coca" else sum(len(images) for _, images, _ in seen)
    assert count == len(set(SHOWN)) * (1 if kind == "blip" else 2)


def test_a_column_of_captions_has_the_values_of_its_captions(dual):
    scorer = ClipScore(dual, batch_size=SIZE)
    images = [photo(number) for number in range(3)]
    captions = [[{"text": text} for text in TEXTS[4 + n : 7 + n]] for n in range(3)]
    found = EachCaption(scorer, "caption")({"image": images, "caption": captions})
    for image, own, scores in zip(images, captions, found["clip_score"], strict=True):
        alone = [scorer({"image": [image], "caption": [one["text"]]}) for one in own]
        assert scores == [one["clip_score"][0] for one in alone]


def test_images_of_a_column_of_captions_fill_the_batches(monkeypatch):
    seen = counting(monkeypatch, embedded, "fit")
    images = [photo(number) for number in range(4)]
    captions = [[{"text": text} for text in TEXTS[:3]] for _ in images]
    EachCaption(ClipScore(batch_size=4), "caption")({"image": images, "caption": captions})
    assert len(seen) == len(images)


def test_what_counts_is_to_be_the_same_object():
    first, second = photo(0), photo(0)
    assert shared_images.once([first, second, first, first]) == ([first, second], [0, 1, 0, 0])
    assert shared_images.once([]) == ([], [])
    boxes: tuple[list[float], ...] = ([], [])
    rows = [first, first, first, second], [boxes[0], boxes[1], boxes[0], boxes[0]]
    assert shared_images.rows_once(*rows) == ([0, 1, 3], [0, 1, 0, 2])
    assert shared_images.numbered(["a", "b", "a"]) == ([0, 1], [0, 1, 0])


def test_rows_are_grouped_by_images():
    images = [photo(number) for number in range(3)]
    column = [images[number] for number in (0, 1, 0, 2, 1, 0, 2)]
    found = list(shared_images.groups((column,), 2))
    assert [tuple(group) for group in found] == [
        ([0, 1], [0, 1, 2, 4, 5], [0, 1, 0, 1, 0]),
        ([3], [3, 6], [0, 0]),
    ]
    assert list(found[0].parts(3)) == [([0, 1, 2], [0, 1, 0]), ([4, 5], [1, 0])]
    assert list(shared_images.groups(([],), 2)) == []
