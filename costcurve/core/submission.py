"""Submissions, clones and forks of jobs, and changes to submitted jobs."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from costcurve.core.engines import ENGINES
from costcurve.core.errors import invalid_fields
from costcurve.core.job import Job
from costcurve.core.losses import Loss, Reduction
from costcurve.core.placement import Name, Placement, Priority, Tags
from costcurve.core.presets import PRESETS
from costcurve.core.schedule import LearningRate
from costcurve.core.spec import Spec
from costcurve.core.spec_diff import own_fields
from costcurve.core.validation import FieldError, StrictModel, bad_value, field_errors


def _spec_or_preset(schema: dict[str, Any]) -> None:
    del schema["required"]
    schema["anyOf"] = [{"required": ["spec"]}, {"required": ["preset"]}]


class Submission(Placement):
    """A job to queue: a spec, or a preset with overrides.

    `spec` alone decides the numbers. The other fields decide where and when the job runs.
    """

    model_config = ConfigDict(json_schema_extra=_spec_or_preset)

    preset: str | None = Field(
        default=None,
        description="Name of a preset (GET /v1/presets); fields of `spec` override the preset's.",
        json_schema_extra={"enum": [*PRESETS, None]},
    )
    spec: Spec

    @model_validator(mode="before")
    @classmethod
    def _resolve_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        name, overrides = given.get("preset"), given.get("spec")
        if name is None:
            if overrides is None:
                raise bad_value("required unless `preset` is given", at="spec")
            return given
        if not isinstance(name, str) or name not in PRESETS:
            raise bad_value(f"must be one of {', '.join(PRESETS)}", at="preset")
        if overrides is not None and not isinstance(overrides, dict):
            raise bad_value("must be an object", at="spec")
        spec = PRESETS[name].own_fields | (overrides or {})
        if spec["experiment"] != PRESETS[name].spec.experiment:
            raise bad_value(f"the preset {name} is a {PRESETS[name].spec.experiment} experiment", at="spec/experiment")
        return {**given, "spec": spec}

    @model_validator(mode="before")
    @classmethod
    def _an_engine_names_its_device(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("device", "auto") != "auto":
            return given
        engine = given.get("engine")
        info = ENGINES.get(engine) if isinstance(engine, str) else None
        return given if info is None or info.device is None else {**given, "device": info.device}

    @model_validator(mode="after")
    def _an_engine_that_can_train_it(self) -> Self:
        info = ENGINES.get(self.engine)
        if info is not None and (why := info.why_unsupported(self.spec, self.device)) is not None:
            raise bad_value(why, at="engine")
        return self


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class Clone(Placement):
    """Fields that differ from the cloned job. Omitted fields keep its values."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    spec: dict[str, Any] = Field(default={}, description="Fields of the spec to override.")


class NewTerms(StrictModel):
    """Values that hold from a fork's epoch on. An omitted field keeps the value that holds before it.

    The reduction follows a change of the loss.
    """

    loss: Loss | None = None
    reduction: Reduction | None = None
    learning_rate: LearningRate | None = None


class Fork(Placement):
    """The epoch from which a fork differs from its parent, and how. Omitted fields keep the parent's values.

    For a neuron an epoch is an update.
    """

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    at_epoch: Annotated[int, Field(ge=1, description="The first epoch that differs, from 1 to epochs − 1.")]
    spec: NewTerms


class JobChanges(StrictModel):
    """Fields to change in a submitted job. Omitted fields keep their values."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name | None = None
    tags: Tags = Field(default={})
    priority: Priority = 50
    pinned: bool = Field(default=False, description="True to keep the job after its retention period.")


def cloned(original: Job, asked: dict[str, str], overrides: Clone) -> Submission:
    """Return the submission of a clone.

    Args:
        original: the job to clone.
        asked: the engine and the device that the original's client requested.
        overrides: the fields to change. A field that only followed from another's value follows again.

    Raises:
        InvalidRequest: the result is not a valid job; names each invalid field.
    """
    try:
        return _derived(original, asked, overrides, overrides.spec)
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors())) from error


def forked(parent: Job, asked: dict[str, str], fork: Fork) -> Submission:
    """Return the submission of a fork.

    Its schedule has the parent's changes before the fork's epoch, and then the fork's own.

    Args:
        parent: the job to fork.
        asked: the engine and the device that the parent's client requested.
        fork: the epoch, the change from there on, and the placement.

    Raises:
        InvalidRequest: the result is not a valid job; names each invalid field of the fork.
    """
    kept = [change for change in own_fields(parent.spec).get("schedule", ()) if change["from_epoch"] < fork.at_epoch]
    own = {"from_epoch": fork.at_epoch, **fork.spec.model_dump(exclude_none=True)}
    try:
        return _derived(parent, asked, fork, {"schedule": [*kept, own]})
    except ValidationError as error:
        place = f"/spec/schedule/{len(kept)}"
        raise invalid_fields([_in_fork(each, place) for each in field_errors(error.errors())]) from error


def _derived(original: Job, asked: dict[str, str], changes: Placement, spec: Mapping[str, Any]) -> Submission:
    """Return the submission of a job that differs from another in these fields. Raises ValidationError."""
    # No model_dump: pydantic cannot dump a deeply nested spec, which must be reported as an invalid one.
    given = {name: getattr(changes, name) for name in changes.model_fields_set & Placement.model_fields.keys()}
    same = {name: getattr(original, name) for name in Placement.model_fields} | asked
    return Submission.model_validate(same | given | {"spec": {**own_fields(original.spec), **spec}})


def _in_fork(error: FieldError, place: str) -> FieldError:
    """Return an error of a submission as one of the fork, whose own change is at this place of the submission."""
    if not f"{error.pointer}/".startswith(f"{place}/"):
        return error
    name = error.pointer.removeprefix(place)
    return FieldError("/at_epoch" if name == "/from_epoch" else f"/spec{name}", error.message)
