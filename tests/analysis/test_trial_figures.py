"""The figures by which trials are judged, and what is expected of a sound training."""

from statistics import fmean

import pytest

from costcurve.analysis.diagnosis.expected_accuracy import expected_accuracy
from costcurve.analysis.trial_figures import measures_of, run_of
from costcurve.core.curve import Curve
from costcurve.core.presets import PRESETS
from costcurve.core.spec import MnistSpec, NeuronSpec

SLOW, CURED = PRESETS["mnist-slow-quadratic"].spec, PRESETS["mnist-slow-cross-entropy"].spec
NETWORK = MnistSpec(experiment="mnist", epochs=4)


def accuracies(*values: float) -> Curve:
    return Curve(0, {"accuracy": list(values)})


def test_a_network_attains_what_the_better_spec_is_expected_to_reach_after_each_epoch():
    end, course = measures_of(SLOW, CURED)

    assert (end.metric, course.metric) == ("final_accuracy", "mean_accuracy")
    assert end.attainable == expected_accuracy(CURED, 150_000) > expected_accuracy(SLOW, 150_000)
    assert course.attainable == pytest.approx(fmean(expected_accuracy(CURED, 5_000 * n) for n in range(1, 31)))
    assert measures_of(CURED, SLOW) == (end, course)


def test_a_short_job_and_a_narrow_network_attain_less():
    short = measures_of(*[SLOW.model_copy(update={"epochs": 1, "steps_per_epoch": 1_000})] * 2)[0].attainable
    narrow = measures_of(*[SLOW.model_copy(update={"layers": (784, 15, 10)})] * 2)[0].attainable
    assert short < 0.88 < narrow < measures_of(SLOW, SLOW)[0].attainable < 0.95


@pytest.mark.parametrize("changes", [{"epochs": 8}, {"steps_per_epoch": 100}, {"epochs": 8, "steps_per_epoch": 2500}])
def test_courses_of_other_lengths_are_not_compared(changes):
    assert measures_of(NETWORK, NETWORK.model_copy(update=changes))[1] is None
    assert measures_of(NETWORK, NETWORK.model_copy(update={"batch_size": 20}))[1] is not None


def test_one_epoch_has_no_course():
    one = NETWORK.model_copy(update={"epochs": 1})
    assert measures_of(one, one)[1] is None


def test_a_run_has_its_accuracy_at_the_end_and_on_average():
    run = run_of(NETWORK, {"final_accuracy": 0.8}, accuracies(0.2, 0.4, 0.6, 0.8))

    assert (run.figure, run.mean) == (0.8, pytest.approx(0.5))
    assert run_of(NETWORK, {"final_accuracy": 0.8}, None).mean is None
    assert run_of(NETWORK, {"final_accuracy": 0.8}, Curve(0, {})).mean is None


def test_a_training_that_stopped_early_keeps_its_last_accuracy():
    assert run_of(NETWORK, {"final_accuracy": 0.6}, accuracies(0.2, 0.6)).mean == pytest.approx(0.5)


def test_a_neuron_has_the_distance_of_its_output_after_each_update():
    neuron = NeuronSpec(experiment="neuron", epochs=3, target=0.25)
    end, course = measures_of(neuron, neuron)

    assert [(each.metric, each.attainable, each.failed) for each in (end, course)] == [
        ("target_distance", 0.0, 0.75),
        ("mean_target_distance", 0.0, 0.75),
    ]
    # The point before the first update does not count.
    run = run_of(neuron, {"final_output": 0.05}, Curve(0, {"output": [0.9, 0.45, 0.35, 0.05]}))
    assert (run.figure, run.mean) == (pytest.approx(0.2), pytest.approx((0.2 + 0.1 + 0.2) / 3))
    assert run_of(neuron, {"final_output": 0.05}, Curve(0, {"output": [0.9, 0.45]})).mean is None
