"""Clones: the same job once more, but for what its client wants otherwise."""

from pydantic import ValidationError

from costcurve.core.alterations import own_fields
from costcurve.core.errors import invalid_fields
from costcurve.core.job import Job
from costcurve.core.submission import Clone, Submission
from costcurve.core.validation import field_errors


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
    spec = {**own_fields(original.spec), **given.pop("spec", {})}
    try:
        return Submission.model_validate({**same, **given, "spec": spec})
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors())) from error
