"""The forecast of a training: near to what a worker measures, and for a neuron exact."""

import math

import numpy as np
import pytest
import torch

from benchmarks.forecast import errors, measured, specs, within
from costcurve.analysis.forecast import forecast
from costcurve.analysis.forecast.forecast import MOST_PARAMETERS
from costcurve.analysis.forecast.mean_field import mean_field_figures
from costcurve.analysis.forecast.network_start import drawn_figures
from costcurve.analysis.forecast.neuron_course import MOST_UPDATES
from costcurve.analysis.forecast.sample import stored_sample
from costcurve.core.curve import Curve, diagnosis_metrics
from costcurve.core.presets import PRESETS
from costcurve.core.spec import MnistSpec, NeuronSpec, parameter_count
from workers.engines import autograd
from workers.training.datasets import forecast_sample


def network(**fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", **fields})


def neuron(weight: float = 2.0, bias: float = 2.0, **fields) -> NeuronSpec:
    init = {"scheme": "constant", "weight": weight, "bias": bias}
    return NeuronSpec.model_validate({"experiment": "neuron", "init": init, **fields})


def test_the_stored_images_are_the_first_of_the_training_set(mnist, tmp_path):
    forecast_sample.write(mnist, tmp_path / "made.npz")

    with np.load(tmp_path / "made.npz") as made, np.load(forecast_sample.PATH) as stored:
        assert set(made) == set(stored) == {"images", "labels"}
        assert all(np.array_equal(made[name], stored[name]) for name in made)
    assert forecast_sample.PATH.stat().st_size < 20_000


def test_the_slowdown_factor_is_near_the_measured_one_over_inits_widths_biases_and_seeds(images):
    found = [
        errors(drawn_figures(spec, stored_sample()), measured(spec, images))
        for spec in specs(("normal", "scaled_normal", "xavier"), (10, 30, 100), (0.0, 5.0, 10.0), (0, 1))
    ]

    assert within([each["slowdown_factor"] for each in found]) >= 0.98
    assert within([each["update_ratio.2"] for each in found]) >= 0.9
    assert max(each["saturated_fraction.1"] for each in found) < 0.03
    assert max(each["mean_sigmoid_prime.1"] for each in found) < 0.1


@pytest.mark.parametrize("fields", [{}, {"loss": "quadratic"}, {"layers": [784, 20, 15, 10], "init": "xavier"}])
def test_every_figure_of_the_start_is_expected_but_the_number_of_distinct_units(images, fields):
    spec = network(**fields)
    expected, found = drawn_figures(spec, stored_sample()), measured(spec, images)

    assert set(expected) == {name for name in diagnosis_metrics(spec) if not name.startswith("distinct_units")}
    assert max(errors(expected, found).values()) < 0.35


def test_mean_field_is_near_the_mean_over_seeds_and_serves_networks_too_large_to_draw():
    for scheme in ("normal", "scaled_normal", "xavier"):
        starts = [
            drawn_figures(network(layers=[784, 60, 40, 10], init=scheme, seed=seed), stored_sample())
            for seed in range(20)
        ]
        expected = mean_field_figures(network(layers=[784, 60, 40, 10], init=scheme), stored_sample())
        for name in ("mean_sigmoid_prime.1", "mean_sigmoid_prime.2", "mean_sigmoid_prime.3"):
            assert expected[name] == pytest.approx(np.mean([start[name] for start in starts]), rel=0.1)
        assert expected["saturated_fraction.2"] == pytest.approx(
            np.mean([start["saturated_fraction.2"] for start in starts]), abs=0.03
        )
        ratio = np.mean([start["slowdown_factor"] for start in starts])
        assert expected["slowdown_factor"] == pytest.approx(ratio, rel=0.25)
    large = network(layers=[784, 400, 10])
    assert parameter_count(large.layers) > MOST_PARAMETERS
    assert forecast(large).method == "mean_field"
    assert forecast(network()).method == "drawn_weights"


@pytest.mark.parametrize("init", ["zeros", {"scheme": "constant", "weight": 0.01, "bias": -0.5}])
def test_mean_field_is_exact_if_all_units_are_alike(init):
    spec = network(layers=[784, 30, 20, 10], init=init)
    expected, drawn = mean_field_figures(spec, stored_sample()), drawn_figures(spec, stored_sample())

    for name, value in expected.items():
        # The large network has the prior of the digits, the sample its own ones.
        assert value == pytest.approx(drawn[name], rel=1e-4 if "delta" not in name and "slow" not in name else 0.01)


def test_mean_field_of_a_wide_distribution_has_the_height_of_its_density():
    figures = mean_field_figures(network(init={"scheme": "normal", "std": 100.0}), stored_sample())
    spread = 100 * np.sqrt((stored_sample().pixels ** 2).sum(axis=1) + 1)

    assert figures["mean_sigmoid_prime.1"] == pytest.approx(np.mean(1 / (spread * math.sqrt(2 * math.pi))), rel=1e-3)


@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
@pytest.mark.parametrize(
    "fields",
    [{}, {"weight": 0.6, "bias": 0.9}, {"target": 1.0, "weight": -2.0, "bias": -2.0}, {"target": 0.3, "input": -2.0}],
)
def test_a_neuron_is_simulated_exactly(loss, fields):
    spec = neuron(loss=loss, **fields)
    found = forecast(spec)
    curve = Curve.joined(report.curve for report in autograd.train_neuron(spec, device=torch.device("cpu"))).series

    assert found.method == "simulation"
    assert found.start == pytest.approx({name: values[0] for name, values in curve.items()}, rel=1e-12)
    assert found.course.updates == 300
    assert found.course.final_output == pytest.approx(curve["output"][-1], rel=1e-10)
    assert found.course.final_cost == pytest.approx(curve["cost"][-1], rel=1e-8, abs=1e-15)
    errors = [abs(output - spec.target) for output in curve["output"]]
    halfway = next((update for update, error in enumerate(errors) if update and error <= errors[0] / 2), None)
    assert found.course.halfway_update == halfway


def test_a_neuron_with_random_weights_starts_with_those_of_its_seed():
    spec = NeuronSpec.model_validate({"experiment": "neuron", "init": "normal", "seed": 5, "epochs": 3})
    curve = Curve.joined(report.curve for report in autograd.train_neuron(spec, device=torch.device("cpu"))).series

    assert forecast(spec).start["weight"] == curve["weight"][0]
    assert forecast(spec).start["bias"] == curve["bias"][0]


def test_a_simulation_ends_after_a_bounded_number_of_updates():
    course = forecast(neuron(epochs=1_000_000)).course

    assert course.updates == MOST_UPDATES
    assert course.final_output < 0.02


def test_the_article_starts_are_told_apart():
    wrong = {name: forecast(preset.spec).is_badly_wrong for name, preset in PRESETS.items()}

    assert {name for name, is_wrong in wrong.items() if is_wrong} == {
        *("neuron-slow-quadratic", "neuron-slow-cross-entropy"),
        *("mnist-slow-quadratic", "mnist-slow-cross-entropy"),
        *("mnist-biased-quadratic", "mnist-biased-cross-entropy"),
    }
    assert forecast(PRESETS["neuron-slow-quadratic"].spec).start["slowdown_factor"] == pytest.approx(56.6, abs=0.05)
    rates = forecast(PRESETS["mnist-quadratic"].spec).learning_rate
    assert rates.lowest < rates.effective == 3.0 < rates.highest
    assert forecast(PRESETS["mnist-slow-quadratic"].spec).learning_rate is None


def test_a_neuron_with_a_schedule_is_simulated_as_it_is_trained():
    change = {"from_epoch": 20, "loss": "cross_entropy", "learning_rate": 0.3}
    spec = NeuronSpec.model_validate(
        {
            "experiment": "neuron",
            "loss": "quadratic",
            "init": {"scheme": "constant", "weight": 2.0, "bias": 2.0},
            "epochs": 60,
            "schedule": [change],
        }
    )
    course = forecast(spec).course
    *_, ended = autograd.train_neuron(spec, device=torch.device("cpu"))

    assert course.final_output == pytest.approx(ended.result.final_output, rel=1e-12)
    assert course.final_cost == pytest.approx(ended.result.final_cost, rel=1e-12)
    assert course != forecast(spec.model_copy(update={"schedule": ()})).course
