"""What a sweep comes to: which jobs, with which specs and seeds, and how what cannot be one is refused."""

from itertools import product
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from costcurve.core.errors import InvalidRequest
from costcurve.core.initializers import ConstantInit, NormalInit
from costcurve.core.spec import MAX_SEED
from costcurve.core.submission import Submission
from costcurve.core.sweep import MAX_SWEEP_JOBS, PlannedJob, SweepSubmission, planned
from costcurve.core.validation import field_errors

NEURON = {"experiment": "neuron"}
MNIST = {"experiment": "mnist"}


def jobs_of(**sweep: object) -> list[PlannedJob]:
    return planned(SweepSubmission.model_validate(sweep))


def refused(**sweep: object) -> dict[str, str]:
    """Each bad field, and what is wrong with it."""
    with pytest.raises(InvalidRequest) as caught:
        jobs_of(**sweep)
    errors = {error.pointer: error.message for error in caught.value.errors}
    assert len(errors) == len(caught.value.errors), "a field is named twice"
    return errors


def test_a_sweep_has_a_job_for_each_cell_and_each_repeat():
    found = jobs_of(
        spec={**NEURON, "seed": 7}, grid={"loss": ["quadratic", "cross_entropy"], "epochs": [5, 6]}, repeats=2
    )

    assert [
        (job.cell, job.repeat, job.submission.spec.loss, job.submission.spec.epochs, job.submission.spec.seed)
        for job in found
    ] == [
        (0, 0, "quadratic", 5, 7),
        (1, 0, "quadratic", 6, 7),
        (2, 0, "cross_entropy", 5, 7),
        (3, 0, "cross_entropy", 6, 7),
        (0, 1, "quadratic", 5, 8),
        (1, 1, "quadratic", 6, 8),
        (2, 1, "cross_entropy", 5, 8),
        (3, 1, "cross_entropy", 6, 8),
    ]


VALUES = {
    "loss": st.sampled_from(["quadratic", "cross_entropy"]),
    "epochs": st.integers(1, 1_000_000),
    "learning_rate": st.floats(1e-6, 1e6),
    "target": st.floats(0, 1),
    "input": st.floats(-10, 10),
}
grids = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.lists(VALUES[name], min_size=1, max_size=4, unique=True) for name in names}
    )
)


