"""Submissions and clones of jobs, and changes to submitted jobs."""

from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from costcurve.core.engines import ENGINES
from costcurve.core.errors import invalid_fields
from costcurve.core.job import Job
from costcurve.core.placement import Name, Placement, Priority, Tags
from costcurve.core.presets import PRESETS
from costcurve.core.spec import Spec
from costcurve.core.spec_diff import own_fields
from costcurve.core.validation import StrictModel, bad_value, field_errors


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
    # No model_dump: pydantic cannot dump a deeply nested spec, which must be reported as an invalid one.
    given = {name: getattr(overrides, name) for name in overrides.model_fields_set}
    same = {name: getattr(original, name) for name in Placement.model_fields} | asked
    spec = {**own_fields(original.spec), **given.pop("spec", {})}
    try:
        return Submission.model_validate(same | given | {"spec": spec})
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors())) from error
