"""What steps cost, in whatever parts it is told: the same epochs, the same points, to the last bit."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from costcurve.core.curve import Curve
from costcurve.core.errors import Diverged
from workers.engines.step_metrics import StepCosts

costs = st.floats(0, 1e6, allow_subnormal=False, width=32)


def parts(values: list[float], cuts: list[int]) -> list[list[float]]:
    places = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    return [values[start:end] for start, end in pairwise(places)]


@given(
    epochs=st.lists(st.lists(costs, min_size=130, max_size=130), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 130), max_size=6),
    is_interrupted=st.booleans(),
)
def test_how_steps_are_parted_and_where_they_are_interrupted_changes_no_bit(epochs, cuts, is_interrupted):
    whole, told = StepCosts(130), StepCosts(130)
    means, points, step = [], [], 0
    for epoch in epochs:
        whole.add(torch.tensor(epoch))
        whole.read()
        for part in parts(epoch, cuts):
            told.add(torch.tensor(part))
            told.read()
            points.append(told.take_points())
            step += len(part)
            if is_interrupted:
                tensors = {name: tensor.clone() for name, tensor in told.tensors().items()}
                told = StepCosts(130)
                told.resume(step, tensors)
        means.append((whole.epoch_mean, told.epoch_mean))
        whole.end_epoch()
        told.end_epoch()
    points.append(told.take_points(last=True))
    expected = whole.take_points(last=True)

    assert Curve.joined(points) == expected
    assert all(one == other for one, other in means)
    values = [value for epoch in epochs for value in epoch]
    hundreds = [values[start : start + 100] for start in range(0, len(values), 100)]
    assert expected.series["cost_min"] == [min(each) for each in hundreds]
    assert expected.series["cost_max"] == [max(each) for each in hundreds]
    assert expected.series["cost"] == pytest.approx([math.fsum(each) / len(each) for each in hundreds], rel=1e-12)
    assert means[0][0] == pytest.approx(math.fsum(epochs[0]) / 130, rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_cost_that_is_not_finite_is_named_with_its_step_and_makes_no_point(bad):
    told = StepCosts(150)
    told.add(torch.ones(150))
    told.read()
    told.end_epoch()
    told.add(torch.tensor([*[1.0] * 60, bad, *[1.0] * 60]))

    with pytest.raises(Diverged, match=rf"cost was no longer finite \({bad}\) in epoch 1, at step 210"):
        told.read()
    assert told.take_points().series == {"cost": [1.0] * 2, "cost_min": [1.0] * 2, "cost_max": [1.0] * 2}
