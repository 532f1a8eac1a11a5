"""The same spec but for some fields: what follows from others follows again."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from costcurve.core.spec import AnySpec, Spec

_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)


def own_fields(spec: AnySpec) -> dict[str, Any]:
    """The fields that a client must have set, as their values do not follow from the others and the defaults."""
    fields = spec.model_dump(mode="json")
    for name in tuple(fields):
        rest = {key: value for key, value in fields.items() if key != name}
        if name != "experiment" and _resolves_to(rest, spec):
            fields = rest
    return fields


def altered(spec: AnySpec, **changes: Any) -> dict[str, Any] | None:
    """The fields of a spec that differs in these alone, as a client would write it; None if it would be no spec."""
    fields = own_fields(spec) | changes
    try:
        _spec.validate_python(fields)
    except ValidationError:
        return None
    return fields


def _resolves_to(fields: dict[str, Any], spec: AnySpec) -> bool:
    try:
        return _spec.validate_python(fields) == spec
    except ValidationError:  # by today's limits it may no longer be a spec at all
        return False
