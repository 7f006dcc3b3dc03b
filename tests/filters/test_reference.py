"""What pairs are compared with offline: stored small, looked at when asked, of this encoder."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from filters import embedded, reference
from filters.reference import COPIES, MOST_WORDS, unit, whole_numbers
from tests.filters.small_reference import encode, small, vector


def test_vectors_survive_as_bytes():
    rows = np.stack([vector(str(n)) for n in range(50)])
    again = unit(whole_numbers(rows))
    assert whole_numbers(rows).dtype == np.int8
    assert np.linalg.norm(again, axis=1) == pytest.approx(np.ones(50), abs=1e-6)
    assert np.einsum("nd,nd->n", rows, again).min() > 0.9999


def test_cosines_are_those_of_all_drawings():
    known = small()
    seen, said = known.seen(vector("a picture")), known.said("a text")
    for n in (0, 7, 29):
        assert seen.captions[n] == pytest.approx(float(known.captions[n] @ vector("a picture")))
        assert said.pictures[n] == pytest.approx(float(known.pictures[n] @ vector("a text")))


def test_a_caption_that_says_the_same_is_no_other():
    said = small().said("caption 7")
    assert not said.is_other[7]
    assert said.is_other.sum() >= 28


def test_where_all_say_the_same_all_are_taken():
    known = small(3)
    same = reference.Reference(known.pictures, np.stack([vector("x")] * 3), encode, vector)
    assert same.said("x").is_other.all()


def test_words_and_copies_are_those_of_the_vocabulary():
    said = small().said("A red car, and the house")
    assert said.names == ["red", "car", "house"]
    assert said.words == pytest.approx(encode(["red", "car", "house"]))
    assert said.copies.shape == (COPIES, 16)
    blank = small().said("!")
    assert (len(blank.names), len(blank.words), len(blank.copies)) == (0, 0, 0)
    assert (
        len(
            small().said(" ".join(f"wo{chr(97 + n % 26) * (2 + n // 26)}" for n in range(60))).names
        )
        == MOST_WORDS
    )


def test_what_ships_is_of_the_encoder_that_ships():
    known = reference.shipped()
    assert known.pictures.shape == known.captions.shape == (1024, embedded.dimension())
    assert np.linalg.norm(known.captions, axis=1) == pytest.approx(np.ones(1024), abs=1e-5)
    own = np.einsum("nd,nd->n", known.pictures, known.captions)
    order = np.random.default_rng(0).permutation(1024)
    assert own.mean() > 0.3 > np.einsum("nd,nd->n", known.pictures, known.captions[order]).mean()


def test_what_was_made_for_other_heads_is_refused(tmp_path, monkeypatch):
    arrays = load_file(reference._FILE)
    path = tmp_path / "other.safetensors"
    save_file(arrays, path, {"encoder_digest": "0" * 64})
    monkeypatch.setattr(reference, "_FILE", path)
    with pytest.raises(ValueError, match="made for other weights"):
        reference.shipped.__wrapped__()


def test_the_digest_is_of_file_and_words():
    first, _, second = reference.digest().partition(" ")
    assert (len(first), len(second)) == (64, 64)
