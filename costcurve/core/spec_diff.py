"""Differences between specs, and copies of a spec with changed fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from costcurve.core.spec import AnySpec, Spec

# Fields that follow from others, and are shown for convenience.
DERIVED = frozenset({"effective_learning_rate"})


@dataclass(frozen=True, slots=True)
class Difference:
    """Field that differs between specs, `init.std` for instance, and its values.

    `values` has one value for each spec; None where a spec does not have the field. `derived` is True if the field
    follows from other fields.
    """

    field: str
    values: Sequence[Any]
    derived: bool


def differences(specs: Sequence[AnySpec]) -> list[Difference]:
    """Return the fields that differ between specs, in the spec's order."""
    found = [_flat(spec.model_dump(mode="json")) for spec in specs]
    fields = dict.fromkeys(field for each in found for field in each)
    columns = {field: [each.get(field) for each in found] for field in fields}
    return [
        Difference(field, values, field in DERIVED)
        for field, values in columns.items()
        if any(value != values[0] for value in values)
    ]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)


def own_fields(spec: AnySpec) -> dict[str, Any]:
    """Return the fields that a client must have set.

    The values of all others follow from these and from the defaults.
    """
    fields = spec.model_dump(mode="json")
    for name in tuple(fields):
        rest = {key: value for key, value in fields.items() if key != name}
        if name != "experiment" and _resolves_to(rest, spec):
            fields = rest
    for number in range(len(fields.get("schedule", ()))):
        fields["schedule"][number] = _own_fields_of_change(fields, number, spec)
    return fields


def _own_fields_of_change(fields: Mapping[str, Any], number: int, spec: AnySpec) -> dict[str, Any]:
    """Return the fields that a client must have set in one change of the schedule."""
    schedule = list(fields["schedule"])
    for name in tuple(schedule[number]):
        change = schedule[number]
        schedule[number] = {key: value for key, value in change.items() if key != name}
        if name == "from_epoch" or not _resolves_to({**fields, "schedule": schedule}, spec):
            schedule[number] = change
    return dict(schedule[number])


def altered(spec: AnySpec, **changes: Any) -> dict[str, Any] | None:
    """Return a spec's changed fields, as a client would write them.

    Only these fields, and those that follow from them, differ. Return None if the result is not a valid spec.
    """
    fields = own_fields(spec) | changes
    try:
        _spec.validate_python(fields)
    except ValidationError:
        return None
    return fields


def _resolves_to(fields: dict[str, Any], spec: AnySpec) -> bool:
    try:
        return _spec.validate_python(fields) == spec
    except ValidationError:  # by today's limits it may no longer be a valid spec
        return False
