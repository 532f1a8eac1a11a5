"""Clones: the same job once more, but for what its client wants otherwise."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.errors import invalid_fields
from jobs.job import Job
from jobs.spec import AnySpec, Spec
from jobs.submission import Clone, Submission
from jobs.validation import field_errors

_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)


def cloned(original: Job, asked: dict[str, str], overrides: Clone) -> Submission:
    """The submission of a clone.

    Args:
        original: the job to clone.
        asked: the engine and the device that the original's client had asked for.
        overrides: what is to be otherwise. A field that only followed from another's value follows again.

    Raises:
        InvalidRequest: together they are no job; names each bad field.
    """
    # Not dumped: pydantic does not dump what is nested deeply, and such a spec is only a bad one.
    given = {name: getattr(overrides, name) for name in overrides.model_fields_set}
    same = {
        "name": original.name,
        "tags": original.tags,
        "priority": original.priority,
        "max_runtime_seconds": original.max_runtime_seconds,
        **asked,
    }
    spec = {**_own_fields(original.spec), **given.pop("spec", {})}
    try:
        return Submission.model_validate({**same, **given, "spec": spec})
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors())) from error


def _own_fields(spec: AnySpec) -> dict[str, Any]:
    """The fields that a client must have set, as their values do not follow from the others and the defaults."""
    fields = spec.model_dump(mode="json")
    for name in tuple(fields):
        rest = {key: value for key, value in fields.items() if key != name}
        if name != "experiment" and _resolves_to(rest, spec):
            fields = rest
    return fields


def _resolves_to(fields: dict[str, Any], spec: AnySpec) -> bool:
    try:
        return _spec.validate_python(fields) == spec
    except ValidationError:  # by today's limits it may no longer be a spec at all
        return False
