"""The networks of a reward head beside a frozen encoder: their arrays checked, and run.

After UniPT (Diao et al. 2024, arXiv:2308.14316). A pair at a time: so it has no companions.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
TOWERS = ("image", "text")


def arrays_of(weights: Mapping[str, Floats]) -> dict[str, Floats]:
    """Those of a head's arrays that belong to its networks; none when it has no such."""
    return {name: array for name, array in weights.items() if name.startswith(_PREFIXES)}


_PREFIXES = tuple(f"{tower}." for tower in TOWERS)


def problem(arrays: Mapping[str, Floats], dimension: int) -> str | None:
    """What of the networks does not fit together, if anything."""
    for tower in TOWERS:
        down = arrays.get(f"{tower}.down")
        if down is None or down.ndim != 3:
            return f"{tower}.down must have three axes"
        layers, rank, width = down.shape
        shapes: dict[str, tuple[int, ...]] = {
            "down": (layers, rank, width),
            "down_bias": (layers, rank),
            "anchor.weight": (rank, dimension),
            "anchor.bias": (rank,),
            "confidence": (rank,),
            "up.weight": (dimension, rank),
            "up.bias": (dimension,),
        }
        own = {n.partition(".")[2]: a for n, a in arrays.items() if n.startswith(f"{tower}.")}
        if set(own) != set(shapes):
            return f"arrays {', '.join(sorted(own))} of {tower}, wanted {', '.join(sorted(shapes))}"
        for name, shape in shapes.items():
            if own[name].shape != shape:
                return f"{tower}.{name} has the shape {own[name].shape}, wanted {shape}"
            if not np.isfinite(own[name]).all():
                return f"{tower}.{name} holds NaN or infinity"
    return None


def beside(
    weights: Mapping[str, Floats], tower: str, finals: Floats, layers: Floats, mask: Bools | None
) -> Floats:
    """Unit vectors [n, d]: `finals` and what the tokens [n, l, t, w] of a tower add to them.

    Raises ValueError when the layers are of another shape.
    """
    own = {n.partition(".")[2]: a for n, a in weights.items() if n.startswith(f"{tower}.")}
    wanted = own["down"].shape[0], own["down"].shape[2]
    if len(layers) and (layers.shape[1], layers.shape[3]) != wanted:
        found = layers.shape[1], layers.shape[3]
        raise ValueError(f"layers and width of the {tower} tower are {found}, wanted {wanted}")
    valid = np.ones(layers.shape[::2], bool) if mask is None else mask
    rows = [
        _one(own, final, tokens[:, is_valid])
        for final, tokens, is_valid in zip(finals, layers, valid, strict=True)
    ]
    return np.stack(rows) if rows else finals


def _one(own: Mapping[str, Floats], final: Floats, tokens: Floats) -> Floats:
    """Of one vector [d] and its tokens [l, t, w], of which all count."""
    small = np.einsum("ltw,lrw->ltr", np.maximum(tokens, 0), own["down"])
    small = small + own["down_bias"][:, None]
    anchor = own["anchor.weight"] @ np.maximum(final * np.sqrt(np.float32(len(final))), 0)
    anchor = anchor + own["anchor.bias"]
    attention = np.maximum(small @ anchor, 0)
    attention = attention / np.maximum(attention.sum(1, keepdims=True), np.float32(1e-6))
    mixed = np.einsum("lt,ltr->lr", attention, small) + small[:, 0]
    agreement = (anchor * small.mean(1)) @ own["confidence"]
    shares = np.exp(agreement - agreement.max())
    added = own["up.weight"] @ (shares / shares.sum() @ mixed) + own["up.bias"]
    whole = (final + added).astype(np.float32)
    found: Floats = whole / np.maximum(np.linalg.norm(whole), np.float32(1e-12))
    return found
