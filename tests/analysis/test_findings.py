"""From figures to findings: each has its epochs, its figures, and a cure that is a spec."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from costcurve.analysis.diagnosis import Compared, compare
from costcurve.analysis.diagnosis.findings import Diagnosis
from costcurve.analysis.diagnosis.network import diagnose_network
from costcurve.analysis.diagnosis.neuron import diagnose_neuron
from costcurve.analysis.diagnosis.neuron_course import peak_output
from costcurve.analysis.diagnosis.training_course import NetworkCourse, longest
from costcurve.core.curve import Curve
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec, Spec

any_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)

# A network that learns well, as figures of the article's have it.
SOUND = {
    "accuracy": 0.955,
    "least_class_accuracy": 0.9,
    "saturated_fraction.1": 0.85,
    "mean_sigmoid_prime.1": 0.04,
    "gradient_norm.1": 0.01,
    "update_ratio.1": 2e-4,
    "saturated_fraction.2": 0.3,
    "mean_sigmoid_prime.2": 0.09,
    "gradient_norm.2": 0.01,
    "update_ratio.2": 6e-4,
    "distinct_units.1": 30.0,
    "output_delta.quadratic": 0.002,
    "output_delta.cross_entropy": 0.02,
    "output_gradient_norm.quadratic": 0.008,
    "output_gradient_norm.cross_entropy": 0.08,
    "slowdown_factor": 9.0,
}
STUCK = {
    "slowdown_factor": 70.0,
    "output_delta.quadratic": 0.0015,
    "output_delta.cross_entropy": 0.105,
    "output_gradient_norm.quadratic": 0.01,
    "output_gradient_norm.cross_entropy": 3.0,
    "accuracy": 0.09,
}
HIDDEN = {"mean_sigmoid_prime.1": 0.004, "update_ratio.1": 6e-6, "saturated_fraction.1": 0.96}


def network(spec: dict, *epochs: dict, start: dict | None = None, is_over: bool = True) -> NetworkCourse:
    curve = Curve()
    for epoch in epochs:
        point = {**SOUND, **epoch}
        curve.append({**point, "correct": 10_000 * point["accuracy"]})
    start = {**SOUND, **(start or {})}
    given = MnistSpec.model_validate({"experiment": "mnist", "epochs": 30, **spec})
    return NetworkCourse.of(given, start, curve, is_over=is_over)


def neuron(spec: dict, *outputs: float) -> Diagnosis:
    given = NeuronSpec.model_validate({"experiment": "neuron", **spec})
    slopes = [a * (1 - a) for a in outputs]
    halves = len(outputs) // 2
    whole = Curve(0, {"output": list(outputs), "sigmoid_prime": slopes})
    return diagnose_neuron(given, [whole.between(0, halves - 1), whole.between(halves, len(outputs))])


def by_code(diagnosis: Diagnosis) -> dict:
    assert len({finding.code for finding in diagnosis.findings}) == len(diagnosis.findings)
    for finding in diagnosis.findings:
        if finding.cure is not None:
            any_spec.validate_python(finding.cure)
    return {finding.code: finding for finding in diagnosis.findings}


def test_outputs_that_are_saturated_where_they_are_wrong_are_named_with_their_epochs_and_the_other_losss_gradient():
    course = network({"loss": "quadratic"}, STUCK, {**STUCK, "accuracy": 0.1}, STUCK, {}, start=STUCK)
    finding = by_code(diagnosis := diagnose_network(course))["output_saturated_quadratic"]

    assert "From epoch 0 to epoch 2" in diagnosis.summary
    assert (finding.evidence["from_epoch"], finding.evidence["to_epoch"], finding.evidence["has_ended"]) == (0, 2, True)
    assert finding.evidence["slowdown_factor"] == pytest.approx(70)
    assert finding.evidence["output_gradient_norm"] == pytest.approx({"quadratic": 0.01, "cross_entropy": 3.0})
    assert "gradient was 0.01; with cross-entropy it would have been 3." in finding.statement
    assert finding.cure["loss"] == "cross_entropy"
    assert {change.field for change in finding.repair.changes} == {"loss", "learning_rate", "effective_learning_rate"}
    assert any_spec.validate_python(finding.repair.isolate).effective_learning_rate == 3.0


def test_a_quadratic_delta_that_is_too_small_for_a_number_makes_the_factor_infinite_and_no_defect():
    underflow = {**STUCK, "slowdown_factor": math.inf, "output_delta.quadratic": 0.0}
    course = network({"loss": "quadratic"}, underflow, underflow, start=underflow)
    finding = by_code(diagnose_network(course))["output_saturated_quadratic"]

    assert finding.evidence["slowdown_factor"] == math.inf
    assert "∞ times as much" in finding.statement


@pytest.mark.parametrize(("is_over", "said"), [(True, "to the end"), (False, "up to now, epoch 1,")])
def test_a_stretch_that_has_not_ended_is_named_as_such(is_over, said):
    course = network({"loss": "quadratic"}, STUCK, STUCK, start=STUCK, is_over=is_over)
    finding = by_code(diagnose_network(course))["output_saturated_quadratic"]

    assert said in finding.headline
    assert not finding.evidence["has_ended"]


def test_the_same_figures_under_cross_entropy_are_no_fault_of_the_loss():
    course = network({"loss": "cross_entropy"}, STUCK, {}, start=STUCK)

    assert "output_saturated_quadratic" not in by_code(diagnose_network(course))


@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
def test_a_slow_hidden_layer_is_named_with_either_loss_and_its_try_is_a_smaller_init(loss):
    init = {"scheme": "normal", "std": [10.0, 1.0], "output_bias": 1.5}
    course = network({"loss": loss, "init": init}, {"accuracy": 0.8}, {"accuracy": 0.85}, start=HIDDEN)
    finding = by_code(diagnose_network(course))["hidden_layer_slow"]

    assert finding.evidence["layer"] == 1
    assert finding.evidence["expected_accuracy"] > 0.9
    assert "Hidden layer 1" in finding.headline
    assert finding.cure["init"]["scheme"] in ("scaled_normal", "xavier")
    assert finding.cure["init"]["output_bias"] == 1.5
    assert any_spec.validate_python(finding.cure).loss == loss


def test_a_hidden_layer_that_starts_saturated_in_a_network_that_learns_well_is_not_named():
    assert "hidden_layer_slow" not in by_code(diagnose_network(network({}, {}, {}, start=HIDDEN)))


def test_a_job_of_a_version_without_the_least_class_has_no_lost_class_and_one_with_it_has():
    spec, losing = {"loss": "quadratic"}, {"accuracy": 0.8, "slowdown_factor": 11.0}
    course = network(spec, *[{**losing, "least_class_accuracy": 0.02}] * 5)
    older = [
        {name: value for name, value in point.items() if name != "least_class_accuracy"} for point in course.points
    ]

    assert by_code(diagnose_network(course))["lost_class"].evidence["from_epoch"] == 0
    assert "lost_class" not in by_code(diagnose_network(NetworkCourse(course.spec, course.start, older, True)))


def test_a_finding_explains_a_gap_and_a_cause_that_comes_first_hides_its_effects():
    course = network({"loss": "quadratic", "layers": [784, 4, 10], "learning_rate": 300.0}, *[{"accuracy": 0.4}] * 5)
    causes = [each for each in diagnose_network(course).findings if each.severity != "info" and each.code != "plateau"]

    assert [each.code for each in causes] == ["layer_too_narrow"]
    assert causes[0].confidence == "high"


def test_a_training_that_has_just_begun_is_not_judged_by_its_accuracy():
    spec = {"learning_rate": 0.01, "steps_per_epoch": 100, "epochs": 100}
    begun = diagnose_network(network(spec, {"accuracy": 0.2}, is_over=False))
    later = diagnose_network(network(spec, *[{"accuracy": 0.2}] * 10, is_over=False))

    assert "learning_rate_small" not in by_code(begun)
    assert "learning_rate_small" in by_code(later)


def test_a_gap_without_a_known_cause_is_stated_as_such():
    diagnosis = diagnose_network(network({"learning_rate": 2.0}, {"accuracy": 0.88}))

    assert diagnosis.findings == []
    assert diagnosis.summary.startswith(
        "No cause was found. The accuracy is 88.0% after 5,000 updates, where about 92%"
    )


def test_a_plateau_is_where_nothing_is_added_while_there_is_something_to_learn():
    accuracies = [0.3, 0.5, 0.505, 0.495, 0.509, 0.7, 0.9, 0.901, 0.902, 0.955]
    finding = by_code(diagnose_network(network({}, *[{"accuracy": each} for each in accuracies])))["plateau"]

    assert (finding.evidence["from_epoch"], finding.evidence["to_epoch"]) == (1, 4)
    assert finding.evidence["best_accuracy"] == {"first": 0.5, "last": 0.509}


@pytest.mark.parametrize("accuracies", [[0.9] * 9, [0.2, 0.3, 0.4, 0.5, 0.6], [0.1]])
def test_a_network_that_has_learned_or_goes_on_learning_lies_on_no_plateau(accuracies):
    assert "plateau" not in by_code(diagnose_network(network({}, *[{"accuracy": each} for each in accuracies])))


def test_units_that_stay_alike_are_counted_as_what_they_are():
    finding = by_code(
        diagnose_network(network({"init": "zeros"}, {"distinct_units.1": 1.0}, start={"distinct_units.1": 1.0}))
    )["symmetric_init"]

    assert finding.severity == "warning"
    assert (finding.evidence["units"], finding.evidence["effective_units"]) == (30, 1)
    assert finding.cure["init"] in ("scaled_normal", "xavier")
    one_unit = network({"layers": [784, 1, 10]}, {"distinct_units.1": 1.0})
    assert "symmetric_init" not in by_code(diagnose_network(one_unit))


def test_a_start_that_is_not_badly_wrong_says_that_the_loss_does_not_matter_and_one_that_is_does_not():
    sound = by_code(diagnose_network(network({"loss": "quadratic"}, {}, {})))
    wrong = by_code(diagnose_network(network({"loss": "cross_entropy"}, {}, {}, start=STUCK)))

    assert list(sound) == ["loss_makes_no_difference"]
    assert sound["loss_makes_no_difference"].cure["loss"] == "cross_entropy"
    assert list(wrong) == ["saturated_but_learning"]
    assert wrong["saturated_but_learning"].evidence["slowdown_factor_at_start"] == 70.0


def test_saturated_outputs_that_go_on_learning_are_the_articles_third_remark():
    epochs = [{"saturated_fraction.2": 0.8, "accuracy": accuracy} for accuracy in (0.9, 0.93, 0.955)]
    finding = by_code(diagnose_network(network({}, {}, *epochs)))["saturated_but_learning"]

    assert (finding.evidence["from_epoch"], finding.evidence["to_epoch"]) == (1, 3)
    assert "saturated_but_learning" not in by_code(diagnose_network(network({"loss": "quadratic"}, *epochs)))
    assert "saturated_but_learning" not in by_code(diagnose_network(network({}, epochs[0], epochs[0])))


def test_a_training_of_which_nothing_is_recorded_says_so():
    assert "no epoch has ended" in diagnose_network(NetworkCourse(network({}).spec, None, [], False)).summary


def test_a_network_whose_start_is_not_known_and_that_learns_well_has_nothing_to_say():
    course = network({"loss": "quadratic"}, {}, {})
    diagnosis = diagnose_network(NetworkCourse(course.spec, None, course.points, True))

    assert diagnosis.findings == []
    assert diagnosis.summary.startswith("Nothing stands out: the best accuracy is 95.50%")


@given(target=st.floats(0, 1), output=st.floats(0.001, 0.999))
def test_the_quadratic_gradient_peaks_where_it_is_said_to(target, output):
    peak = peak_output(target, output)

    def gradient(a: float) -> float:
        return abs((a - target) * a * (1 - a))

    low, high = (target, 1.0) if output >= target else (0.0, target)
    assert low <= peak <= high
    assert all(gradient(low + (high - low) * part / 200) <= gradient(peak) + 1e-12 for part in range(201))


def test_the_articles_peak_is_at_two_thirds():
    assert peak_output(0.0, 0.98) == pytest.approx(2 / 3)
    assert peak_output(1.0, 0.02) == pytest.approx(1 / 3)


def test_a_neuron_that_crawls_is_saturated_and_on_a_plateau_that_ends_at_half_the_peak():
    outputs = [0.98, 0.97, 0.96, 0.94, 0.9, 0.8, 0.6, 0.3]
    findings = by_code(neuron({"loss": "quadratic"}, *outputs))

    saturated, plateau = findings["output_saturated_quadratic"].evidence, findings["plateau"].evidence
    assert (saturated["from_update"], saturated["to_update"], saturated["has_ended"]) == (0, 2, True)
    assert saturated["gradient"]["cross_entropy"] / saturated["gradient"]["quadratic"] == pytest.approx(
        saturated["slowdown_factor"]
    )
    # a² (1 − a) is 4/27 at the peak, and 0.081 at 0.9: the first with more than half of it.
    assert (plateau["to_update"], plateau["peak_update"]) == (4, 6)
    assert findings["output_saturated_quadratic"].cure["loss"] == "cross_entropy"


def test_a_neuron_that_learns_at_once_has_nothing_to_say_and_says_so():
    diagnosis = neuron({"loss": "quadratic"}, 0.82, 0.7, 0.5, 0.2)

    assert diagnosis.findings == []
    assert diagnosis.summary.startswith("Nothing stands out")
    assert "6.78" in diagnosis.summary


def test_a_neuron_that_cannot_move_is_on_its_plateau_to_the_latest_update():
    diagnosis = neuron({"loss": "quadratic"}, 1.0, 1.0, 1.0)
    findings = by_code(diagnosis)

    assert findings["output_saturated_quadratic"].evidence["slowdown_factor"] == math.inf
    assert all(not finding.evidence["has_ended"] for finding in findings.values())
    assert "From update 0 to the latest, update 2, the output is saturated" in diagnosis.summary
    assert "∞" in neuron({"loss": "cross_entropy"}, 1.0, 1.0).summary


def test_cross_entropy_keeps_a_saturated_neuron_learning():
    assert list(by_code(neuron({"loss": "cross_entropy"}, 0.98, 0.9, 0.4))) == ["saturated_but_learning"]
    assert list(by_code(neuron({"loss": "cross_entropy"}, 0.98, 0.9, 0.8))) == []


def test_an_output_that_is_saturated_where_it_is_right_is_no_fault():
    assert neuron({"loss": "quadratic", "target": 1.0}, 0.98, 0.985).findings == []


def test_a_neuron_that_was_never_trained_has_no_diagnosis():
    assert "not been trained" in diagnose_neuron(NeuronSpec(experiment="neuron"), []).summary


@pytest.mark.parametrize(
    ("flags", "stretch"),
    [([], None), ([False], None), ([True, True, False, True], (0, 1)), ([False, True, True], (1, 2))],
)
def test_the_longest_stretch(flags, stretch):
    found = longest(flags)
    assert (None if found is None else (found.first, found.last)) == stretch


def compared(name: str, course: NetworkCourse) -> Compared:
    return Compared(name, course.spec, course)


def test_two_losses_that_do_as_well_are_said_to_and_that_their_rates_are_not_the_same():
    jobs = [
        compared("job_q", network({"loss": "quadratic"}, {}, {"accuracy": 0.955})),
        compared("job_c", network({"loss": "cross_entropy"}, {}, {"accuracy": 0.951})),
    ]
    findings = by_code(diagnosis := compare(jobs))

    assert list(findings) == ["loss_and_rate_make_no_difference", "learning_rate_not_comparable"]
    assert "The loss and its rate make no difference here" in diagnosis.summary
    assert "The loss is not all that differs" in findings["loss_and_rate_make_no_difference"].statement
    rates = findings["learning_rate_not_comparable"]
    assert rates.evidence["effective_learning_rate"] == [3.0, pytest.approx(0.3)]
    assert any_spec.validate_python(rates.cure).effective_learning_rate == pytest.approx(0.3)


def test_a_loss_that_cures_a_bad_start_is_said_to_make_the_difference():
    learns, stands = [{}, {}, {}, {}], [STUCK, STUCK, STUCK, {}]
    jobs = [
        compared("job_c", network({"loss": "cross_entropy", "reduction": "sum_outputs"}, *learns, start=STUCK)),
        compared("job_q", network({"loss": "quadratic"}, *stands, start=STUCK)),
    ]
    finding = by_code(compare(jobs))["loss_makes_the_difference"]
    assert "The loss alone differs" in finding.statement

    assert finding.evidence["epoch_of_90_percent"] == {"quadratic": 3, "cross_entropy": 0}
    assert finding.evidence["epochs_stuck"] == [0, 2]
    assert finding.evidence["jobs"] == ["job_q", "job_c"]


def test_of_networks_that_differ_in_more_than_the_loss_no_cause_is_named():
    jobs = [
        compared("job_q", network({"loss": "quadratic"}, {}, {})),
        compared("job_c", network({"loss": "cross_entropy", "seed": 1, "reduction": "sum_outputs"}, {}, {})),
    ]

    assert compare(jobs) == Diagnosis("Nothing stands out between these jobs.", [])
