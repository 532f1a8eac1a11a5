"""The compiled engine against the reference, on any network: they differ in rounding only.

Rounding errors grow while a network learns, and with a rate that is too high they grow without bound: then no two
implementations agree, and the reference itself is far from what exact numbers would give. So both are held against the
same training in float64, and the compiled engine may be off no further than a few times the reference is.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.analysis.initializers import initial_layers
from costcurve.analysis.randomness import SampleOrder
from costcurve.core.curve import Curve, diagnosis_metrics
from costcurve.core.spec import MnistSpec
from tests.engines.conftest import compiled, reference
from workers.training.losses import cost
from workers.training.network import logits

# Relative to the norm of all weights: what a few hundred float32 roundings come to, at the least.
ROUNDING = 1e-6
# How many times further from exact numbers the compiled engine may be, summing in another order.
TIMES = 30

inits = st.sampled_from(
    [
        "normal",
        "scaled_normal",
        "xavier",
        "zeros",
        {"scheme": "normal", "output_bias": 10.0},
        {"scheme": "normal", "std": 0.3},
        {"scheme": "constant", "weight": 0.1, "bias": -0.2},
    ]
)
specs = st.builds(
    lambda loss, hidden, **fields: MnistSpec.model_validate(
        {
            "experiment": "mnist",
            "loss": loss[0],
            "reduction": loss[1],
            "layers": [784, *hidden, 10],
            "epochs": 2,
            **fields,
        }
    ),
    loss=st.sampled_from(
        [("quadratic", "sum_outputs"), ("cross_entropy", "sum_outputs"), ("cross_entropy", "mean_outputs")]
    ),
    hidden=st.lists(st.integers(1, 90), max_size=3),
    batch_size=st.integers(1, 40),
    init=inits,
    learning_rate=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    seed=st.integers(0, 2**63 - 1),
    steps_per_epoch=st.sampled_from([1, 2, 50, 200]),
)


def exact(spec: MnistSpec, images) -> torch.Tensor:
    """All weights and biases after the first epoch, as float64 has it."""
    network = [
        tuple(torch.from_numpy(part.astype(np.float64)).requires_grad_() for part in (layer.weights, layer.biases))
        for layer in initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
    ]
    order = SampleOrder(seed=spec.seed, size=len(images.train))
    for step in range(spec.steps_per_epoch):
        batch = order.between(step * spec.batch_size, (step + 1) * spec.batch_size)
        pixels, targets = images.train.pixels[batch].double(), images.train.targets[batch].double()
        cost(logits(network, pixels), targets, loss=spec.loss, reduction=spec.reduction).backward()
        with torch.no_grad():
            for layer in network:
                for parameter in layer:
                    parameter -= spec.learning_rate * parameter.grad
                    parameter.grad = None
    return joined(part.detach() for layer in network for part in layer)


def joined(parts) -> torch.Tensor:
    return torch.cat([part.flatten().double() for part in parts])


def after_one_epoch(train, spec: MnistSpec, images) -> tuple[torch.Tensor, Curve]:
    """All weights and biases, and the curve, after the first of two epochs."""
    for report in train(spec, images, report_interval=60.0):
        if len(report.curve):
            tensors = report.snapshot().tensors
            layers = range(1, len(spec.layers))
            return joined(tensors[f"{part}.{n}"] for n in layers for part in ("weights", "biases")), report.curve
    raise AssertionError("no epoch ended")


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("fast", compiled())
@settings(max_examples=40, deadline=None, derandomize=True)
@given(spec=specs)
def test_the_compiled_engine_is_as_exact_as_the_reference_on_any_network(images, fast, spec):
    truth = exact(spec, images)
    (found, curve), (expected, its_curve) = (after_one_epoch(train, spec, images) for train in (fast, reference))
    unavoidable = max(distance(expected, truth), ROUNDING)

    assert distance(found, truth) <= TIMES * unavoidable
    if unavoidable == ROUNDING:  # a training that does not amplify its rounding errors
        assert distance(found, expected) < 1e-4
        for metric in ("cost", "test_cost", *diagnosis_metrics(spec)):
            # Of a hundred thousand, some may lie at the bound of saturation, or be units that are just alike.
            tolerances = {"abs": 1e-3} if metric.startswith("saturated") else {"rel": 1e-4}
            assert curve.series[metric][0] == pytest.approx(its_curve.series[metric][0], **tolerances), metric


@pytest.mark.parametrize("fast", compiled())
@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
def test_the_articles_networks_agree_within_a_ten_thousandth_after_200_steps(images, fast, loss):
    spec = MnistSpec.model_validate({"experiment": "mnist", "loss": loss, "epochs": 2, "steps_per_epoch": 200})
    (found, curve), (expected, its_curve) = (after_one_epoch(train, spec, images) for train in (fast, reference))

    assert distance(found, expected) < 1e-5
    for metric, figures in curve.series.items():
        assert figures == pytest.approx(its_curve.series[metric], rel=1e-3)
