"""What is said of a sweep's cells, against Python's own statistics and exact arithmetic."""

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costcurve.analysis.sweep_ranking import RANKINGS, CellJob, Spread, difference, figures_of, rank_key, spreads
from costcurve.core.status import JobStatus
from costcurve.core.sweep import SweepSubmission

values = st.floats(allow_nan=False, allow_infinity=False)
scores = st.integers(0, 10_000).map(lambda correct: correct / 10_000)


def jobs_with(scores: dict[int, float | None]) -> list[CellJob]:
    return [CellJob(f"job_{seed}", seed, seed, JobStatus.SUCCEEDED, score) for seed, score in scores.items()]


@given(st.lists(values, min_size=1, max_size=20))
def test_a_spread_is_what_the_statistics_module_says(given):
    spread = Spread.of(given)

    assert (spread.n, spread.min, spread.max) == (len(given), min(given), max(given))
    assert spread.mean == float(sum(map(Fraction, given)) / len(given))
    assert spread.min <= spread.mean <= spread.max
    if len(given) == 1:
        assert spread.stdev is None
    elif spread.stdev is not None:
        assert spread.stdev == statistics.stdev(given)


def test_whole_numbers_are_spread_like_others():
    assert Spread.of([9000, 9002]) == Spread(2, 9001.0, math.sqrt(2), 9000.0, 9002.0)


def test_what_no_number_holds_is_not_told():
    huge = 1.7e308
    assert Spread.of([-huge, huge]) == Spread(2, 0.0, None, -huge, huge)
    assert Spread.of([huge, huge]) == Spread(2, huge, 0.0, huge, huge)


def test_figures_are_the_numbers_of_a_result():
    mnist = {"experiment": "mnist", "best_accuracy": 0.9, "best_epoch": 3, "test_size": 10_000, "weights_sha256": "0"}
    assert figures_of(mnist, None) == {"best_accuracy": 0.9, "best_epoch": 3}
    assert figures_of({"final_output": 0.25, "final_cost": 1}, 1.0) == {
        "final_output": 0.25,
        "final_cost": 1,
        "target_distance": 0.75,
    }


def test_a_figure_that_some_jobs_lack_is_spread_over_those_that_have_it():
    assert {name: spread.n for name, spread in spreads([{"a": 1.0}, {}, {"a": 2.0, "b": 3.0}]).items()} == {
        "a": 2,
        "b": 1,
    }


@pytest.mark.parametrize(
    ("experiment", "of_cells", "order"),
    [
        ("mnist", [[0.1], [0.9], [0.5]], [1, 2, 0]),
        ("neuron", [[0.1], [0.9], [0.5]], [0, 2, 1]),
        ("mnist", [[], [0.0], [], [0.1, 0.0]], [3, 1, 0, 2]),
        ("mnist", [[0.5], [0.5, 0.5], [0.5]], [1, 0, 2]),
        # Both means are 0.9502, though not to the last bit.
        ("mnist", [[0.9501, 0.9502, 0.9503], [0.9502, 0.9502, 0.9502], [0.95, 0.9502, 0.9504]], [0, 1, 2]),
        ("neuron", [[0.1, 0.2], [0.15, 0.15], [0.15 + 1e-9, 0.15]], [0, 1, 2]),
    ],
)
def test_cells_stand_in_the_order_of_their_means_and_of_their_numbers_where_these_are_equal(
    experiment, of_cells, order
):
    keys = [rank_key(RANKINGS[experiment], cell, own, repeats=3) for cell, own in enumerate(of_cells)]

    assert [key[-1] for key in sorted(keys)] == order


@given(st.dictionaries(st.integers(0, 9), scores), st.dictionaries(st.integers(0, 9), scores))
def test_a_difference_is_that_of_the_seeds_in_common(own, leader):
    found = difference(jobs_with(own), jobs_with(leader), to_cell=7)
    pairs = [own[seed] - leader[seed] for seed in own if seed in leader]

    if not pairs:
        assert found is None
        return
    assert (found.to_cell, found.n) == (7, len(pairs))
    assert found.mean == pytest.approx(statistics.fmean(pairs), abs=1e-15)
    if len(pairs) > 1:
        assert found.stdev == statistics.stdev(pairs)
        assert found.standard_error == pytest.approx(statistics.stdev(pairs) / len(pairs) ** 0.5)
    else:
        assert found.stdev is found.standard_error is None


def test_a_job_that_has_not_succeeded_is_paired_with_none():
    assert difference(jobs_with({1: 0.5, 2: None}), jobs_with({1: None, 2: 0.4}), to_cell=0) is None


@given(st.lists(st.integers(1, 4), max_size=3))
def test_the_settings_of_each_cell_are_those_of_its_choice(sizes):
    names = ["loss", "init", "epochs"][: len(sizes)]
    sweep = SweepSubmission(
        grid={name: [f"{name}{i}" for i in range(size)] for name, size in zip(names, sizes, strict=True)}
    )
    expected = [{name: sweep.grid[name][index] for name, index in choice.items()} for choice in sweep.choices()]

    assert [sweep.settings(cell) for cell in range(sweep.cells)] == expected
    assert [list(sweep.settings(cell)) for cell in range(sweep.cells)] == [names] * sweep.cells
