"""A network's diagnosis is what autograd finds in float64, and what the definitions say."""

import math

import pytest
import torch

from costcurve.core.curve import Curve, diagnosis_metrics
from costcurve.core.losses import ARTICLE_LOSSES
from costcurve.core.spec import MnistSpec
from workers.training import diagnostics as module
from workers.training.diagnostics import Stack, diagnosed_images, diagnoses, diagnosis
from workers.training.losses import cost
from workers.training.network import initial_network

CPU = torch.device("cpu")


def spec(**fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", **fields})


def found(given: MnistSpec, images) -> dict[str, float]:
    return dict(diagnosis(initial_network(given, CPU), diagnosed_images(images), given))


def exact(given: MnistSpec, images) -> dict[str, float]:
    """All figures but the number of distinct units, from autograd, in float64."""
    network = [
        tuple(part.detach().double().requires_grad_() for part in layer) for layer in initial_network(given, CPU)
    ]
    pixels, targets = images.train.pixels[:1000].double(), images.train.targets[:1000].double()

    def logits() -> list[torch.Tensor]:
        zs, a = [], pixels
        for weights, biases in network:
            zs.append(a @ weights + biases)
            a = torch.sigmoid(zs[-1])
        return zs

    figures = {}
    zs = logits()
    gradients = torch.autograd.grad(
        cost(zs[-1], targets, loss=given.loss, reduction=given.reduction), [weights for weights, _ in network]
    )
    for layer, (z, gradient, (weights, _)) in enumerate(zip(zs, gradients, network, strict=True), start=1):
        slope = torch.sigmoid(z) * (1 - torch.sigmoid(z))
        figures[f"saturated_fraction.{layer}"] = (slope < 0.01).double().mean().item()
        figures[f"mean_sigmoid_prime.{layer}"] = slope.mean().item()
        figures[f"gradient_norm.{layer}"] = gradient.norm().item()
        figures[f"update_ratio.{layer}"] = given.learning_rate * gradient.norm().item() / weights.norm().item()
    for loss in ("quadratic", "cross_entropy"):
        z = logits()[-1]
        value = cost(z, targets, loss=loss, reduction="sum_outputs")
        delta, gradient = torch.autograd.grad(value, [z, network[-1][0]])
        figures[f"output_delta.{loss}"] = 1000 * delta.abs().mean().item()  # of a sample, not of the mean over all
        figures[f"output_gradient_norm.{loss}"] = gradient.norm().item()
    figures["slowdown_factor"] = figures["output_delta.cross_entropy"] / figures["output_delta.quadratic"]
    return figures


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": "quadratic"},
        {"loss": "cross_entropy"},
        {"loss": "cross_entropy", "reduction": "sum_outputs", "learning_rate": 0.1, "seed": 4},
        {"loss": "quadratic", "init": {"scheme": "normal", "output_bias": 10.0}},
        {"loss": "cross_entropy", "init": {"scheme": "normal", "std": [10.0, 1.0]}},
        {"layers": [784, 10]},
        {"layers": [784, 20, 15, 10], "init": "scaled_normal"},
    ],
)
def test_the_figures_are_those_of_autograd_in_float64(images, fields):
    given = spec(**fields)
    figures = found(given, images)

    assert tuple(figures) == diagnosis_metrics(given)
    for metric, value in exact(given, images).items():
        # A unit that lies right at the bound of saturation may be counted otherwise: one of a hundred thousand.
        tolerances = {"abs": 2e-4} if metric.startswith("saturated") else {"rel": 2e-5}
        assert figures[metric] == pytest.approx(value, **tolerances), metric


def test_a_large_layer_is_diagnosed_in_parts_with_the_same_figures(images, monkeypatch):
    given = spec(layers=[784, 40, 10])
    whole = found(given, images)
    monkeypatch.setattr(module, "_MOST_NUMBERS", 40 * 300)

    assert found(given, images) == pytest.approx(whole, rel=1e-5)


