"""The GPUs of this machine, under the names by which a process can be given one of them."""

import os

from pipeline.errors import RecipeError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible() -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use, in its order."""
    count = _count()
    listed = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return tuple(listed[:count]) if listed else tuple(str(number) for number in range(count))


def required() -> tuple[str, ...]:
    """The visible GPUs. Raises RecipeError, with what was found instead, when there are none."""
    found = visible()
    if not found:
        import torch

        limits = os.environ.get(VARIABLE)
        said = f"{VARIABLE} is {limits!r}" if limits is not None else f"{VARIABLE} is not set"
        raise RecipeError(
            f"--workers gpu: there is no GPU here that torch {torch.__version__} can use ({said})"
        )
    return found


def _count() -> int:
    import torch

    return int(torch.cuda.device_count())
