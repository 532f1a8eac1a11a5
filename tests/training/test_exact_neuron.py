"""Neurons against arbitrary-precision arithmetic: gradients, costs and slopes at any logit, in both directions."""

import math
import sys
from collections.abc import Callable, Iterator
from functools import partial

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.core.spec import NeuronSpec
from workers.engines import autograd, neuron_pack
from workers.engines.base import Report
from workers.training.losses import costs, costs_of_labels

CPU = torch.device("cpu")
EXACT = 1e-12
# What two roundings of float64 and one of a logit of 40 may come to.
ROUNDING = 32 * 2**-53

Train = Callable[[NeuronSpec], Iterator[Report]]


def packed(spec: NeuronSpec) -> Iterator[Report]:
    [reports] = neuron_pack.train_pack([spec], device=CPU)
    return reports


every_engine = pytest.mark.parametrize(
    "train",
    [
        pytest.param(partial(autograd.train_neuron, device=CPU), id=autograd.NAME),
        pytest.param(packed, id=neuron_pack.NAME),
    ],
)
losses = pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])


def exact(z: float, y: float, loss: str) -> dict[str, mpmath.mpf]:
    """The figures of a neuron with input 1, by their definitions, with digits enough for 1 − e^−|z|."""
    with mpmath.workdps(60 + math.ceil(abs(z))):
        z, y = mpmath.mpf(z), mpmath.mpf(y)
        a, rest = 1 / (1 + mpmath.exp(-z)), 1 / (1 + mpmath.exp(z))
        if loss == "quadratic":
            cost, gradient = (a - y) ** 2 / 2, (a - y) * a * rest
        else:
            cost, gradient = -y * mpmath.log(a) - (1 - y) * mpmath.log(rest), a - y
        return {
            "cost": cost,
            "output": a,
            "gradient": gradient,
            "sigmoid_prime": a * rest,
            "slowdown_factor": 1 / (a * rest),
        }


def recorded(train: Train, z: float, y: float, loss: str) -> dict[str, float]:
    init = {"scheme": "constant", "weight": z, "bias": 0.0}
    fields = {"experiment": "neuron", "loss": loss, "init": init, "target": y, "epochs": 1}
    [report, *_] = list(train(NeuronSpec.model_validate(fields)))
    return {metric: values[0] for metric, values in report.curve.series.items()}


def assert_exact(train: Train, z: float, y: float, loss: str, *, slack: float = 0.0) -> None:
    """`slack` is an absolute error of a − y that is borne."""
    found, expected = recorded(train, z, y, loss), exact(z, y, loss)
    slope, error = expected["sigmoid_prime"], abs(expected["output"] - mpmath.mpf(y))
    by_metric = {
        "gradient": slack * (slope if loss == "quadratic" else 1),
        "cost": slack * (error + slack),  # the derivative of ½ (a − y)², and of cross-entropy near its least
    }
    for metric, true in expected.items():
        borne = EXACT * abs(true) + by_metric.get(metric, 0) + sys.float_info.min  # below, digits are lost
        assert abs(mpmath.mpf(found[metric]) - true) <= borne, (metric, found[metric], float(true))


@every_engine
@losses
@pytest.mark.parametrize("target", [0.0, 1e-300, 1e-20, 1e-9, 0.3, 0.5, 0.7, 1 - 1e-9, 1 - 2**-53, 1.0])
def test_a_neurons_figures_are_exact_at_every_logit_in_both_directions(train, loss, target):
    for z in (0.0, 0.25, 1.0, 4.5, 10.0, 16.0, 17.5, 23.0, 30.0, 36.5, 37.0, 38.0, 40.0):
        for logit in (z, -z):
            assert_exact(train, logit, target, loss)