def test_networks_side_by_side_are_diagnosed_as_each_by_itself(images):
    specs = [
        spec(loss="quadratic"),
        spec(loss="cross_entropy", learning_rate=0.5, seed=3),
        spec(loss="cross_entropy", reduction="sum_outputs", init="zeros"),
    ]
    networks = [initial_network(each, CPU) for each in specs]
    stack = Stack(
        [torch.stack([network[layer][0].detach() for network in networks]) for layer in (0, 1)],
        [torch.stack([network[layer][1].detach().reshape(1, -1) for network in networks]) for layer in (0, 1)],
        {loss: torch.tensor([each.loss == loss for each in specs]) for loss in ARTICLE_LOSSES},
        torch.tensor([0.1 if each.reduction == "mean_outputs" else 1.0 for each in specs], dtype=torch.float64),
        torch.tensor([each.learning_rate for each in specs], dtype=torch.float64),
    )

    for given, figures in zip(specs, diagnoses(stack, diagnosed_images(images)), strict=True):
        assert figures == pytest.approx(found(given, images), rel=1e-5)


def test_units_that_do_the_same_count_once(images):
    network = initial_network(spec(layers=[784, 12, 6, 10]), CPU)
    given = spec(layers=[784, 12, 6, 10])
    assert [found(given, images)[f"distinct_units.{layer}"] for layer in (1, 2)] == [12, 6]

    with torch.no_grad():
        for copy, original in ((3, 0), (7, 0), (9, 5)):
            for part in network[0]:
                part[..., copy] = part[..., original] * (1 + 1e-5)
    figures = diagnosis(network, diagnosed_images(images), given)

    assert [figures[f"distinct_units.{layer}"] for layer in (1, 2)] == [9, 6]
    assert found(spec(init="zeros"), images)["distinct_units.1"] == 1
    assert found(spec(init={"scheme": "constant", "weight": 0.3, "bias": 2.0}), images)["distinct_units.1"] == 1


@pytest.mark.parametrize(("bias", "factor"), [(30.0, math.exp(30)), (400.0, math.exp(400)), (1000.0, math.inf)])
def test_an_output_however_saturated_has_its_slowdown_factor(images, bias, factor):
    """Every output is at σ(bias) whatever the image; for the one of ten that should be 1, both losses give nothing."""
    figures = found(spec(loss="quadratic", init={"scheme": "zeros", "output_bias": bias}), images)

    assert figures["slowdown_factor"] == pytest.approx(factor, rel=1e-9)
    assert figures["output_delta.cross_entropy"] == pytest.approx(0.9)


def test_a_network_that_nothing_moves_has_no_update_in_relation_to_its_weights(images):
    figures = found(spec(init="zeros"), images)

    assert figures["gradient_norm.1"] == figures["update_ratio.1"] == 0  # W2 = 0 passes nothing back
    assert figures["update_ratio.2"] == math.inf


def test_after_each_epoch_every_engine_records_the_diagnosis_of_its_network(train, images):
    given = spec(loss="quadratic", epochs=2, steps_per_epoch=40, init={"scheme": "normal", "output_bias": 3.0})
    reports = list(train(given, images, report_interval=60.0))
    curve = Curve.joined(each.curve for each in reports)
    tensors = next(each for each in reports if len(each.curve)).snapshot().tensors
    network = [(tensors[f"weights.{layer}"], tensors[f"biases.{layer}"]) for layer in (1, 2)]

    assert reports[0].start == pytest.approx(found(given, images), rel=1e-5)
    assert all(each.start is None for each in reports[1:])
    assert set(diagnosis_metrics(given)) < set(curve.series)
    assert all(len(values) == 2 for values in curve.series.values())
    assert all(math.isfinite(value) for values in curve.series.values() for value in values)
    assert all(values[0] != values[1] for name, values in curve.series.items() if name.startswith("gradient"))
    assert tensors["points"].shape == (1, len(curve.series))
    assert network[0][0].shape == (784, 30)
