"""The envelope that plots are drawn from."""

from hypothesis import given
from hypothesis import strategies as st

from jobs.curves import Curve
from jobs.envelope import envelopes


@given(
    values=st.lists(st.floats(allow_nan=False), min_size=1, max_size=60),
    start=st.integers(0, 100),
    width=st.integers(1, 20),
    cut=st.integers(0, 60),
)
def test_the_envelope_keeps_recorded_points_ends_and_extremes_of_every_bucket(values, start, width, cut):
    whole = Curve(start, {"a": values})
    runs = [whole.between(0, start + cut - 1), whole.between(start + cut, 10**6)]
    kept = envelopes(runs, ["a"], width=width)["a"]

    points = list(enumerate(values, start=start))
    assert set(kept) <= set(points)
    assert kept == sorted(kept)
    assert (kept[0][0], kept[-1][0]) == (points[0][0], points[-1][0])
    for bucket in {x // width for x, _ in points}:
        inside = [value for x, value in points if x // width == bucket]
        shown = [value for x, value in kept if x // width == bucket]
        assert (min(shown), max(shown)) == (min(inside), max(inside))
    if width == 1:
        assert kept == points
