"""Sampled curves: few points, all of them recorded ones, that start, end and swing as far as the whole."""

import itertools
import json
from functools import partial
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.analysis.sampling import Chunk, bucket_width, collect_all, min_points, sample_curves
from costcurve.core.curve import Curve
from costcurve.core.errors import JobNotFound
from costcurve.store.job_update import JobUpdate
from service import curve_reader
from service.curve_reader import Reading
from service.schemas.curves import CurveOut
from tests.helpers.reports import progress
from tests.helpers.writing import written

METRICS = ("a", "b")
# Few different values, so that there are ties and constants.
values = st.sampled_from([0.0, -0.0, 1.0, -1.5, 1e300, inf, -inf]) | st.floats(allow_nan=False, width=16)


@st.composite
def curves_side_by_side(draw, *, curves: int):
    """Curves of different lengths from the same x on, of which one may lack a metric."""
    start = draw(st.integers(0, 40))
    # Drawn one by one, hundreds of values would be more than Hypothesis takes, and slow.
    pool, random = draw(st.lists(values, min_size=1, max_size=20)), draw(st.randoms(use_true_random=True))
    found = []
    for _ in range(curves):
        length = draw(st.integers(0, 80))
        metrics = draw(st.sampled_from([METRICS, METRICS, METRICS[:1]]))
        columns = {metric: random.choices(pool, k=length) for metric in metrics}
        found.append(Curve(start, columns) if length else Curve(start))
    return found


def cut(curves: list[Curve], bounds: list[int]) -> list[list[Curve]]:
    """The curves in runs, side by side."""
    start, end = curves[0].start, max(curve.end for curve in curves)
    places = [start, *sorted(bound for bound in bounds if start < bound < end), end]
    return [[curve.between(a, b - 1) for curve in curves] for a, b in itertools.pairwise(places) if a < b]


def readers(curves: list[Curve], bounds: list[int]) -> list:
    """What reads each of the curves in runs that end at these x."""

    def runs(i: int, _xs: object):
        some = [each[i] for each in cut(curves, bounds) if len(each[i])]
        return [Chunk(run.start, {metric: np.array(column) for metric, column in run.series.items()}) for run in some]

    return [partial(runs, i) for i in range(len(curves))]


def exact(value: float | None) -> str | None:
    """Told apart to the bit: 0.0 is not -0.0."""
    return None if value is None else value.hex()


def value_at(curve: Curve, metric: str, x: int) -> float | None:
    return curve.series[metric][x - curve.start] if curve.start <= x < curve.end and metric in curve.series else None


