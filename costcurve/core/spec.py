"""Specs of the two experiments, with every field's default and limit.

A spec alone decides the numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import Field, ValidationInfo, field_validator

from costcurve.core.datasets import MNIST
from costcurve.core.initializers import ConstantInit, Init, NormalInit, restored_init
from costcurve.core.losses import Loss, Reduction, default_reduction
from costcurve.core.schedule import (
    CHANGEABLE,
    Change,
    LearningRate,
    Schedule,
    effective_learning_rate,
    resolved_schedule,
    why_not_effective,
    why_undefined,
)
from costcurve.core.validation import Number, StrictModel, bad_value

PIXELS = MNIST.pixels
DIGITS = MNIST.classes
TRAINING_IMAGES = MNIST.training_size
TEST_IMAGES = MNIST.test_size

# Takes minutes on the fastest engine, most of a day on the slowest.
MAX_STEPS = 100_000_000
MAX_PARAMETERS = 5_000_000
# Multiply-adds of one forward pass. The largest step takes 0.5 s of one core; a job can stop only between steps.
MAX_STEP_WORK = 5_000_000_000
MAX_MEMORY_BYTES = 1 << 30
MAX_SEED = 2**63 - 1

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class _Experiment(StrictModel):
    """Fields that both experiments have in their specs.

    The order of the fields matters: a later one can be validated against an earlier one.
    """

    experiment: Literal["neuron", "mnist"]
    loss: Loss = "cross_entropy"
    reduction: Reduction = Field(
        default_factory=lambda fields: default_reduction(fields["experiment"], fields["loss"]),
        description="How the cost combines samples and outputs. Default: `mean_outputs` for cross-entropy on MNIST, "
        "otherwise `sum_outputs`, the only one for `quadratic`.",
    )
    learning_rate: LearningRate
    effective_learning_rate: Number = Field(
        default_factory=lambda fields: _effective_learning_rate(fields),
        description="The rate under the 'sum over outputs, mean over samples' convention. Computed: omit it.",
    )
    seed: Seed = 0

    @field_validator("reduction")
    @classmethod
    def _defined_with_the_loss(cls, reduction: Reduction, info: ValidationInfo) -> Reduction:
        if (why := why_undefined(info.data.get("loss"), reduction)) is not None:
            raise bad_value(why)
        return reduction

    @field_validator("effective_learning_rate")
    @classmethod
    def _follows_from_the_rest(cls, given: float, info: ValidationInfo) -> float:
        if not {"experiment", "reduction", "learning_rate"} <= info.data.keys():
            return given
        computed = _effective_learning_rate(info.data)
        if (why := why_not_effective(given, computed)) is not None:
            raise bad_value(why)
        return computed

    @field_validator("schedule", mode="before", check_fields=False)
    @classmethod
    def _an_array_of_changes(cls, schedule: Any) -> Any:
        if not isinstance(schedule, list | tuple):
            raise bad_value("must be an array of changes")
        return schedule

    @field_validator("schedule", check_fields=False)
    @classmethod
    def _every_change_resolved(cls, schedule: tuple[Change, ...], info: ValidationInfo) -> tuple[Change, ...]:
        if not {"experiment", "epochs", *CHANGEABLE} <= info.data.keys():
            return schedule
        return resolved_schedule(schedule, info.data)


def _effective_learning_rate(fields: Mapping[str, Any]) -> float:
    return effective_learning_rate(fields["experiment"], fields["reduction"], fields["learning_rate"])


class NeuronSpec(_Experiment):
    """One sigmoid neuron trained on one sample by plain gradient descent.

    An epoch is one update. All numbers are float64.
    """

    # How plots name the experiment, what its epochs are called, and whether an epoch has a curve of its own by steps.
    label: ClassVar[str] = "one sigmoid neuron"
    epoch_name: ClassVar[str] = "update"
    has_steps: ClassVar[bool] = False

    experiment: Literal["neuron"]
    init: Init = ConstantInit()
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    learning_rate: LearningRate = 0.15
    input: Number = 1.0
    target: Annotated[Number, Field(ge=0, le=1)] = 0.0
    schedule: Schedule = ()

    @field_validator("init")
    @classmethod
    def _one_std_for_one_layer(cls, init: Init) -> Init:
        return _std_fits(init, layers=1)

    @property
    def total_steps(self) -> int:
        """Number of updates of the whole job."""
        return self.epochs


class EarlyStopping(StrictModel):
    """Rule to end training after `patience` epochs without improvement of `metric`."""

    metric: Literal["validation_accuracy"] = "validation_accuracy"
    patience: Annotated[int, Field(ge=1, le=10_000)]


class MnistSpec(_Experiment):
    """A fully connected sigmoid network trained on MNIST by plain minibatch SGD.

    All numbers are float32.
    """

    label: ClassVar[str] = "MNIST"
    epoch_name: ClassVar[str] = "epoch"
    has_steps: ClassVar[bool] = True

    experiment: Literal["mnist"]
    layers: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(
            strict=False,
            fail_fast=True,
            min_length=2,
            max_length=16,
            description="Units of every layer, from 784 to 10.",
        ),
    ] = (PIXELS, 30, DIGITS)
    init: Init = NormalInit()
    batch_size: Annotated[int, Field(ge=1, le=TRAINING_IMAGES)] = 10
    steps_per_epoch: Annotated[int, Field(ge=1, le=1_000_000)] = 5000
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 30
    learning_rate: LearningRate = 3.0
    early_stopping: EarlyStopping | None = None
    schedule: Schedule = ()

    @field_validator("layers", mode="before")
    @classmethod
    def _an_array(cls, layers: Any) -> Any:
        if not isinstance(layers, list | tuple):
            raise bad_value("must be an array of whole numbers")
        return layers

    @field_validator("layers")
    @classmethod
    def _from_pixels_to_digits(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if layers[0] != PIXELS:
            raise bad_value(f"must start with {PIXELS}, the number of pixels of an image", at="0")
        if layers[-1] != DIGITS:
            raise bad_value(f"must end with {DIGITS}, one output for each digit", at=str(len(layers) - 1))
        if (count := parameter_count(layers)) > MAX_PARAMETERS:
            raise bad_value(f"has {count:,} parameters; a job may have at most {MAX_PARAMETERS:,}")
        return layers

    @field_validator("init")
    @classmethod
    def _a_std_for_each_layer(cls, init: Init, info: ValidationInfo) -> Init:
        return _std_fits(init, layers=len(info.data["layers"]) - 1) if "layers" in info.data else init

    @field_validator("batch_size")
    @classmethod
    def _steps_stay_short(cls, batch_size: int, info: ValidationInfo) -> int:
        if "layers" in info.data:
            layers = info.data["layers"]
            if (work := parameter_count(layers) * batch_size) > MAX_STEP_WORK:
                raise bad_value(
                    f"a step takes {work:,} multiply-adds, more than {MAX_STEP_WORK:,}; use smaller batches"
                )
            if (size := training_memory_bytes(layers, batch_size)) > MAX_MEMORY_BYTES:
                raise bad_value(f"needs {size >> 20:,} MiB, more than {MAX_MEMORY_BYTES >> 20:,}; use smaller batches")
        return batch_size

    @field_validator("epochs")
    @classmethod
    def _steps_stay_in_range(cls, epochs: int, info: ValidationInfo) -> int:
        if (steps := epochs * info.data.get("steps_per_epoch", 1)) > MAX_STEPS:
            raise bad_value(f"epochs × steps_per_epoch is {steps:,}; a job may have at most {MAX_STEPS:,} steps")
        return epochs

    @property
    def total_steps(self) -> int:
        """Number of updates of the whole job without early stopping."""
        return self.epochs * self.steps_per_epoch


AnySpec = NeuronSpec | MnistSpec
Spec = Annotated[AnySpec, Field(discriminator="experiment")]

_S = TypeVar("_S", bound=AnySpec)


def phases_of(spec: _S) -> Mapping[int, _S]:
    """Return the specs without a schedule that hold one after the other, each by its first epoch.

    They differ in loss, reduction and learning rate. The first begins at epoch 0. For a neuron an epoch is an update.
    """
    return {first: phase_at(spec, first) for first in (0, *(change.from_epoch for change in spec.schedule))}


def phase_at(spec: _S, epoch: int) -> _S:
    """Return the spec without a schedule that holds in an epoch; for a neuron, in an update."""
    begun = [change for change in spec.schedule if change.from_epoch <= epoch]
    fields = begun[-1].model_dump(exclude={"from_epoch"}) if begun else {}
    return cast(_S, spec.model_copy(update={**fields, "schedule": ()}))


def restored(stored: Mapping[str, Any]) -> AnySpec:
    """Restore a resolved spec from its stored JSON.

    The spec was valid when it was submitted; today's limits are not applied.
    """
    experiment = NeuronSpec if stored["experiment"] == "neuron" else MnistSpec
    fields = {**stored, "init": restored_init(stored["init"])}
    if "layers" in stored:
        fields["layers"] = tuple(stored["layers"])
    if stored.get("early_stopping") is not None:
        fields["early_stopping"] = EarlyStopping.model_construct(**stored["early_stopping"])
    fields["schedule"] = tuple(Change.model_construct(**change) for change in stored.get("schedule", ()))
    return experiment.model_construct(**fields)


def parameter_count(layers: tuple[int, ...]) -> int:
    """Count the weights and biases of a network with these layer sizes.

    The network is fully connected.
    """
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(layers))


def training_memory_bytes(layers: tuple[int, ...], batch_size: int) -> int:
    """Return the bytes that training needs in addition to the data set.

    These are the weights, the gradients, and each layer's z, a and δ, in float32.
    """
    return 4 * (3 * parameter_count(layers) + 3 * batch_size * sum(layers))


def canonical_json(spec: AnySpec) -> str:
    """Return the canonical JSON text of a resolved spec.

    Every default is filled in, keys are sorted, and floats are in their shortest form. An empty schedule is left out:
    a spec without one keeps the hash that it had before there were schedules.
    """
    left_out = None if spec.schedule else {"schedule"}
    return json.dumps(spec.model_dump(mode="json", exclude=left_out), sort_keys=True, separators=(",", ":"))


def spec_hash(spec: AnySpec) -> str:
    """Return `sha256:` and the 64 hex digits of the canonical JSON.

    The hash is equal for specs that resolve to the same, however they were written.
    """
    return "sha256:" + hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def _std_fits(init: Init, *, layers: int) -> Init:
    if isinstance(init, NormalInit) and isinstance(init.std, tuple) and len(init.std) != layers:
        raise bad_value(f"must be one number, or {layers}: one for each layer of weights", at="std")
    return init
