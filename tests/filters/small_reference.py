"""A reference of made-up vectors, so that rules can be tried without any encoder."""

import hashlib

import numpy as np

from filters.reference import Floats, Reference

WIDTH = 16


def vector(name: str) -> Floats:
    """A unit vector that depends on the name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    found = np.random.default_rng(seed).normal(size=WIDTH)
    return (found / np.linalg.norm(found)).astype(np.float32)


def encode(texts: list[str]) -> Floats:
    return np.stack([vector(text) for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)


def small(count: int = 30) -> Reference:
    """Drawings and captions called after numbers."""
    pictures = np.stack([vector(f"picture {n}") for n in range(count)])
    return Reference(pictures, encode([f"caption {n}" for n in range(count)]), encode, vector)