@given(grid=grids, repeats=st.integers(1, 4), seed=st.integers(0, MAX_SEED - 3))
def test_the_grid_expands_to_exactly_the_product(grid, repeats, seed):
    found = jobs_of(spec={**NEURON, "seed": seed}, grid=grid, repeats=repeats)

    expected = [
        Submission.model_validate({"spec": {**NEURON, **dict(zip(grid, values, strict=True)), "seed": seed + repeat}})
        for repeat in range(repeats)
        for values in product(*grid.values())
    ]
    assert [job.submission for job in found] == expected
    assert {(job.cell, job.repeat) for job in found} == set(product(range(len(expected) // repeats), range(repeats)))
    assert len({job.submission.spec for job in found}) == len(found)


def test_an_empty_grid_is_one_cell():
    assert [(job.cell, job.repeat, job.submission.spec.seed) for job in jobs_of(spec=NEURON, repeats=3)] == [
        (0, 0, 0),
        (0, 1, 1),
        (0, 2, 2),
    ]


def test_an_init_is_swept_by_name_and_by_its_figures():
    inits = ["normal", {"scheme": "normal", "output_bias": 10}, {"scheme": "constant", "weight": 2, "bias": 2}]

    assert [job.submission.spec.init for job in jobs_of(spec=NEURON, grid={"init": inits})] == [
        NormalInit(),
        NormalInit(output_bias=10.0),
        ConstantInit(weight=2.0, bias=2.0),
    ]


def test_a_preset_is_the_start_and_the_grid_overrides_preset_and_spec():
    found = jobs_of(
        preset="mnist-biased-quadratic",
        spec={"epochs": 3, "batch_size": 20},
        grid={"loss": ["cross_entropy"], "epochs": [4]},
    )
    spec = found[0].submission.spec

    assert (spec.loss, spec.epochs, spec.batch_size, spec.init) == (
        "cross_entropy",
        4,
        20,
        NormalInit(output_bias=10.0),
    )
    # What follows from a swept field follows in each cell.
    assert (spec.reduction, spec.effective_learning_rate) == ("mean_outputs", 0.3)


def test_the_jobs_run_where_and_when_the_sweep_says():
    place = {"name": "n", "tags": {"a": "b"}, "priority": 7, "max_runtime_seconds": 9.0, "engine": "fused_cpu"}
    found = jobs_of(spec={"experiment": "mnist"}, grid={"loss": ["quadratic"]}, repeats=2, **place)

    expected = Submission.model_validate({"spec": {"experiment": "mnist", "loss": "quadratic"}, **place})
    assert found[0].submission == expected
    assert expected.device == found[1].submission.device == "cpu"
    assert found[1].submission == expected.model_copy(update={"spec": expected.spec.model_copy(update={"seed": 1})})


@pytest.mark.parametrize(
    ("sweep", "pointers"),
    [
        (
            {"spec": NEURON, "grid": {"learning_rate": [0.1, -1, 0.2, 0]}},
            ["/grid/learning_rate/1", "/grid/learning_rate/3"],
        ),
        (
            {"spec": NEURON, "grid": {"loss": ["quadratic", "hinge"], "epochs": [1, 2, "3"]}},
            ["/grid/loss/1", "/grid/epochs/2"],
        ),
        ({"spec": NEURON, "grid": {"init": ["normal", "wide"]}}, ["/grid/init/1"]),
        ({"spec": NEURON, "grid": {"init": [{"scheme": "normal", "std": [1.0, 1.0]}]}}, ["/grid/init/0/std"]),
        ({"spec": NEURON, "grid": {"init": [{"scheme": "normal", "width": 1}]}}, ["/grid/init/0/width"]),
        ({"spec": NEURON, "grid": {"momentum": [0.9, 0.99]}}, ["/grid/momentum"]),
        ({"spec": NEURON, "grid": {"layers": [[784, 10]]}}, ["/grid/layers"]),
        ({"preset": "neuron-good-start", "grid": {"batch_size": [1]}}, ["/grid/batch_size"]),
        ({"spec": NEURON, "grid": {"a/b~": [1]}}, ["/grid/a~1b~0"]),
        ({"spec": {}, "grid": {"experiment": ["neuron", "mnist"]}}, ["/grid/experiment"]),
        ({"spec": NEURON, "grid": {"effective_learning_rate": [0.1]}}, ["/grid/effective_learning_rate"]),
        (
            {"spec": MNIST, "grid": {"layers": [[784, 10], [784, 9], [784, 30, 9]]}},
            ["/grid/layers/1/1", "/grid/layers/2/2"],
        ),
        # What a cell has from all cells' spec is named there, and once.
        ({"spec": {**NEURON, "epochs": 0, "x": 1}, "grid": {"learning_rate": [0.1, 0.2]}}, ["/spec/epochs", "/spec/x"]),
        ({"spec": {"experiment": "cats"}, "grid": {"loss": ["quadratic", "hinge"]}}, ["/spec/experiment"]),
        ({"spec": {"experiment": []}, "grid": {"batch_size": [1]}}, ["/spec/experiment"]),
        ({"grid": {"loss": ["quadratic"]}}, ["/spec/experiment"]),
        ({"preset": "cats", "grid": {"loss": ["quadratic"]}}, ["/preset"]),
        # Two fields that do not go together.
        (
            {
                "spec": MNIST,
                "grid": {"loss": ["quadratic", "cross_entropy"], "reduction": ["sum_outputs", "mean_outputs"]},
            },
            ["/grid/reduction/1"],
        ),
        ({"spec": {**MNIST, "epochs": 10_000}, "grid": {"steps_per_epoch": [1, 20_000]}}, ["/spec/epochs"]),
        ({"spec": NEURON, "engine": "fused_cpu", "grid": {"loss": ["quadratic", "cross_entropy"]}}, ["/engine"]),
        # Values that are the same job.
        (
            {"spec": NEURON, "grid": {"learning_rate": [1, 0.5, 1.0, 0.5], "epochs": [1, 2]}},
            ["/grid/learning_rate/2", "/grid/learning_rate/3"],
        ),
        ({"spec": NEURON, "grid": {"epochs": [1, 2], "init": ["normal", {"scheme": "normal"}]}}, ["/grid/init/1"]),
        # Seeds.
        ({"spec": NEURON, "grid": {"seed": [1, 2]}, "repeats": 2}, ["/repeats"]),
        ({"spec": {**NEURON, "seed": MAX_SEED}, "repeats": 2}, ["/repeats"]),
    ],
)
def test_what_makes_no_sweep_is_refused_and_each_bad_field_is_named_once(sweep, pointers):
    assert sorted(refused(**sweep)) == sorted(pointers)


def test_seeds_are_swept_without_repeats():
    assert [job.submission.spec.seed for job in jobs_of(spec=NEURON, grid={"seed": [3, 1]})] == [3, 1]
    assert jobs_of(spec={**NEURON, "seed": MAX_SEED - 1}, repeats=2)[1].submission.spec.seed == MAX_SEED


@pytest.mark.parametrize(
    ("sweep", "pointer"),
    [
        ({"grid": {"loss": []}}, "/grid/loss"),
        ({"grid": {"loss": "quadratic"}}, "/grid/loss"),
        ({"grid": [1]}, "/grid"),
        ({"repeats": 0}, "/repeats"),
        ({"repeats": 1.5}, "/repeats"),
        ({"repeats": MAX_SWEEP_JOBS + 1}, "/repeats"),
        ({"spec": None}, "/spec"),
        ({"engine": "gpu"}, "/engine"),
        ({"priority": 101}, "/priority"),
        ({"tags": {"a:b": "c"}}, "/tags/a:b"),
        ({"cells": 3}, "/cells"),
    ],
)
def test_what_is_no_sweep_by_its_form_is_refused(sweep, pointer):
    with pytest.raises(ValidationError) as caught:
        SweepSubmission.model_validate({"spec": NEURON, **sweep})
    assert [error.pointer for error in field_errors(caught.value.errors())] == [pointer]


def test_a_sweep_has_at_most_5000_jobs_and_the_refusal_says_so():
    rates = [rate / 1000 for rate in range(1, 2501)]

    assert len(jobs_of(spec=NEURON, grid={"learning_rate": rates}, repeats=2)) == MAX_SWEEP_JOBS == 5000
    message = refused(spec=NEURON, grid={"learning_rate": rates, "epochs": [1, 2, 3]}, repeats=2)["/grid"]
    assert message == "7,500 cells × 2 repeats are 15,000 jobs; a sweep may have at most 5,000"
    # However many they would be, none is made.
    started = process_time()
    assert list(refused(spec=NEURON, grid={name: [*range(1000)] for name in ("epochs", "input", "target")})) == [
        "/grid"
    ]
    assert process_time() - started < 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss", "\ud800"),
        ("loss", "hinge"),
        ("learning_rate", float("nan")),
        ("learning_rate", -5),
        ("epochs", "1"),
        ("input", float("inf")),
        ("init", {"scheme": {"a": {"b": []}}}),
        ("init", {"scheme": "normal", "\ud800": 1}),
        ("target", None),
    ],
)
def test_a_shared_value_that_the_grid_overrides_must_be_legal_all_the_same(field, value):
    legal = {"loss": "quadratic", "learning_rate": 0.1, "epochs": 1, "input": 1.0, "init": "zeros", "target": 1.0}

    [pointer] = refused(spec={**NEURON, field: value}, grid={field: [legal[field]]})
    assert pointer.startswith(f"/spec/{field}")


@pytest.mark.parametrize(
    ("shared", "grid"),
    [
        ({"reduction": "mean_outputs"}, {"reduction": ["sum_outputs"], "loss": ["quadratic"]}),
        ({"layers": [784, 10], "init": {"scheme": "normal", "std": [1.0]}}, {"init": ["normal", "zeros"]}),
        ({"steps_per_epoch": 1, "epochs": 10_000}, {"epochs": [1], "loss": ["quadratic"]}),
    ],
)
def test_a_legal_shared_value_that_the_grid_overrides_need_not_fit_the_other_fields(shared, grid):
    assert jobs_of(spec={**MNIST, **shared}, grid=grid)


def test_variants_are_cells_of_their_own_over_the_shared_spec():
    variants = [{}, {"loss": "cross_entropy"}, {"learning_rate": 0.5, "epochs": 9}]
    sweep = SweepSubmission.model_validate({"spec": {**NEURON, "loss": "quadratic"}, "variants": variants})

    assert [(job.submission.spec.loss, job.submission.spec.learning_rate) for job in planned(sweep)] == [
        ("quadratic", 0.15),
        ("cross_entropy", 0.15),
        ("quadratic", 0.5),
    ]
    assert (sweep.cells, sweep.grid_cells, sweep.varied) == (3, 0, ("loss", "learning_rate", "epochs"))
    assert [sweep.settings(cell) for cell in range(3)] == variants


def test_variants_come_after_the_cells_of_a_grid_and_do_not_combine_with_it():
    sweep = SweepSubmission.model_validate(
        {"spec": NEURON, "grid": {"epochs": [5, 6]}, "variants": [{"learning_rate": 0.5}], "repeats": 2}
    )

    found = [(job.cell, job.repeat, job.submission.spec) for job in planned(sweep)]
    assert [(cell, repeat, spec.epochs, spec.learning_rate, spec.seed) for cell, repeat, spec in found] == [
        (0, 0, 5, 0.15, 0),
        (1, 0, 6, 0.15, 0),
        (2, 0, 300, 0.5, 0),
        (0, 1, 5, 0.15, 1),
        (1, 1, 6, 0.15, 1),
        (2, 1, 300, 0.5, 1),
    ]
    assert [sweep.settings(cell) for cell in range(3)] == [{"epochs": 5}, {"epochs": 6}, {"learning_rate": 0.5}]


def test_what_follows_from_a_field_of_a_variant_follows_in_its_cell():
    found = jobs_of(spec={**MNIST, "loss": "quadratic"}, variants=[{}, {"loss": "cross_entropy"}])

    assert [job.submission.spec.reduction for job in found] == ["sum_outputs", "mean_outputs"]


@pytest.mark.parametrize(
    ("sweep", "pointers"),
    [
        (
            {"spec": NEURON, "variants": [{"learning_rate": -1}, {"epochs": 0}]},
            ["/variants/0/learning_rate", "/variants/1/epochs"],
        ),
        (
            {"spec": NEURON, "variants": [{"momentum": 1}, {"layers": [784, 10]}]},
            ["/variants/0/momentum", "/variants/1/layers"],
        ),
        ({"spec": NEURON, "variants": [{"experiment": "mnist"}]}, ["/variants/0/experiment"]),
        ({"spec": NEURON, "variants": [{"init": {"scheme": "normal", "std": "a"}}]}, ["/variants/0/init/std"]),
        ({"spec": {**NEURON, "epochs": 0}, "variants": [{}, {"loss": "quadratic"}]}, ["/spec/epochs"]),
        # A shared value that every cell overrides must be valid, too.
        ({"spec": {**NEURON, "epochs": 0}, "variants": [{"epochs": 1}, {"epochs": 2}]}, ["/spec/epochs"]),
        ({"spec": {**NEURON, "epochs": 0}, "variants": [{"epochs": 1}], "grid": {"epochs": [2]}}, ["/spec/epochs"]),
        ({"spec": NEURON, "variants": [{"seed": 1}], "repeats": 2}, ["/repeats"]),
        (
            {"spec": NEURON, "variants": [{}, {"epochs": 300}, {"epochs": 7}, {"epochs": 7}]},
            ["/variants/1", "/variants/3"],
        ),
        ({"spec": NEURON, "grid": {"epochs": [1, 2]}, "variants": [{"epochs": 2}]}, ["/variants/0"]),
        ({"spec": NEURON, "variants": [{}, {"epochs": 1}], "repeats": 2501}, ["/variants"]),
    ],
)
def test_a_variant_that_makes_no_cell_is_refused_by_its_place(sweep, pointers):
    assert sorted(refused(**sweep)) == sorted(pointers)


def test_a_variant_that_is_a_cell_of_the_grid_is_named_with_that_cell():
    message = refused(spec=NEURON, grid={"epochs": [1, 2]}, variants=[{"epochs": 2}])["/variants/0"]
    assert message == "is the same as cell 1 of the grid"


@pytest.mark.parametrize("variants", [{}, [1], [[]], "loss"])
def test_variants_are_a_list_of_objects(variants):
    with pytest.raises(ValidationError) as caught:
        SweepSubmission.model_validate({"spec": NEURON, "variants": variants})
    assert all(error.pointer.startswith("/variants") for error in field_errors(caught.value.errors()))
