"""The loader: an export's batches for one rank, epoch after epoch, from any batch on.

What is exact: with the same export, order, place and state a rank gets the same batches, in the
same order, bit for bit, however often it was stopped and wherever; and every rank gets equally
many. An epoch's samples, in whichever batches, do not depend on the number of ranks and workers
but for those that `uneven` leaves out or repeats, and those that stand in for damaged ones. With
another number of ranks or workers an epoch can be begun, not continued: its samples would come in
other batches.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pipeline.errors import CurationError
from pipeline.training import order as orders
from pipeline.training.order import Export, Order, Part, Place
from pipeline.training.parameters import check_whole
from pipeline.training.reading import read_ranges
from pipeline.training.samples import Pairs, batch_of

Batch = dict[str, Any]
_OPTIONS = (
    *("pin_memory", "pin_memory_device", "prefetch_factor", "persistent_workers"),
    *("timeout", "worker_init_fn", "multiprocessing_context"),
)
"""What of PyTorch's DataLoader changes no batch and no order."""


class PairLoader:
    """Iterates over what is left of an epoch, then stands at the next one.

    A class because it counts the batches that training has been given: with workers only this
    side knows. A batch is a dict:

        keys       n names            images     [n, …]
        texts      n lists of K       mask       [n, K] bool: which texts are there ("" if not)
        languages  n lists of K       tokens     [n, K, …] with `tokenize`
        weights    {column: [n]}      skipped    how many samples others stand in for
        boxes [n, R, 4], box_mask [n, R], box_texts, box_tokens   with `regions`

    A sample that is damaged or has no such text is passed over and counted in `skipped`; in its
    place stands the next one that the reader holds, so that every batch is full. Memory is that of
    `shuffle` samples as stored, for each worker. Of an export into buckets each batch is of one,
    whose name it has as `bucket`; on every rank the same. `options` go to PyTorch's DataLoader:
    those that change no batch and no order, such as `pin_memory`.
    """

    def __init__(
        self,
        export: str,
        pairs: Pairs,
        order: Order | None = None,
        place: Place | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._export = orders.open_export(export)
        self._pairs = pairs
        self._order = order or Order()
        self._place = place or here()
        self._options = dict(options or {})
        if wrong := sorted({*self._options} - {*_OPTIONS}):
            raise ValueError(f"no option {wrong[0]!r}; known are {', '.join(_OPTIONS)}")
        self._batches = orders.batches_of_rank(self._export, self._order, self._place.world)
        self._epoch = self._done = 0

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch: those of every other rank, too."""
        return sum(self._batches.values())

    @property
    def epoch(self) -> int:
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Stand at the beginning of an epoch."""
        check_whole(0, epoch=epoch)
        self._epoch, self._done = epoch, 0

    def __iter__(self) -> Iterator[Batch]:
        place = self._epoch, self._done
        line = orders.turns(self._batches, self._order, self._epoch)
        stream = _Stream(self._export, self._pairs, self._order, self._place, (place, line))
        # A generator of its own, for otherwise it draws from that of the training.
        loader = DataLoader(
            stream,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self._place.workers,
            generator=torch.Generator().manual_seed(self._order.seed),
            **self._options,
        )
        for batch in loader:
            self._require(place)
            self._done += 1
            place = self._epoch, self._done
            yield batch
        self._require(place)
        self.set_epoch(self._epoch + 1)

    def _require(self, place: tuple[int, int]) -> None:
        if (self._epoch, self._done) != place:
            raise RuntimeError("the loader was moved, or read twice at once, in an epoch")

    def state_dict(self) -> dict[str, Any]:
        """Where training is; the same on every rank, so that one of them may save it."""
        is_over = self._done == len(self)
        return {
            "epoch": self._epoch + is_over,
            "batches": 0 if is_over else self._done,
            "order": self._identity(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken.

        Raises CurationError when that was in the middle of an epoch with another export or order,
        or another number of ranks or workers; and when it is no state.
        """
        self._check_is_state(state)
        if state["batches"]:
            for name, value in self._identity().items():
                if state["order"].get(name) != value:
                    raise CurationError(
                        f"the state is from the middle of an epoch with {name}"
                        f" {state['order'].get(name)!r}, and this loader has {value!r};"
                        " `set_epoch` begins an epoch anew"
                    )
        self._epoch, self._done = state["epoch"], state["batches"]

    def _check_is_state(self, state: Mapping[str, Any]) -> None:
        try:
            check_whole(0, epoch=state["epoch"], batches=state["batches"])
            dict(state["order"])
        except (KeyError, TypeError, ValueError) as error:
            raise CurationError(f"the state is none of a PairLoader: {error!r}") from error

    def _identity(self) -> dict[str, Any]:
        return {
            "version": orders.VERSION,
            "export": self._export.digest,
            "seed": self._order.seed,
            "batch_size": self._order.batch_size,
            "shuffle": self._order.shuffle,
            "uneven": self._order.uneven,
            "world": self._place.world,
            "workers": self._place.readers,
        }


def here(workers: int = 0) -> Place:
    """The place of this process: of `torch.distributed`, else of what `torchrun` says."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Place(torch.distributed.get_rank(), torch.distributed.get_world_size(), workers)
    return Place(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), workers)


def _as_it_is(batch: Any) -> Any:
    return batch


class _Stream(IterableDataset[Batch]):
    """The batches of one reader, from those on that training has had; sent to each worker."""

    def __init__(
        self,
        export: Export,
        pairs: Pairs,
        order: Order,
        place: Place,
        at: tuple[tuple[int, int], list[str]],
    ) -> None:
        self._export, self._pairs, self._order, self._place = export, pairs, order, place
        (self._epoch, self._done), self._line = at

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        # PyTorch takes a batch of each worker in turn, and begins with the first: that is the
        # reader whose batch comes next.
        turn = (0 if worker is None else worker.id) + self._done
        reader = turn % self._place.readers
        own, given = self._line[reader :: self._place.readers], turn // self._place.readers
        streams = {
            part.bucket: self._candidates(part, own[:given].count(part.bucket))
            for part in orders.reading(self._line, self._order.batch_size, self._place, reader)
        }
        for bucket in own[given:]:
            candidates, size = next(streams[bucket]), self._order.batch_size
            batch = batch_of(candidates, size, self._pairs, self._order.seed, self._epoch)
            yield {**batch, "bucket": bucket} if bucket else batch

    def _candidates(self, part: Part, skipped: int) -> Iterator[list[Any]]:
        """For each batch of a bucket its samples, and after them the others of their block."""
        order, size = self._order, self._order.batch_size
        of_block = order.block_batches(len(self._export.buckets))
        blocks, within = divmod(skipped, of_block)
        at, end = part.first + blocks * of_block * size, part.first + part.batches * size
        if at >= end:
            return
        shards = orders.shards_of_epoch(self._export.of(part.bucket), order, self._epoch)
        samples = read_ranges(orders.ranges(shards, at, end - at))
        while at < end:
            block = list(islice(samples, min(of_block * size, end - at)))
            turns = orders.block_order(at, len(block), order, self._epoch)
            for start in range(within * size, len(block), size):
                yield [block[n] for n in chain(turns[start:], turns[:start])]
            at, within = at + len(block), 0
