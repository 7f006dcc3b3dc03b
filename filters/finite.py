"""Weights without NaN and infinity, or an error that names the parameter.

One such number in the weights makes every answer of a model NaN: better one error when it is
loaded than a NULL in each row.
"""

import math
from collections.abc import Iterator
from typing import Any

_CHUNK = 1 << 24  # numbers looked at at once: a GPU needs no room for a copy of the largest matrix
_SHOWN = 3


def check_finite(model: Any, where: str, precision: str) -> None:
    """Raises ValueError when a parameter holds NaN or infinity, or a saved buffer NaN.

    Buffers may be infinite: masks are. Seven billion numbers take some three seconds on a CPU.
    """
    broken = list(_broken(model))
    if not broken:
        return
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    narrow = ""
    if precision == "fp16":
        narrow = "; in fp16 numbers beyond 65504 are infinite, so try another `precision`"
    raise ValueError(f"{where}: NaN or infinity in {', '.join(broken[:_SHOWN])}{more}{narrow}")


def _broken(model: Any) -> Iterator[str]:
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.is_meta:
            bounds = _bounds(tensor)
            is_bounded = all(map(math.isfinite, bounds))
            if not is_bounded and (name in parameters or math.isnan(bounds[0])):
                yield name


def _bounds(tensor: Any) -> tuple[float, float]:
    """The lowest and the highest number; both are NaN where one number is."""
    import torch

    low, high = 0.0, 0.0
    for chunk in tensor.detach().flatten().split(_CHUNK):
        if not chunk.numel():
            continue
        wide = chunk.float() if chunk.element_size() == 1 else chunk  # of float8 nothing is known
        least, most = (float(bound) for bound in torch.aminmax(wide))
        if math.isnan(least) or math.isnan(most):
            return math.nan, math.nan
        low, high = min(low, least), max(high, most)
    return low, high
