"""Curves as columns, and as bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costcurve.core.curve import Curve, decode, encode

values = st.lists(st.floats(), max_size=30)


@given(column=values, start=st.integers(0, 10**6))
def test_stored_points_come_back_to_the_last_bit(column, start):
    curve = Curve(start, {"a": column, "b": [-value for value in column]})
    back = decode(encode(curve), start=start, metrics=["a", "b"])

    assert back.start == start
    assert [[x.hex() for x in values] for values in back.series.values()] == [
        [x.hex() for x in values] for values in curve.series.values()
    ]


@given(cuts=st.lists(st.integers(0, 30), max_size=5), start=st.integers(0, 10**6))
def test_runs_joined_are_the_whole_and_a_range_of_it_is_exact(cuts, start):
    whole = Curve(start, {"a": [float(x) for x in range(30)]})
    bounds = [0, *sorted(cuts), 30]
    runs = [whole.between(start + a, start + b - 1) for a, b in itertools.pairwise(bounds)]

    assert Curve.joined(runs) == whole


def test_a_gap_between_runs_is_an_error_and_never_closed_silently():
    with pytest.raises(ValueError, match="x = 5 cannot follow x = 1"):
        Curve.joined([Curve(0, {"a": [1.0, 2.0]}), Curve(5, {"a": [3.0]})])
