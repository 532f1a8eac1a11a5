"""Warnings before training: each for the setting that it names, and none for a sound spec."""

import pytest

from costcurve.analysis.forecast import forecast, warnings
from costcurve.core.presets import PRESETS
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec

WRONG = {"scheme": "normal", "output_bias": 10.0}


def network(**fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", **fields})


def neuron(weight: float = 2.0, bias: float = 2.0, **fields) -> NeuronSpec:
    init = {"scheme": "constant", "weight": weight, "bias": bias}
    return NeuronSpec.model_validate({"experiment": "neuron", "init": init, **fields})


def codes(spec: AnySpec) -> list[tuple[str, str]]:
    return [(warning.code, warning.pointer) for warning in warnings(spec)]


@pytest.mark.parametrize("init", ["zeros", "constant", {"scheme": "normal", "std": 0}])
def test_a_symmetric_init_of_a_hidden_layer_is_the_only_warning(init):
    assert codes(network(init=init)) == [("symmetric_init", "/spec/init")]


def test_a_network_without_units_that_could_be_alike_is_not_warned_of_symmetry():
    for layers in ([784, 10], [784, 1, 10]):
        assert "symmetric_init" not in dict(codes(network(layers=layers, init="zeros")))
    assert codes(network(layers=[784, 1, 2, 10], init="zeros")) == [("symmetric_init", "/spec/init")]


@pytest.mark.parametrize(
    "name", [name for name in PRESETS if not name.endswith(("slow-quadratic", "biased-quadratic", "slow-hidden"))]
)
def test_sound_presets_and_those_that_are_cured_have_no_warning(name):
    assert warnings(PRESETS[name].spec) == ()


@pytest.mark.parametrize("seed", range(5))
def test_the_default_network_has_no_warning_from_any_of_its_usual_inits(seed):
    for loss in ("quadratic", "cross_entropy"):
        for init in ("normal", "scaled_normal", "xavier"):
            assert warnings(network(loss=loss, init=init, seed=seed)) == ()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (PRESETS["neuron-slow-quadratic"].spec, [("output_saturated_quadratic", "/spec/init")]),
        (PRESETS["mnist-slow-quadratic"].spec, [("output_saturated_quadratic", "/spec/init/output_bias")]),
        (PRESETS["mnist-slow-hidden"].spec, [("hidden_layer_slow", "/spec/init")]),
        (
            network(loss="quadratic", init={"scheme": "normal", "std": [1.0, 5.0]}),
            [("output_saturated_quadratic", "/spec/init")],
        ),
        (network(learning_rate=0.01, epochs=10), [("learning_rate_small", "/spec/learning_rate")]),
        (network(loss="quadratic", learning_rate=100.0), [("learning_rate_large", "/spec/learning_rate")]),
        (network(learning_rate=300.0), [("learning_rate_large", "/spec/learning_rate")]),
        (network(init={"scheme": "normal", "std": 1e39}), [("start_not_finite", "/spec/init")]),
        (network(layers=[784, 5000, 10], init={"scheme": "normal", "std": 1e39}), [("start_not_finite", "/spec/init")]),
        (neuron(loss="quadratic", learning_rate=300.0), []),
        (neuron(-2.0, -2.0, loss="quadratic", target=1.0), [("output_saturated_quadratic", "/spec/init")]),
        (neuron(0.6, 0.9, learning_rate=1e-5), [("learning_rate_small", "/spec/learning_rate")]),
        (neuron(2.0, 2.0, learning_rate=1e-5), [("learning_rate_small", "/spec/learning_rate")]),
        (neuron(0.6, 0.9, target=0.5, learning_rate=50.0), [("learning_rate_large", "/spec/learning_rate")]),
        (neuron(0.6, 0.9, input=0.0), [("dead_input", "/spec/input")]),
        (neuron(1e300, 0.0, input=1e300), [("start_not_finite", "/spec/init")]),
    ],
)
def test_what_is_wrong_is_named_with_its_field(spec, expected):
    assert codes(spec) == expected


def test_a_warning_has_its_figures_and_never_a_number_that_is_none():
    [slow] = warnings(PRESETS["neuron-slow-quadratic"].spec)
    assert "needs 233 updates for half of the way to 0; cross-entropy at the same rate would need 17" in slow.message
    [never] = warnings(neuron(6.0, 6.0, loss="quadratic", learning_rate=0.001))
    assert "does not come, in 300 updates, half of the way" in never.message
    for spec in (network(init={"scheme": "normal", "std": 1e39}), neuron(1e300, 0.0, input=1e300)):
        assert "nan" not in warnings(spec)[0].message


def test_the_sound_range_of_rates_reaches_lower_for_more_updates():
    few, many = (forecast(network(epochs=epochs)).learning_rate for epochs in (1, 100))

    assert few.sound == many.sound
    assert few.lowest > many.lowest
    assert few.highest == many.highest > few.sound > few.lowest
