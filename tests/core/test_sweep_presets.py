"""Ready sweeps: what they come to, and how their fields are overridden."""

import pytest
from pydantic import ValidationError

from costcurve.core.errors import InvalidRequest
from costcurve.core.initializers import ConstantInit, NormalInit, ScaledNormalInit
from costcurve.core.presets import PRESETS, SWEEP_PRESETS
from costcurve.core.spec import phases_of
from costcurve.core.sweep import SweepSubmission, planned
from costcurve.core.validation import field_errors


def jobs_of(**body: object) -> list:
    return [job.submission for job in planned(SweepSubmission.model_validate(body))]


def refused(**body: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        SweepSubmission.model_validate(body)
    return {error.pointer: error.message for error in field_errors(caught.value.errors())}


@pytest.mark.parametrize("name", SWEEP_PRESETS)
def test_every_ready_sweep_can_be_queued(name):
    found = jobs_of(preset=name)

    assert len({job.spec for job in found}) == len(found) > 1


def test_the_articles_neuron_starts_twice_with_both_losses_as_its_presets_do():
    found = {job.spec for job in jobs_of(preset="article-neuron")}

    assert {PRESETS[name].spec for name in PRESETS if "neuron" in name} < found
    assert len(found) == 4
    assert {spec.init for spec in found} == {ConstantInit(weight=0.6, bias=0.9), ConstantInit(weight=2, bias=2)}


def test_the_articles_network_starts_four_times_with_both_losses_and_three_seeds_as_its_presets_do():
    found = {job.spec for job in jobs_of(preset="article-mnist")}

    own_start = {"mnist-slow-quadratic", "mnist-slow-cross-entropy"}
    assert {PRESETS[name].spec for name in PRESETS if "mnist" in name and name not in own_start} < found
    assert len(found) == 24
    assert {spec.seed for spec in found} == {0, 1, 2}


def test_at_equal_rates_cross_entropy_has_the_effective_learning_rate_of_the_quadratic_loss():
    found = {job.spec for job in jobs_of(preset="article-equal-rates")}

    assert {(spec.loss, spec.effective_learning_rate) for spec in found} == {("cross_entropy", 3.0)}
    assert {spec.init for spec in found} == {NormalInit(), NormalInit(std=(10.0, 1.0))}


def test_the_rescue_curve_changes_the_loss_alone_at_each_epoch():
    *found, from_the_start = [job.spec for job in jobs_of(preset="rescue-curve", repeats=1)]

    assert [[change.from_epoch for change in spec.schedule] for spec in found] == [[epoch] for epoch in range(1, 10)]
    for spec in found:
        before, after = phases_of(spec).values()
        assert (before.loss, after.loss) == ("quadratic", "cross_entropy")
        assert before.effective_learning_rate == after.effective_learning_rate
        assert before.init == PRESETS["mnist-biased-quadratic"].spec.init
        assert from_the_start == after


def test_fields_of_spec_and_grid_override_those_of_the_sweep_one_by_one():
    found = jobs_of(preset="article-mnist", spec={"epochs": 3}, grid={"init": ["normal", "scaled_normal"]}, repeats=1)

    assert [(job.spec.init, job.spec.loss) for job in found] == [
        (init, loss) for init in (NormalInit(), ScaledNormalInit()) for loss in ("quadratic", "cross_entropy")
    ]
    assert {(job.spec.epochs, job.spec.seed) for job in found} == {(3, 0)}


def test_what_was_filled_in_is_filled_in_again_without_a_change():
    once = SweepSubmission.model_validate({"preset": "article-mnist", "spec": {"epochs": 3}, "repeats": 2})

    assert SweepSubmission.model_validate(once.model_dump()) == once


def test_a_sweep_of_that_name_must_exist():
    with pytest.raises(InvalidRequest) as caught:
        jobs_of(preset="article-of-faith")

    message = f"must be one of {', '.join([*PRESETS, *SWEEP_PRESETS])}"
    assert [(error.pointer, error.message) for error in caught.value.errors] == [("/preset", message)]
    assert set(refused(preset=["article-mnist"])) == {"/preset"}


@pytest.mark.parametrize("field", ["spec", "grid"])
def test_what_cannot_override_is_refused_by_its_name(field):
    assert set(refused(preset="article-mnist", **{field: [1]})) == {f"/{field}"}


def test_a_bad_value_that_overrides_is_named_by_where_it_was_given():
    with pytest.raises(InvalidRequest) as caught:
        jobs_of(preset="article-neuron", spec={"epochs": 0})

    assert [error.pointer for error in caught.value.errors] == ["/spec/epochs"]
