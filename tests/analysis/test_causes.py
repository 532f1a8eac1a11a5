"""Causes and their repairs, on real trainings: each fault is named first, and its `try` wins back what it cost."""

import pytest

from costcurve.analysis.diagnosis.repair import changes_between
from costcurve.core.spec_diff import own_fields
from tests.analysis.trained import Trained, network, neuron

pytestmark = pytest.mark.slow

SHORT = {"epochs": 5, "steps_per_epoch": 1000}
QUADRATIC, CROSS_ENTROPY = {**SHORT, "loss": "quadratic"}, {**SHORT, "loss": "cross_entropy"}
# By name: the faulty fields, the cause, and the sound fields.
FAULTS = {
    "rate 0.01": ({**CROSS_ENTROPY, "learning_rate": 0.01}, "learning_rate_small", CROSS_ENTROPY),
    "rate 100": ({**QUADRATIC, "learning_rate": 100.0}, "learning_rate_large", QUADRATIC),
    "rate 300": ({**CROSS_ENTROPY, "learning_rate": 300.0}, "learning_rate_large", CROSS_ENTROPY),
    "rate 1e39": ({**QUADRATIC, "learning_rate": 1e39}, "diverged", QUADRATIC),
    "batch 5000": (
        {"loss": "cross_entropy", "batch_size": 5000, "epochs": 10, "steps_per_epoch": 11},
        "too_few_updates",
        {**CROSS_ENTROPY, "batch_size": 20},
    ),
    "40 updates": ({**QUADRATIC, "steps_per_epoch": 8}, "too_few_updates", QUADRATIC),
    "output bias 10": (
        {**QUADRATIC, "init": {"scheme": "normal", "output_bias": 10.0}},
        "output_saturated_quadratic",
        QUADRATIC,
    ),
    "std 10": ({**CROSS_ENTROPY, "init": {"scheme": "normal", "std": [10.0, 1.0]}}, "hidden_layer_slow", CROSS_ENTROPY),
    "zeros": ({**CROSS_ENTROPY, "init": "zeros"}, "symmetric_init", CROSS_ENTROPY),
    "2 units": ({**QUADRATIC, "layers": [784, 2, 10]}, "layer_too_narrow", QUADRATIC),
    "std 1e39": ({**CROSS_ENTROPY, "init": {"scheme": "normal", "std": 1e39}}, "start_not_finite", CROSS_ENTROPY),
}


def says_no_more_than_is_shown(trained: Trained) -> None:
    for finding in trained.diagnosis.findings:
        assert "cure" not in finding.statement.lower()
        assert "nan" not in finding.statement.lower()
        if finding.cure is not None:
            assert finding.repair.changes == changes_between(trained.spec, finding.cure)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_first_and_its_try_wins_back_most_of_what_it_cost(images, name):
    fields, code, sound_fields = FAULTS[name]
    faulty, sound = network(fields, images), network(sound_fields, images)
    tried = network(faulty.first.cure, images)

    assert faulty.first.code == code
    assert faulty.accuracy < sound.accuracy - 0.05
    assert tried.accuracy > sound.accuracy - 0.015
    says_no_more_than_is_shown(faulty)


@pytest.mark.parametrize("fields", [QUADRATIC, CROSS_ENTROPY, {**QUADRATIC, "init": "xavier"}, {"loss": "quadratic"}])
def test_a_network_that_learns_as_expected_has_no_cause_to_name_and_says_so(images, fields):
    trained = network(fields, images)

    assert all(finding.severity == "info" for finding in trained.diagnosis.findings)
    assert "about what can be expected" in trained.diagnosis.summary or trained.diagnosis.findings
    says_no_more_than_is_shown(trained)


def test_a_wide_network_is_not_told_that_its_loss_makes_no_difference(images):
    trained = network({**CROSS_ENTROPY, "layers": [784, 100, 10]}, images)

    assert trained.accuracy > 0.91
    assert "loss_makes_no_difference" not in trained.codes
    assert all(finding.cure is None for finding in trained.diagnosis.findings)


def test_the_other_loss_at_a_rate_that_suits_it_does_as_well_where_this_is_said(images):
    for fields in (QUADRATIC, CROSS_ENTROPY):
        trained = network(fields, images)
        [finding] = [each for each in trained.diagnosis.findings if each.code == "loss_makes_no_difference"]
        assert network(finding.cure, images).accuracy > trained.accuracy - 0.01
        assert {change.field for change in finding.repair.changes} >= {"loss", "effective_learning_rate"}


def test_a_digit_that_is_never_read_is_named_and_cross_entropy_wins_it_back(images):
    fields = {"loss": "quadratic", "layers": [784, 86, 48, 10], "batch_size": 50, "seed": 32}
    trained = network({**fields, "epochs": 10, "steps_per_epoch": 500, "learning_rate": 3.0}, images)

    assert trained.curve.series["least_class_accuracy"][-1] < 0.1
    assert trained.first.code in ("lost_class", "output_saturated_quadratic")
    assert network(trained.first.cure, images).accuracy > trained.accuracy + 0.05


