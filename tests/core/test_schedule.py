"""Schedules of specs: how they are resolved, what is refused, and that a spec without one is what it was."""

import pytest
from pydantic import ValidationError

from costcurve.core.presets import PRESETS
from costcurve.core.schedule import MAX_CHANGES, schedule_text
from costcurve.core.spec import canonical_json, phase_at, phases_of, restored, spec_hash
from costcurve.core.spec_diff import differences, own_fields
from costcurve.core.submission import Submission
from costcurve.core.validation import field_errors

RESCUED = {"experiment": "mnist", "loss": "quadratic", "epochs": 10}


def resolved(*schedule: dict, **fields):
    return Submission.model_validate({"spec": {**RESCUED, **fields, "schedule": schedule}}).spec


def refused(schedule, **fields) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Submission.model_validate({"spec": {**RESCUED, **fields, "schedule": schedule}})
    return {error.pointer: error.message for error in field_errors(caught.value.errors())}


def test_a_change_is_resolved_from_the_values_before_it_and_the_reduction_follows_the_loss():
    spec = resolved({"from_epoch": 5, "loss": "cross_entropy"}, {"from_epoch": 7, "learning_rate": 1})

    assert [change.model_dump() for change in spec.schedule] == [
        {
            "from_epoch": 5,
            "loss": "cross_entropy",
            "reduction": "mean_outputs",
            "learning_rate": 3.0,
            "effective_learning_rate": 0.3,
        },
        {
            "from_epoch": 7,
            "loss": "cross_entropy",
            "reduction": "mean_outputs",
            "learning_rate": 1.0,
            "effective_learning_rate": 0.1,
        },
    ]


def test_the_reduction_stays_where_the_loss_does_or_where_it_is_given():
    kept = resolved({"from_epoch": 1, "learning_rate": 1}, loss="cross_entropy", reduction="sum_outputs")
    given = resolved({"from_epoch": 1, "loss": "cross_entropy", "reduction": "sum_outputs"})
    back = resolved({"from_epoch": 1, "loss": "quadratic"}, loss="cross_entropy")

    assert [spec.schedule[0].reduction for spec in (kept, given, back)] == ["sum_outputs"] * 3


def test_each_epoch_has_the_terms_of_the_last_change_before_it():
    spec = resolved({"from_epoch": 5, "loss": "cross_entropy"}, {"from_epoch": 7, "learning_rate": 1})
    start = spec.model_copy(update={"schedule": ()})

    assert list(phases_of(spec)) == [0, 5, 7]
    assert [phase_at(spec, epoch) for epoch in (0, 4)] == [start, start]
    assert [(phase.loss, phase.effective_learning_rate) for phase in (phase_at(spec, at) for at in (5, 6, 7, 9))] == [
        ("cross_entropy", 0.3),
        ("cross_entropy", 0.3),
        ("cross_entropy", 0.1),
        ("cross_entropy", 0.1),
    ]
    assert phases_of(start) == {0: start}


def test_a_neuron_changes_at_an_update():
    spec = Submission.model_validate(
        {"spec": {"experiment": "neuron", "schedule": [{"from_epoch": 299, "loss": "quadratic"}]}}
    ).spec

    assert (phase_at(spec, 298).loss, phase_at(spec, 299).loss) == ("cross_entropy", "quadratic")


@pytest.mark.parametrize(
    ("schedule", "pointer", "message"),
    [
        ([{"loss": "cross_entropy"}], "/0/from_epoch", "required"),
        ([{"from_epoch": 0, "loss": "cross_entropy"}], "/0/from_epoch", "greater than or equal to 1"),
        ([{"from_epoch": 10, "loss": "cross_entropy"}], "/0/from_epoch", "less than epochs, 10"),
        ([{"from_epoch": 5, "learning_rate": 1}] * 2, "/1/from_epoch", "more than 5"),
        ([{"from_epoch": 5}], "/0", "changes nothing"),
        ([{"from_epoch": 5, "loss": "quadratic"}], "/0", "changes nothing"),
        ([{"from_epoch": 5, "loss": "hinge"}], "/0/loss", "cross_entropy"),
        ([{"from_epoch": 5, "reduction": "mean_outputs"}], "/0/reduction", "only defined with sum_outputs"),
        ([{"from_epoch": 5, "learning_rate": 0}], "/0/learning_rate", "greater than 0"),
        ([{"from_epoch": 5, "learning_rate": 1, "effective_learning_rate": 7}], "/0/effective_learning_rate", "1.0"),
        ([{"from_epoch": 5, "momentum": 0.9}], "/0/momentum", "unknown field"),
        ([3], "/0", "must be an object"),
        ({"from_epoch": 5}, "", "must be an array"),
        (None, "", "must be an array"),
    ],
)
def test_a_wrong_change_is_named(schedule, pointer, message):
    [(at, said)] = refused(schedule).items()

    assert at == f"/spec/schedule{pointer}"
    assert message in said


def test_a_schedule_has_a_limit():
    changes = [{"from_epoch": epoch, "learning_rate": float(epoch)} for epoch in range(1, MAX_CHANGES + 2)]

    assert len(resolved(*changes[:-1], epochs=200).schedule) == MAX_CHANGES
    assert list(refused(changes, epochs=200)) == ["/spec/schedule"]


def test_a_wrong_field_before_the_schedule_is_named_alone():
    assert list(refused([{"from_epoch": 500, "loss": "cross_entropy"}], epochs=0)) == ["/spec/epochs"]


# Stored jobs, model files and checkpoints name these.
HASHES = {
    "neuron-good-start": "f35ab66a4cc01c418455712a0b9a872ee7b4b107ab190de72a19af8e0ace05f9",
    "mnist-cross-entropy": "bcdc3b506545cb0ef8f679ca6c51aacf8bf5f7d9d4833520265c173499bb21de",
}


@pytest.mark.parametrize("name", HASHES)
def test_a_spec_without_a_schedule_has_the_hash_that_it_had_before_there_were_schedules(name):
    spec = PRESETS[name].spec

    assert spec_hash(spec) == f"sha256:{HASHES[name]}"
    assert "schedule" not in canonical_json(spec)
    without = {key: value for key, value in spec.model_dump(mode="json").items() if key != "schedule"}
    assert restored(without) == spec


def test_a_spec_with_a_schedule_is_restored_from_its_json_and_has_a_hash_of_its_own():
    spec = resolved({"from_epoch": 5, "loss": "cross_entropy"})

    assert restored(spec.model_dump(mode="json")) == spec
    assert Submission.model_validate({"spec": spec.model_dump(mode="json")}).spec == spec
    assert (
        len({spec_hash(each) for each in (spec, resolved(), resolved({"from_epoch": 6, "loss": "cross_entropy"}))}) == 3
    )


def test_own_fields_of_a_change_are_those_that_a_client_must_have_set():
    spec = resolved(
        {"from_epoch": 5, "loss": "cross_entropy"}, {"from_epoch": 7, "reduction": "sum_outputs", "learning_rate": 1}
    )

    assert own_fields(spec)["schedule"] == [
        {"from_epoch": 5, "loss": "cross_entropy"},
        {"from_epoch": 7, "reduction": "sum_outputs", "learning_rate": 1.0},
    ]


def test_schedules_are_a_difference_between_specs_and_have_a_short_text():
    one, other = resolved(), resolved({"from_epoch": 5, "loss": "cross_entropy"})
    [difference] = differences([one, other])

    assert (difference.field, difference.derived) == ("schedule", False)
    assert [schedule_text(value) for value in difference.values] == [
        "none",
        "cross_entropy, mean_outputs, 3 from 5",
    ]
