"""Functions for the graphs of probes, each of which needs one feature of Beam."""

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.io import iobase, range_trackers, restriction_trackers
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms import userstate, window
from apache_beam.utils.windowed_value import WindowedValue


def odd_or_even(number: int) -> Iterator[Any]:
    yield TaggedOutput("odd", number) if number % 2 else number


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is refused")
    return number


def counts(key: Any, values: Any) -> list[Any]:
    return [key, len(list(values))]


class Bundles(beam.DoFn):
    """Gives a row per element and one more per bundle."""

    def setup(self) -> None:
        self.calls = ["setup"]

    def start_bundle(self) -> None:
        self.calls.append("start")
        self.count = 0

    def process(self, number: int) -> Iterator[list[Any]]:
        self.count += 1
        yield ["element", number, self.calls[:2]]

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield WindowedValue(["bundle", self.count], 0, [window.GlobalWindow()])


class Counting(beam.DoFn):
    def process(self, number: int) -> Iterator[int]:
        Metrics.counter("probes", "numbers").inc()
        yield number


class WithWindow(beam.DoFn):
    def process(self, number: int, where: Any = beam.DoFn.WindowParam) -> Iterator[str]:
        yield type(where).__name__


class WithTime(beam.DoFn):
    def process(self, number: int, when: Any = beam.DoFn.TimestampParam) -> Iterator[str]:
        yield str(when)


class WithState(beam.DoFn):
    STATE = beam.DoFn.StateParam(userstate.ReadModifyWriteStateSpec("count", VarIntCoder()))

    def process(self, pair: Any, state: Any = STATE) -> Iterator[Any]:
        state.write((state.read() or 0) + 1)
        yield [pair[0], state.read()]


class WithTimer(beam.DoFn):
    LATE = userstate.TimerSpec("late", userstate.TimeDomain.WATERMARK)
    TIMER = beam.DoFn.TimerParam(LATE)

    def process(self, pair: Any, timer: Any = TIMER) -> Iterator[Any]:
        timer.set(10)
        yield pair[0]

    @userstate.on_timer(LATE)
    def late(self) -> Iterator[str]:
        yield "late"


class WithFinalizer(beam.DoFn):
    def process(self, number: int, last: Any = beam.DoFn.BundleFinalizerParam) -> Iterator[int]:
        yield number


class InBatches(beam.DoFn):
    def process_batch(self, batch: list[int]) -> Iterator[list[int]]:
        yield [number + 1 for number in batch]

    def infer_output_type(self, input_type: Any) -> Any:
        return input_type


class Restrictions(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: int) -> restriction_trackers.OffsetRange:
        return restriction_trackers.OffsetRange(0, element)

    def create_tracker(self, restriction: Any) -> Any:
        return restriction_trackers.OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: Any) -> int:
        return int(restriction.size())


class Splittable(beam.DoFn):
    RESTRICTION = beam.DoFn.RestrictionParam(Restrictions())

    def process(self, element: int, tracker: Any = RESTRICTION) -> Iterator[int]:
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield position
            position += 1


class Numbers(iobase.BoundedSource):
    def estimate_size(self) -> int:
        return 3

    def get_range_tracker(self, start: Any, stop: Any) -> Any:
        return range_trackers.OffsetRangeTracker(0, 3)

    def read(self, tracker: Any) -> Iterator[int]:
        for number in range(3):
            if tracker.try_claim(number):
                yield number

    def split(self, size: int, start: Any = None, stop: Any = None) -> Iterator[Any]:
        yield iobase.SourceBundle(3, self, 0, 3)


class PlusOne(ModelHandler):
    def load_model(self) -> Callable[[int], int]:
        return lambda number: number + 1

    def run_inference(self, batch: Any, model: Any, arguments: Any = None) -> list[int]:
        return [model(number) for number in batch]
