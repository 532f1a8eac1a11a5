"""One neuron, held point by point against an oracle in plain Python."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.core.curve import NEURON_METRICS, Curve
from costcurve.core.errors import Diverged, StartNotFinite
from costcurve.core.presets import PRESETS
from costcurve.core.spec import NeuronSpec
from workers.engines import autograd, neuron_pack
from workers.engines.base import Report

CPU = torch.device("cpu")


Train = Callable[..., Iterator[Report]]


def packed(spec: NeuronSpec, **options: object) -> Iterator[Report]:
    [reports] = neuron_pack.train_pack([spec], device=CPU, **options)
    return reports


every_engine = pytest.mark.parametrize(
    "train",
    [
        pytest.param(partial(autograd.train_neuron, device=CPU), id=autograd.NAME),
        pytest.param(packed, id=neuron_pack.NAME),
    ],
)


def oracle(spec: NeuronSpec, w: float, b: float) -> list[dict[str, float]]:
    """Gradient descent on one sigmoid neuron; the gradients are Nielsen's eqs. 55-56 and 61-62, by hand."""
    x, y, points = spec.input, spec.target, []
    for _ in range(spec.epochs + 1):
        z = w * x + b
        a, slope = 1 / (1 + math.exp(-z)), 1 / (2 + math.exp(z) + math.exp(-z))
        if spec.loss == "quadratic":
            cost, delta = (a - y) ** 2 / 2, (a - y) * slope
        else:
            cost, delta = -y * math.log(a) + (1 - y) * (z - math.log(a)), a - y
        values = (cost, a, w, b, delta * x, slope, 1 / slope)
        points.append(dict(zip(NEURON_METRICS, values, strict=True)))
        w, b = w - spec.learning_rate * delta * x, b - spec.learning_rate * delta
    return points


def trained(train: Train, spec: NeuronSpec) -> Curve:
    return Curve.joined(each.curve for each in train(spec))


def assert_follows_oracle(train: Train, spec: NeuronSpec, w: float, b: float) -> None:
    curve, expected = trained(train, spec), oracle(spec, w, b)
    assert len(curve) == spec.epochs + 1
    for metric in NEURON_METRICS:
        pairs = [(got, point[metric]) for got, point in zip(curve.series[metric], expected, strict=True)]
        wrong = max(abs(got - true) / max(abs(true), 1) for got, true in pairs)
        assert wrong <= 1e-12, f"{metric} is off by {wrong}"


@every_engine
@pytest.mark.parametrize("preset", ["neuron-good-start", "neuron-slow-quadratic", "neuron-slow-cross-entropy"])
def test_every_point_of_the_articles_curves_is_the_oracles(train, preset):
    spec = PRESETS[preset].spec

    assert_follows_oracle(train, spec, spec.init.weight, spec.init.bias)


@every_engine
@settings(max_examples=40, deadline=None)
@given(
    loss=st.sampled_from(["quadratic", "cross_entropy"]),
    w=st.floats(-5, 5),
    b=st.floats(-5, 5),
    x=st.floats(-2, 2),
    y=st.floats(0, 1),
    rate=st.floats(0.001, 1),
    epochs=st.integers(1, 60),
)
def test_every_point_of_any_neurons_curve_is_the_oracles(train, loss, w, b, x, y, rate, epochs):
    init = {"scheme": "constant", "weight": w, "bias": b}
    fields = {"loss": loss, "init": init, "input": x, "target": y, "learning_rate": rate, "epochs": epochs}

    assert_follows_oracle(train, NeuronSpec.model_validate({"experiment": "neuron", **fields}), w, b)


@every_engine
@pytest.mark.parametrize(
    ("preset", "start", "middle", "end"),
    [
        ("neuron-good-start", 0.8176, None, 0.0940),
        ("neuron-slow-quadratic", 0.9820, 0.7887, 0.2028),
        ("neuron-slow-cross-entropy", 0.9820, None, 0.0120),
    ],
)
def test_the_outputs_are_the_articles(train, preset, start, middle, end):
    outputs = trained(train, PRESETS[preset].spec).series["output"]

    assert round(outputs[0], 4) == start
    assert round(outputs[300], 4) == end
    assert middle is None or round(outputs[200], 4) == middle


@every_engine
@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
@pytest.mark.parametrize(("weight", "target"), [(1e4, 0.0), (-1e4, 1.0), (1e4, 1.0), (-1e300, 0.0)])
def test_a_neuron_saturated_beyond_float64_still_has_finite_costs(train, loss, weight, target):
    init = {"scheme": "constant", "weight": weight, "bias": 0.0}
    curve = trained(
        train,
        NeuronSpec.model_validate({"experiment": "neuron", "loss": loss, "init": init, "target": target, "epochs": 3}),
    )

    assert all(math.isfinite(value) and value >= 0 for value in curve.series["cost"])
    if loss == "cross_entropy" and round(curve.series["output"][0]) != target:
        assert curve.series["cost"][0] == pytest.approx(abs(weight))


@every_engine
def test_a_neuron_that_diverges_says_when(train):
    init = {"scheme": "constant", "weight": 1e300, "bias": 0.0}
    spec = NeuronSpec.model_validate({"experiment": "neuron", "init": init, "input": 1e300})

    with pytest.raises(StartNotFinite, match=r"the start is not finite: cost is (nan|inf) before the first update"):
        trained(train, spec)


@every_engine
def test_a_neuron_that_diverges_reports_every_point_before(train):
    """The first update overflows: point 0 is finite, and is there."""
    init = {"scheme": "zeros"}
    spec = NeuronSpec.model_validate({"experiment": "neuron", "init": init, "input": 1e200, "learning_rate": 1e200})
    seen = []
    with pytest.raises(Diverged, match="after 1 updates"):
        seen.extend(train(spec))

    assert Curve.joined(each.curve for each in seen).series["output"] == [0.5]


@every_engine
def test_how_often_it_reports_changes_no_point(train):
    spec = PRESETS["neuron-slow-quadratic"].spec
    whole = trained(train, spec)
    reports = list(train(spec, report_interval=0.0))

    assert len(reports) == spec.epochs + 1
    assert [each.step for each in reports[:3]] == [1, 2, 3]
    assert all(isinstance(each, Report) for each in reports)
    assert Curve.joined(each.curve for each in reports) == whole
