import numpy as np
import pytest

from pipeline.report_charts import Line, draw, histogram, magnified


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(1),
        np.full(9, -3.5),
        np.arange(7.0),
        np.arange(100_000.0),
        np.geomspace(1e-3, 1e6, 500),
        np.linspace(-1, 1, 333),
        np.array([0.0] * 99 + [1e12]),
    ],
)
def test_histogram_counts_every_value(values: np.ndarray) -> None:
    kept = np.arange(len(values)) % 2 == 0
    drawn = histogram(values, kept, [Line(2.0, "two")])
    assert drawn.every.sum() == len(values)
    assert drawn.kept.sum() == kept.sum()
    assert np.all(np.diff(drawn.edges) > 0)
    assert "nan" not in draw(drawn, [Line(2.0, "two"), Line(1e9, "far")], "x")


def test_histogram_shows_thresholds_near_the_values() -> None:
    values = np.linspace(0.2, 1, 10_000)
    assert histogram(values, values > 0, []).edges[0] > 0.2
    assert histogram(values, values > 0, [Line(0.2001, "")]).edges[0] <= 0.2001


def test_few_kept_rows_are_drawn_taller() -> None:
    values = np.arange(10_000.0)
    assert magnified(histogram(values, values >= 0, [])) == 1
    assert magnified(histogram(values, values % 100 == 0, [])) == 50
    assert magnified(histogram(values, values < 0, [])) == 1
