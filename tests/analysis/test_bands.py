"""Bands: several curves as one, against exact arithmetic and Python's own statistics."""

import math
import statistics
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costcurve.analysis.bands import band_of, points_at
from costcurve.core.curve import Curve

values = st.floats(allow_nan=False, allow_infinity=False)
curves = st.lists(st.lists(values, max_size=8), max_size=6)


@given(curves)
def test_a_mean_is_of_the_curves_that_go_so_far_and_the_band_holds_them_all(columns):
    xs = range(0, 80, 10)
    band = band_of(xs, columns, "extremes")

    assert list(band.x) == list(xs[: max(map(len, columns), default=0)])
    assert band.full == min(map(len, columns), default=0)
    for i in range(len(band.x)):
        here = [column[i] for column in columns if i < len(column)]
        assert (band.low[i], band.high[i]) == (min(here), max(here))
        exact = float(sum(map(Fraction, here)) / len(here))
        assert band.mean[i] == pytest.approx(exact, rel=1e-12, abs=1e-12 * max(map(abs, here)) + 1e-320)
        assert band.low[i] <= band.mean[i] <= band.high[i]


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=2, max_size=6))
def test_a_standard_deviation_is_shown_as_far_as_there_are_values(columns):
    band = band_of(range(3), columns, "deviation")

    for i, here in enumerate(zip(*columns, strict=True)):
        mean, deviation = statistics.fmean(here), statistics.stdev(here)
        assert band.low[i] == pytest.approx(max(mean - deviation, min(here)), rel=1e-9, abs=1e-6)
        assert band.high[i] == pytest.approx(min(mean + deviation, max(here)), rel=1e-9, abs=1e-6)


def test_one_curve_is_its_own_mean_and_has_no_width():
    band = band_of([0, 1], [[0.1, 0.2]], "deviation")
    assert (band.mean, band.low, band.high, band.full) == ((0.1, 0.2), (0.1, 0.2), (0.1, 0.2), 2)


def test_the_largest_numbers_overflow_nothing():
    huge = 1.7e308
    for reach in ("extremes", "deviation"):
        band = band_of([0, 1], [[huge, -huge], [huge, huge]], reach)
        assert (band.mean, band.low, band.high) == ((huge, 0), (huge, -huge), (huge, huge))


@pytest.mark.parametrize("count", range(1, 12))
def test_a_mean_of_the_largest_number_is_that_number_however_its_parts_are_rounded(count):
    largest = sys.float_info.max
    band = band_of([0, 1], [[largest, -largest]] * count, "extremes")
    assert band.mean == (largest, -largest)


def test_where_a_curve_is_not_finite_there_is_no_band():
    band = band_of([0, 1], [[math.inf, 1.0], [-math.inf, 2.0]], "extremes")
    assert (math.isnan(band.mean[0]), band.mean[1]) == (True, 1.5)


@given(st.integers(0, 30), st.lists(st.integers(1, 7), max_size=8), st.integers(1, 5))
def test_points_are_picked_from_runs_as_from_the_whole(extra, lengths, step):
    whole = [float(x) for x in range(sum(lengths))]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    runs = [Curve(start, {"a": whole[start : start + length]}) for start, length in zip(starts, lengths, strict=True)]
    numbers = list(range(0, len(whole) + extra, step))

    assert points_at(runs, ["a"], numbers) == {"a": [whole[number] for number in numbers if number < len(whole)]}
