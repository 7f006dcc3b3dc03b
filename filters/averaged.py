"""A small head over stored embeddings that is the average of one in training: ALBEF's teacher.

The student learns from pairs, and from what the average of its own past says of them; what it
gives is the average. Training is deterministic, and its weights are on a grid as those of
`filters.noise_head`.
"""

from typing import Any, NamedTuple

from filters import noise_head
from filters.noise_head import Recipe, Student
from filters.threads import one_thread
from filters.vectors import Doubles, Halves


class Teaching(NamedTuple):
    """`momentum` of the average, and the part `alpha` of a target that is the teacher's."""

    momentum: float
    alpha: float


def trained(images: Halves, texts: Halves, recipe: Recipe, teaching: Teaching) -> Doubles:
    """The averaged maps of images and of texts, [2, units, d].

    As in ALBEF (Li et al. 2021, arXiv:2107.07651, and its code): the student's ends are compared
    with the teacher's of the other side. The target of a row is `alpha` times the softmax of the
    teacher's own comparison and `1 - alpha` times the pair itself; alpha rises from 0 over the
    first epoch. The teacher begins as the student, and moves by `1 - momentum` of the way before
    each step. In the paper others to compare with come from a queue; here they are the batch.
    """
    import torch

    student = Student(images, texts, recipe)
    teacher = [map_.detach().clone() for map_ in student.maps]
    epoch = -(-len(images) // noise_head.BATCH)
    with one_thread():
        for step, chosen in enumerate(student.batches()):
            with torch.no_grad():
                for mean, map_ in zip(teacher, student.maps, strict=True):
                    mean.mul_(teaching.momentum).add_(map_, alpha=1 - teaching.momentum)
                taught = student.ends(chosen, teacher)
                said = student.logits(chosen, *taught)
                alpha = ramped(teaching.alpha, step, epoch)
                targets = [soft(one, alpha) for one in (said, said.T)]
            seen, read = student.ends(chosen, student.maps)
            logits = [
                student.logits(chosen, seen, taught[1]),
                student.logits(chosen, taught[0], read).T,
            ]
            student.learn(logits, targets)
    return noise_head.weights(teacher)


def ramped(alpha: float, step: int, epoch: int) -> float:
    """The teacher's part at a step: it rises over the steps of the first epoch."""
    return alpha * min(1.0, step / epoch)


def soft(logits: Any, alpha: float) -> Any:
    """Targets [n, n] by what the teacher says: its softmax, and the pair itself."""
    import torch

    found = alpha * logits.softmax(dim=1)
    return found + (1 - alpha) * torch.eye(len(logits))
