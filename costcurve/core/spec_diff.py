"""Specs compared and altered: the fields in which specs differ, and a spec with some fields changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from costcurve.core.spec import AnySpec, Spec

# What follows from other fields, and is told for convenience.
DERIVED = frozenset({"effective_learning_rate"})


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not the same in all specs, `init.std` for instance, and its value in each; None where it is not.

    `derived`: it follows from other fields.
    """

    field: str
    values: Sequence[Any]
    derived: bool


def differences(specs: Sequence[AnySpec]) -> list[Difference]:
    """The fields in which some specs differ, in the order of the specs' own fields."""
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