def test_isolate_holds_the_effective_rate_and_changes_the_rest_alike(images):
    slow = network(
        {**QUADRATIC, "epochs": 20, "init": {"scheme": "normal", "std": [1.0, 0.1], "output_bias": 12.0}}, images
    )
    repair = slow.first.repair

    assert slow.first.code == "output_saturated_quadratic"
    assert repair.fields["loss"] == repair.isolate["loss"] == "cross_entropy"
    held = {change.field for change in changes_between(slow.spec, repair.isolate)}
    assert held == {"loss"}
    assert {change.field for change in repair.changes} == {"loss", "learning_rate", "effective_learning_rate"}


def test_what_the_loss_of_a_slow_start_did_is_said_as_it_was(images):
    slow = network({**QUADRATIC, "learning_rate": 1.0, "init": {"scheme": "normal", "output_bias": 10.0}}, images)
    first, last = (slow.first.evidence["correct"][place] for place in ("first", "last"))

    assert ("stood still" in slow.first.headline) == (last - first < 100)


@pytest.mark.parametrize(("epochs", "steps"), [(5, 1000), (50, 100), (500, 10)])
def test_a_plateau_depends_on_updates_and_not_on_what_an_epoch_is(images, epochs, steps):
    spec = {"loss": "quadratic", "learning_rate": 0.5, "init": {"scheme": "normal", "output_bias": 12.0}}
    trained = network({**spec, "epochs": epochs, "steps_per_epoch": steps}, images)
    learns = network({**QUADRATIC, "epochs": epochs, "steps_per_epoch": steps}, images)

    assert "plateau" in trained.codes
    assert "plateau" not in learns.codes


def constant(weight: float, bias: float) -> dict:
    return {"scheme": "constant", "weight": weight, "bias": bias}


def test_a_neuron_that_learned_at_update_1_is_not_saturated_until_its_end():
    trained = neuron(loss="quadratic", init=constant(2.0, 2.0), learning_rate=300.0)

    assert trained.curve.series["output"][1] < 0.01
    assert trained.diagnosis.findings == []


def test_a_neuron_on_its_way_up_is_not_said_to_come_down():
    trained = neuron(loss="quadratic", init=constant(-2.0, -2.0), target=1.0)

    assert trained.first.code == "output_saturated_quadratic"
    assert all("down" not in finding.statement for finding in trained.diagnosis.findings)
    assert neuron(**trained.first.cure).curve.series["output"][-1] > 0.98


@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
@pytest.mark.parametrize("bias", [2.0, 5.0])
def test_an_input_of_0_is_a_dead_input_with_either_loss(loss, bias):
    trained = neuron(loss=loss, init=constant(2.0, bias), input=0.0)

    assert trained.first.code == "dead_input"
    assert set(trained.curve.series["weight"]) == {2.0}
    assert "output_saturated_quadratic" not in trained.codes
    if trained.first.cure is not None:
        error, repaired = (each.curve.series["output"][-1] for each in (trained, neuron(**trained.first.cure)))
        assert repaired < error / 2


def test_a_neuron_whose_start_is_not_finite_blames_nothing_else():
    trained = neuron(input=1e300, init=constant(1e300, 0.9), epochs=5)

    assert trained.codes == ["start_not_finite"]
    assert "nan" not in trained.first.statement
    assert (
        neuron(**trained.first.cure).diagnosis.findings == []
        or "start_not_finite" not in neuron(**trained.first.cure).codes
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"learning_rate": 0.001}, "learning_rate_small"),
        ({"epochs": 5}, "too_few_updates"),
        ({"target": 0.5, "learning_rate": 300.0}, "learning_rate_large"),
        ({"init": constant(2.0, 2.0)}, "output_saturated_quadratic"),
        ({"init": constant(1000.0, 0.0)}, "output_saturated_quadratic"),
    ],
)
def test_a_neurons_cause_is_exact_and_its_try_reaches_the_target(fields, code):
    trained = neuron(loss="quadratic", **fields)
    tried = neuron(**trained.first.cure)

    assert (trained.first.code, trained.first.confidence) == (code, "certain")
    start, end = tried.curve.series["output"][0], tried.curve.series["output"][-1]
    assert abs(end - tried.spec.target) < 0.11 * abs(start - tried.spec.target)
    assert own_fields(trained.spec) != trained.first.cure
    says_no_more_than_is_shown(trained)


def test_a_neuron_that_diverged_has_a_try_that_learns():
    trained = neuron(learning_rate=1e308, init=constant(-2.0, -2.0), target=1.0, input=1e5)

    assert trained.codes[0] == "diverged"
    assert neuron(**trained.first.cure).diagnosis.findings == [] or "diverged" not in neuron(**trained.first.cure).codes
