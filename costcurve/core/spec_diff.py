"""In what specs differ, field by field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from costcurve.core.spec import AnySpec

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