@settings(max_examples=300, deadline=None)
@given(data=st.data(), count=st.integers(1, 3), bounds=st.lists(st.integers(0, 130)), more=st.integers(0, 60))
def test_a_sample_has_recorded_points_only_all_ends_and_the_extremes_of_every_bucket(data, count, bounds, more):
    curves = data.draw(curves_side_by_side(curves=count))
    first, last = curves[0].start, max(curve.end for curve in curves) - 1
    points = min_points(curves=count, metrics=len(METRICS)) + more
    sample = sample_curves(readers(curves, bounds), METRICS, first=first, last=last, points=points)

    assert len(sample.x) <= points
    assert sample.x == sorted(set(sample.x))
    for curve, column in zip(curves, sample.columns, strict=True):
        for metric in METRICS:
            assert list(map(exact, column[metric])) == [exact(value_at(curve, metric, x)) for x in sample.x]
        if len(curve):
            assert {curve.start, curve.end - 1} <= set(sample.x)
    total = last + 1 - first
    if total <= points:
        assert sample.x == list(range(first, last + 1))
        return
    assert len(sample.x) < total
    width = bucket_width(first, last, buckets=(points - 2 * count) // (2 * count * len(METRICS)))
    for number in range(first // width, last // width + 1):
        for curve, column in zip(curves, sample.columns, strict=True):
            for metric, recorded in curve.series.items():
                inside = [v for x, v in enumerate(recorded, start=curve.start) if x // width == number]
                shown = [v for x, v in zip(sample.x, column[metric], strict=True) if x // width == number]
                kept = [v for v in shown if v is not None]
                assert (min(inside, default=0), max(inside, default=0)) == (min(kept, default=0), max(kept, default=0))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), one=st.lists(st.integers(0, 130)), other=st.lists(st.integers(0, 130)))
def test_a_sample_does_not_depend_on_the_runs_in_which_the_points_come(data, one, other):
    curves = data.draw(curves_side_by_side(curves=2))
    asked = {"first": curves[0].start, "last": max(curve.end for curve in curves) - 1, "points": 20}
    samples = [repr(sample_curves(readers(curves, bounds), METRICS, **asked)) for bounds in (one, other)]

    assert samples[0] == samples[1]


@given(data=st.data(), bounds=st.lists(st.integers(0, 130)))
def test_the_whole_has_every_point(data, bounds):
    curves = data.draw(curves_side_by_side(curves=2))
    found = collect_all(cut(curves, bounds), METRICS, curves=2)

    assert found.x == list(range(curves[0].start, max(curve.end for curve in curves)))
    for curve, column in zip(curves, found.columns, strict=True):
        assert column == {metric: [value_at(curve, metric, x) for x in found.x] for metric in METRICS}


@given(first=st.integers(0, 10**6), length=st.integers(1, 10**6), buckets=st.integers(1, 1000))
def test_buckets_are_as_narrow_as_their_number_allows(first, length, buckets):
    last = first + length - 1
    width = bucket_width(first, last, buckets=buckets)

    assert last // width - first // width < buckets
    assert width == 1 or last // (width // 2) - first // (width // 2) >= buckets


def test_full_buckets_keep_their_points_while_the_curve_grows():
    curve = Curve(0, {"a": [float(x * 37 % 101) for x in range(100)]})
    shown = [
        set(sample_curves(readers([curve.between(0, end)], []), ["a"], first=0, last=end, points=30).x)
        for end in range(65, 100)
    ]

    for before, after in itertools.pairwise(shown):
        full = {x for x in before if x < max(before) // 8 * 8}
        assert full <= after


def test_what_was_not_recorded_at_first_is_never_an_extreme():
    curve = Curve(0, {"a": [1.0] * 64, "b": [nan] * 20 + [3.0, 1.0, 2.0] + [nan] * 41})
    sample = sample_curves(readers([curve], []), METRICS, first=0, last=63, points=10)

    assert {20, 21} <= set(sample.x)


# On both databases.


def recorded(store, submit, claim, points: list[float], runs: list[int]) -> str:
    """A job whose curve was written in runs of these lengths."""
    job = submit()
    held = claim()
    start = 0
    for length in runs:
        end = min(start + length, len(points))
        if end > start:
            column = points[start:end]
            written(
                store, JobUpdate(held, progress(end), Curve(start, {"cost": column, "output": [-v for v in column]}))
            )
        start = end
    return job.id


@settings(max_examples=15, deadline=None)
@given(
    points=st.lists(values, min_size=1, max_size=60),
    runs=st.lists(st.integers(1, 20), max_size=20),
    first=st.integers(0, 30),
    length=st.integers(1, 60),
    max_points=st.integers(6, 70),
)
def test_what_is_read_of_a_stored_curve_is_what_was_recorded(
    store, submit, claim, points, runs, first, length, max_points
):
    stored = points[: sum(runs)]
    job_id = recorded(store, submit, claim, points, runs)
    last = first + length - 1

    def answer() -> CurveOut:
        reading = Reading(store, [job_id], metrics=("cost", "output"), first=first, last=last)
        return CurveOut.of_sample(job_id, "epoch", reading, reading.sample(max_points))

    seen = answer()
    assert answer().model_dump_json() == seen.model_dump_json()
    inside = range(first, min(last + 1, len(stored)))
    assert seen.total_points == len(inside)
    assert seen.sampled == (len(seen.x) < len(inside))
    assert len(seen.x) <= max_points
    assert seen.next_from == max(first, inside.stop)
    finite = [None if abs(value) == inf else value for value in stored]
    assert seen.series["cost"] == [finite[x] for x in seen.x]
    assert json.loads(seen.model_dump_json())["series"]["cost"] == seen.series["cost"]
    if len(inside):
        assert (seen.x[0], seen.x[-1]) == (inside[0], inside[-1])


@settings(max_examples=10, deadline=None)
@given(
    points=st.lists(values, min_size=1, max_size=60),
    runs=st.lists(st.integers(1, 20), max_size=12),
    limit=st.integers(1, 30),
)
def test_what_is_read_piece_by_piece_while_the_curve_grows_is_the_whole(store, submit, claim, points, runs, limit):
    job = submit()
    held = claim()
    seen: list[float] = []
    start = following = 0
    for length in [*runs, len(points)]:
        end = min(start + length, len(points))
        if end > start:
            written(store, JobUpdate(held, progress(end), Curve(start, {"cost": points[start:end]})))
        start = end
        page = store.curve(job.id, metrics=("cost",), first=following, limit=limit)
        assert page.x.start == following
        seen += page.curve.series["cost"]
        following = page.next_from
    while len(page := store.curve(job.id, metrics=("cost",), first=following, limit=limit).curve):
        seen += page.series["cost"]
        following = page.end

    assert list(map(exact, seen)) == list(map(exact, points))


@pytest.mark.parametrize("growth", [0, 3])
def test_a_curve_that_is_cut_while_it_is_read_ends_there(store, submit, claim, hire, claim_as, monkeypatch, growth):
    monkeypatch.setattr(curve_reader, "_PIECE_VALUES", 10)
    job_id = recorded(store, submit, claim, [float(x) for x in range(40)], [5] * 8)
    reading = Reading(store, [job_id], metrics=("cost",))
    pieces = reading.pieces()
    begun = [next(pieces)]
    store.retire_worker("wrk_1", reason="its worker died", crashed=True)
    [held] = claim_as(hire())
    if growth:
        written(store, JobUpdate(held, progress(growth), Curve(0, {"cost": [0.5] * growth, "output": [0.5] * growth})))

    assert collect_all([*begun, *pieces], reading.metrics).columns == [{"cost": [float(x) for x in range(10)]}]


def test_a_reading_of_a_job_that_is_deleted_is_whole_or_an_error(store, submit, claim):
    job_id = recorded(store, submit, claim, [float(x) for x in range(40)], [5] * 8)
    store.cancel(job_id)
    store.retire_worker("wrk_1", reason="its worker died", crashed=True)
    with store.read_transaction() as seen:
        loaded, other = Reading(seen, [job_id], metrics=("cost",)), Reading(seen, [job_id])
        loaded.load()
    store.delete(job_id)

    assert loaded.sample(None).columns == [{"cost": [float(x) for x in range(40)]}]
    with pytest.raises(JobNotFound):
        other.sample(None)
    with pytest.raises(JobNotFound):
        Reading(store, [job_id])
