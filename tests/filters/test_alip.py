"""ALIP's weights equal the formulas and figures of its code."""

import math
from typing import Any

import numpy as np
import pytest

from filters.alip import AlipWeights
from filters.too_few import NotEnoughRows
from tests.filters.embedded_rows import directions, table

SCORER = AlipWeights()


def vectors_with(texts: float, raw: float, synthetic: float) -> dict[str, list[Any]]:
    """Three unit vectors with these cosines: of both texts, of the image with each."""
    gram = np.array([[1, raw, synthetic], [raw, 1, texts], [synthetic, texts, 1]])
    rows = np.linalg.cholesky(gram).astype(np.float16)
    return {name: [row] for name, row in zip(SCORER.reads, rows, strict=True)}


def means(texts: float, raw: float, synthetic: float) -> dict[str, Any]:
    return {"texts": np.array(texts), "raw": np.array(raw), "synthetic": np.array(synthetic)}


def test_by_hand() -> None:
    fitted = means(0.5, 0.25, 0.25)
    found = SCORER(vectors_with(0.6, 0.3, 0.1), fitted)
    assert found == {name: [1.0] for name in SCORER.writes.names}  # trusted: all weights are 1
    found = SCORER(vectors_with(0.4, 0.3, 0.1), fitted)
    assert found["alip_sample_weight"] == pytest.approx([0.8187], abs=2e-3)
    assert found["alip_raw_weight"] == pytest.approx([1.1052], abs=2e-3)  # above 1: not capped
    assert found["alip_synthetic_weight"] == pytest.approx([math.exp(-0.3)], abs=2e-3)


def test_the_means_are_those_of_the_sample() -> None:
    parts = [directions(300, 16, seed) for seed in range(3)]
    rows = table(**dict(zip(SCORER.reads, parts, strict=True)))
    fitted = SCORER.fit(rows)
    seen, read, made = (part.astype(float) for part in parts)
    assert fitted["texts"] == pytest.approx((read * made).sum(axis=1).mean(), abs=1e-4)
    assert fitted["raw"] == pytest.approx((seen * read).sum(axis=1).mean(), abs=1e-4)
    assert fitted["synthetic"] == pytest.approx((seen * made).sum(axis=1).mean(), abs=1e-4)


def test_equals_the_reference() -> None:
    parts = [directions(300, 16, seed) for seed in range(3)]
    batch = {name: list(part) for name, part in zip(SCORER.reads, parts, strict=True)}
    fitted = means(0.1, -0.05, 0.02)
    found = SCORER(batch, fitted)
    for place, (seen, read, made) in enumerate(zip(*(p.astype(float) for p in parts), strict=True)):
        raised = math.exp(2 * (read @ made - 0.1))
        raw, synthetic = math.exp(2 * (seen @ read + 0.05)), math.exp(2 * (seen @ made - 0.02))
        if raised >= 1:
            raw = synthetic = 1.0
        expected = [min(1.0, raised), raw, synthetic]
        assert [found[name][place] for name in found] == pytest.approx(expected, abs=5e-3)


def test_companions_make_no_difference() -> None:
    parts = [directions(600, 16, seed) for seed in range(3)]
    batch = {name: list(part) for name, part in zip(SCORER.reads, parts, strict=True)}
    fitted = means(0.0, 0.0, 0.0)
    whole = SCORER(batch, fitted)
    last = SCORER({name: rows[-3:] for name, rows in batch.items()}, fitted)
    assert all(last[name] == whole[name][-3:] for name in last)


def test_what_it_refuses() -> None:
    rows = directions(1)
    with pytest.raises(NotEnoughRows, match="an image and both captions, found none"):
        SCORER.fit(table(clip_image=rows, clip_text=rows, synthetic_text=rows).slice(1))
    with pytest.raises(ValueError, match=r"different encoders: they have \[16, 16, 8\] numbers"):
        SCORER.fit(table(clip_image=rows, clip_text=rows, synthetic_text=directions(1, 8)))