@every_engine
@losses
@settings(max_examples=60, deadline=None)
@given(z=st.floats(-40, 40), y=st.floats(0, 1) | st.floats(-40, 40).map(lambda z: 1 / (1 + math.exp(-z))))
def test_a_neurons_figures_are_exact_for_any_target_but_for_what_the_rounding_of_its_output_costs(train, loss, z, y):
    """Where the output is next to its target, a − y has the rounding of the smaller of a and 1 − a, and no more."""
    a, rest = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(z))
    assert_exact(train, z, y, loss, slack=ROUNDING * min(max(a, y), max(rest, 1 - y)))


@every_engine
@losses
@pytest.mark.parametrize("z", [100.0, 400.0, 700.0])
def test_a_neurons_figures_are_exact_far_out(train, loss, z):
    for logit in (z, -z):
        for target in (0.0, 0.4, 1.0):
            assert_exact(train, logit, target, loss)


@every_engine
@losses
def test_a_neuron_and_its_mirror_learn_alike_to_the_last_bit(train, loss):
    """Target 0 at z and target 1 at −z are the same task: only signs differ."""
    for z in (0.5, 12.0, 30.0, 36.0, 37.0, 40.0):
        one, other = recorded(train, z, 0.0, loss), recorded(train, -z, 1.0, loss)
        assert one["gradient"] == -other["gradient"] != 0.0
        assert one["cost"] == other["cost"]


@every_engine
def test_a_neuron_saturated_at_37_comes_down_with_the_quadratic_loss(train):
    """Its gradient is e^−37 and not 0: a rate that is large enough moves it in one update."""
    init = {"scheme": "constant", "weight": 0.0, "bias": 37.0}
    fields = {"loss": "quadratic", "init": init, "target": 0.0, "epochs": 1, "learning_rate": 10 * math.exp(37)}
    *_, last = train(NeuronSpec.model_validate({"experiment": "neuron", **fields}))

    assert last.result.final_bias == pytest.approx(27.0, rel=1e-9)


@losses
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_infinite_logit_costs_nothing_where_it_is_right_and_has_a_finite_derivative(loss, dtype):
    """float32 reaches −∞ by an overflow of a weighted sum, and there σ is exactly 0."""
    for z, y in ((-math.inf, 0.0), (math.inf, 1.0)):
        logit = torch.tensor([[z]], dtype=dtype, requires_grad=True)
        value = costs(logit, torch.tensor([[y]], dtype=dtype), loss=loss).sum()
        value.backward()

        assert (value.item(), logit.grad.item()) == (0.0, 0.0)
        assert math.copysign(1.0, value.item()) == 1.0


@losses
@pytest.mark.parametrize("z", [1e4, 1e30])
def test_the_cost_of_a_huge_logit_is_its_size_where_it_is_wrong_and_nothing_where_it_is_right(loss, z):
    for sign, wrong in ((1, 0.0), (-1, 1.0)):
        logits = torch.full((1, 2), sign * z, dtype=torch.float32)
        of_wrong, of_right = costs(logits, torch.tensor([[wrong, 1 - wrong]]), loss=loss)[0].tolist()

        assert of_right == 0.0
        assert of_wrong == pytest.approx(z if loss == "cross_entropy" else 0.5)


@losses
def test_the_cost_of_labels_is_the_cost_of_targets_that_are_0_or_1_and_so_is_its_derivative(loss):
    z = torch.linspace(-60, 60, 481, dtype=torch.float64).repeat(2, 1)
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand_as(z)
    found = []
    for function in (costs, costs_of_labels):
        logits = z.clone().requires_grad_()
        each = function(logits, y, loss=loss)
        each.sum().backward()
        found.append((each.detach(), logits.grad))

    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("function", [costs, costs_of_labels])
def test_a_loss_that_does_not_exist_is_an_error_and_not_trained_as_another(function):
    with pytest.raises(ValueError, match="there is no loss 'hinge'; there are quadratic, cross_entropy"):
        function(torch.zeros(1, 1), torch.ones(1, 1), loss="hinge")
