"""What may be submitted, how it is resolved, and how a bad field is named."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from costcurve.core.estimate import estimate
from costcurve.core.presets import PRESETS
from costcurve.core.spec import canonical_json, spec_hash
from costcurve.core.submission import Submission
from costcurve.core.validation import _UNION_MEMBERS, field_errors

SCHEMES = ("normal", "scaled_normal", "xavier", "constant", "zeros")


def resolved(**spec):
    return Submission.model_validate({"spec": spec}).spec


def pointers(body) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Submission.model_validate(body)
    return [error.pointer for error in field_errors(caught.value.errors())]


def test_the_smallest_mnist_spec_shows_every_default_of_the_article():
    assert resolved(experiment="mnist").model_dump(mode="json") == {
        "experiment": "mnist",
        "loss": "cross_entropy",
        "reduction": "mean_outputs",
        "init": {"scheme": "normal", "std": 1.0, "output_bias": 0.0},
        "epochs": 30,
        "learning_rate": 3.0,
        "effective_learning_rate": 0.3,
        "layers": [784, 30, 10],
        "batch_size": 10,
        "steps_per_epoch": 5000,
        "seed": 0,
        "early_stopping": None,
        "schedule": [],
    }


def test_the_smallest_neuron_spec_shows_every_default_of_the_article():
    assert resolved(experiment="neuron").model_dump(mode="json") == {
        "experiment": "neuron",
        "loss": "cross_entropy",
        "reduction": "sum_outputs",
        "init": {"scheme": "constant", "weight": 0.6, "bias": 0.9, "output_bias": 0.0},
        "epochs": 300,
        "learning_rate": 0.15,
        "effective_learning_rate": 0.15,
        "input": 1.0,
        "target": 0.0,
        "seed": 0,
        "schedule": [],
    }


def test_a_submission_without_options_runs_anywhere_at_middle_priority():
    submission = Submission.model_validate({"spec": {"experiment": "neuron"}})

    assert (submission.device, submission.engine, submission.priority) == ("auto", "auto", 50)
    assert (submission.name, submission.tags, submission.max_runtime_seconds) == (None, {}, None)


@pytest.mark.parametrize(("engine", "device"), [("fused_cpu", "cpu"), ("packed_gpu", "cuda")])
def test_an_engine_for_one_kind_of_device_keeps_a_job_from_others(engine, device):
    for asked in ({}, {"device": "auto"}, {"device": device}):
        submission = Submission.model_validate({"spec": {"experiment": "mnist"}, "engine": engine, **asked})
        assert submission.device == device


@pytest.mark.parametrize(
    ("experiment", "engine", "device", "why"),
    [
        ("neuron", "fused_cpu", "auto", "fused_cpu trains the experiment mnist only"),
        ("neuron", "packed_gpu", "cuda", "packed_gpu trains the experiment mnist only"),
        ("mnist", "neuron_pack", "auto", "neuron_pack trains the experiment neuron only"),
        ("mnist", "fused_cpu", "cuda", "fused_cpu trains on a CPU only"),
        ("mnist", "packed_gpu", "cpu", "packed_gpu trains on CUDA devices only"),
    ],
)
def test_an_engine_that_cannot_train_it_there_is_refused(experiment, engine, device, why):
    with pytest.raises(ValidationError, match=why):
        Submission.model_validate({"spec": {"experiment": experiment}, "engine": engine, "device": device})


@pytest.mark.parametrize(
    ("experiment", "loss", "reduction", "rate"),
    [
        ("mnist", "quadratic", "sum_outputs", 3.0),
        ("mnist", "cross_entropy", "mean_outputs", 0.3),
        ("neuron", "quadratic", "sum_outputs", 0.15),
        ("neuron", "cross_entropy", "sum_outputs", 0.15),
    ],
)
def test_the_default_reduction_follows_from_experiment_and_loss(experiment, loss, reduction, rate):
    spec = resolved(experiment=experiment, loss=loss)

    assert spec.reduction == reduction
    assert spec.effective_learning_rate == pytest.approx(rate, rel=1e-15)


@pytest.mark.parametrize(("experiment", "scheme"), [*itertools.product(("mnist", "neuron"), SCHEMES)])
def test_an_init_given_by_name_is_the_init_with_its_defaults(experiment, scheme):
    assert resolved(experiment=experiment, init=scheme) == resolved(experiment=experiment, init={"scheme": scheme})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_spec_may_be_submitted_again_and_stays_the_same(preset):
    spec = PRESETS[preset].spec

    assert resolved(**spec.model_dump(mode="json")) == spec


def test_specs_that_train_the_same_thing_have_the_same_hash():
    short = resolved(experiment="mnist", init="normal", learning_rate=3)
    long = resolved(experiment="mnist", init={"scheme": "normal", "std": 1, "output_bias": -0.0}, learning_rate=3.0)

    assert spec_hash(short) == spec_hash(long)
    assert spec_hash(short) != spec_hash(resolved(experiment="mnist", seed=1))


def test_the_hash_of_the_default_spec_never_changes():
    assert canonical_json(resolved(experiment="neuron")) == (
        '{"effective_learning_rate":0.15,"epochs":300,"experiment":"neuron",'
        '"init":{"bias":0.9,"output_bias":0.0,"scheme":"constant","weight":0.6},"input":1.0,"learning_rate":0.15,'
        '"loss":"cross_entropy","reduction":"sum_outputs","seed":0,"target":0.0}'
    )
    assert spec_hash(resolved(experiment="neuron")) == (
        "sha256:b88560d77a60f658650af46620d5f7ca24859db4459d1f077892dfa85f02a2fe"
    )


MNIST = {"experiment": "mnist"}
NEURON = {"experiment": "neuron"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], ""),
        ({}, "/spec"),
        ({"spec": None}, "/spec"),
        ({"spec": 3}, "/spec"),
        ({"spec": {}}, "/spec/experiment"),
        ({"spec": {"experiment": "cifar"}}, "/spec/experiment"),
        ({"spec": {**MNIST, "loss": "hinge"}}, "/spec/loss"),
        ({"spec": {**MNIST, "loss": "quadratic", "reduction": "mean_outputs"}}, "/spec/reduction"),
        ({"spec": {**NEURON, "loss": "quadratic", "reduction": "mean_outputs"}}, "/spec/reduction"),
        ({"spec": {**MNIST, "learning_rate": math.nan}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "learning_rate": math.inf}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "learning_rate": 0}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "learning_rate": -1}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "learning_rate": True}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "learning_rate": "3"}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "learning_rate": 10**400}}, "/spec/learning_rate"),
        ({"spec": {**MNIST, "effective_learning_rate": 3.0}}, "/spec/effective_learning_rate"),
        ({"spec": {**MNIST, "epochs": True}}, "/spec/epochs"),
        ({"spec": {**MNIST, "epochs": 1.5}}, "/spec/epochs"),
        ({"spec": {**MNIST, "epochs": 0}}, "/spec/epochs"),
        ({"spec": {**MNIST, "epochs": 10_001}}, "/spec/epochs"),
        ({"spec": {**NEURON, "epochs": 1_000_001}}, "/spec/epochs"),
        ({"spec": {**MNIST, "epochs": 10_000, "steps_per_epoch": 1_000_000}}, "/spec/epochs"),
        ({"spec": {**MNIST, "seed": -1}}, "/spec/seed"),
        ({"spec": {**MNIST, "seed": 2**63}}, "/spec/seed"),
        ({"spec": {**MNIST, "layers": [783, 30, 10]}}, "/spec/layers/0"),
        ({"spec": {**MNIST, "layers": [784, 30, 11]}}, "/spec/layers/2"),
        ({"spec": {**MNIST, "layers": [784, 0, 10]}}, "/spec/layers/1"),
        ({"spec": {**MNIST, "layers": [784, True, 10]}}, "/spec/layers/1"),
        ({"spec": {**MNIST, "layers": [784, "30", 10]}}, "/spec/layers/1"),
        ({"spec": {**MNIST, "layers": [784]}}, "/spec/layers"),
        ({"spec": {**MNIST, "layers": "784,30,10"}}, "/spec/layers"),
        ({"spec": {**MNIST, "layers": {"0": 784}}}, "/spec/layers"),
        ({"spec": {**MNIST, "layers": [784, 10**9, 10]}}, "/spec/layers"),
        ({"spec": {**MNIST, "layers": [784, 1000, 10], "batch_size": 55_000}}, "/spec/batch_size"),
        ({"spec": {**MNIST, "layers": [784, *[10] * 8, 3000, 10], "batch_size": 55_000}}, "/spec/batch_size"),
        ({"spec": {**MNIST, "batch_size": 55_001}}, "/spec/batch_size"),
        ({"spec": {**MNIST, "init": "ones"}}, "/spec/init"),
        ({"spec": {**MNIST, "init": 1}}, "/spec/init"),
        ({"spec": {**MNIST, "init": {}}}, "/spec/init/scheme"),
        ({"spec": {**MNIST, "init": {"scheme": "ones"}}}, "/spec/init/scheme"),
        ({"spec": {**MNIST, "init": {"scheme": "zeros", "std": 1}}}, "/spec/init/std"),
        ({"spec": {**MNIST, "init": {"scheme": "normal", "std": -1}}}, "/spec/init/std"),
        ({"spec": {**MNIST, "init": {"scheme": "normal", "std": [1, "1"]}}}, "/spec/init/std/1"),
        ({"spec": {**MNIST, "init": {"scheme": "normal", "std": [1, 1, 1]}}}, "/spec/init/std"),
        ({"spec": {**NEURON, "init": {"scheme": "normal", "std": [1, 1]}}}, "/spec/init/std"),
        ({"spec": {**MNIST, "early_stopping": {"patience": 0}}}, "/spec/early_stopping/patience"),
        ({"spec": {**MNIST, "early_stopping": {"metric": "cost", "patience": 1}}}, "/spec/early_stopping/metric"),
        ({"spec": {**NEURON, "early_stopping": {"patience": 3}}}, "/spec/early_stopping"),
        ({"spec": {**NEURON, "target": 1.1}}, "/spec/target"),
        ({"spec": {**NEURON, "layers": [784, 10]}}, "/spec/layers"),
        ({"spec": {**NEURON, "a/b~c": 1}}, "/spec/a~1b~0c"),
        ({"spec": {**NEURON, "neuron": 1}}, "/spec/neuron"),
        ({"spec": NEURON, "colour": "red"}, "/colour"),
        ({"spec": NEURON, "device": "tpu"}, "/device"),
        ({"spec": NEURON, "engine": "magic"}, "/engine"),
        ({"spec": NEURON, "engine": "fused_cpu"}, "/engine"),
        ({"spec": {"experiment": "mnist"}, "engine": "fused_cpu", "device": "cuda"}, "/engine"),
        ({"spec": NEURON, "priority": 101}, "/priority"),
        ({"spec": NEURON, "priority": True}, "/priority"),
        ({"spec": NEURON, "max_runtime_seconds": 0}, "/max_runtime_seconds"),
        ({"spec": NEURON, "name": "a\nb"}, "/name"),
        ({"spec": NEURON, "name": "\x00"}, "/name"),
        ({"spec": NEURON, "name": "\ud800"}, "/name"),
        ({"spec": NEURON, "tags": {"k": 1}}, "/tags/k"),
        ({"spec": NEURON, "tags": {"a:b": "c"}}, "/tags/a:b"),
        ({"spec": NEURON, "tags": {str(i): "" for i in range(17)}}, "/tags"),
        ({"preset": "nope"}, "/preset"),
        ({"preset": 3}, "/preset"),
        ({"preset": "mnist-quadratic", "spec": {"experiment": "neuron"}}, "/spec/experiment"),
        ({"preset": "mnist-quadratic", "spec": {"epochs": 0}}, "/spec/epochs"),
        ({"preset": "mnist-quadratic", "spec": [1]}, "/spec"),
    ],
)
def test_a_bad_field_is_named_by_its_json_pointer(body, pointer):
    assert pointers(body) == [pointer]


def test_all_bad_fields_are_named_at_once():
    body = {"spec": {**MNIST, "epochs": 0, "learning_rate": "x", "init": "ones"}, "priority": -1}

    assert sorted(pointers(body)) == ["/priority", "/spec/epochs", "/spec/init", "/spec/learning_rate"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
field_names = st.sampled_from(["spec", "preset", "name", "tags", "device", "priority"])
spec_names = st.sampled_from(["experiment", "loss", "init", "layers", "std", "epochs", "seed", "learning_rate"])


@given(
    body=st.dictionaries(field_names, json_values, max_size=4),
    spec=st.dictionaries(spec_names, json_values),
    experiment=st.sampled_from(["mnist", "neuron"]),
)
def test_nonsense_is_refused_with_a_pointer_or_resolved_but_never_crashes(body, spec, experiment):
    body = {**body, "spec": {**spec, "experiment": experiment}}
    try:
        submission = Submission.model_validate(body)
    except ValidationError as error:
        found = field_errors(error.errors())
        assert found
        assert all(each.pointer.encode() is not None and each.message for each in found)
    else:
        assert resolved(**submission.spec.model_dump(mode="json")) == submission.spec


def test_every_union_member_that_an_error_may_show_is_left_out_of_pointers():
    """A scheme or an experiment that is added must be added there too, or its fields get wrong pointers."""
    schema = Submission.model_json_schema()
    names = {
        value
        for definition in schema["$defs"].values()
        for field in ("experiment", "scheme")
        if (value := definition.get("properties", {}).get(field, {}).get("const"))
    }

    assert names | {"number", "per_layer"} == _UNION_MEMBERS
    assert names == {*SCHEMES, "neuron", "mnist"}


def test_a_preset_is_overridden_field_by_field_and_defaults_follow():
    submission = Submission.model_validate({"preset": "mnist-biased-quadratic", "spec": {"loss": "cross_entropy"}})

    assert submission.spec == PRESETS["mnist-biased-cross-entropy"].spec
    assert submission.spec.reduction == "mean_outputs"


def test_the_slow_start_keeps_its_effective_learning_rate_with_the_other_loss():
    submission = Submission.model_validate({"preset": "mnist-slow-quadratic", "spec": {"loss": "cross_entropy"}})

    assert submission.spec == PRESETS["mnist-slow-cross-entropy"].spec
    assert submission.spec.effective_learning_rate == PRESETS["mnist-slow-quadratic"].spec.effective_learning_rate == 1


def test_the_articles_presets_come_first():
    assert list(PRESETS)[:5] == [
        "neuron-good-start",
        "neuron-slow-quadratic",
        "neuron-slow-cross-entropy",
        "mnist-quadratic",
        "mnist-cross-entropy",
    ]


def test_the_estimate_grows_with_the_work():
    small = estimate(resolved(experiment="mnist"))
    wide = estimate(resolved(experiment="mnist", layers=[784, 1000, 10]))
    long = estimate(resolved(experiment="mnist", epochs=60))

    assert small.total_steps == 150_000
    assert wide.seconds > small.seconds
    assert wide.memory_bytes > small.memory_bytes > 55_000 * 784 * 4
    assert long.seconds == pytest.approx(2 * small.seconds)
