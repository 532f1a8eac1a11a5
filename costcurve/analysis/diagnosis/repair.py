"""Repairs: specs that would test an explanation, and the fields in which they differ from the job's spec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from costcurve.core.spec import DIGITS, AnySpec, MnistSpec, Spec
from costcurve.core.spec_diff import altered, differences

_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)


@dataclass(frozen=True, slots=True)
class Change:
    """A field that a repair changes, `init.std` for instance, with its value before and after."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Repair:
    """Specs that would test an explanation, as the fields that a client would write.

    `fields` is the spec that is most likely to work; None if there is none. `changes` lists every field in which it
    differs from the job's spec. `isolate` makes the same change, and holds the effective learning rate; None if that
    is no sensible test.
    """

    fields: Mapping[str, Any] | None = None
    changes: Sequence[Change] = ()
    isolate: Mapping[str, Any] | None = None


NO_REPAIR = Repair()


def repaired(spec: AnySpec, rate: float | None = None, **changes: Any) -> Repair:
    """Return the repair that makes these changes and sets this effective rate.

    `isolate` makes the changes alone. If `rate` is None, the effective rate is held, and both are the same. If only the
    rate changes, it is the only thing that differs, and both are the same, too.
    """
    held = _with_effective_rate(spec, spec.effective_learning_rate, changes)
    if rate is None:
        return _repair(spec, held, held)
    fields = _with_effective_rate(spec, rounded(rate), changes)
    return _repair(spec, fields, held if changes else fields)


def isolated(spec: AnySpec, **changes: Any) -> Repair:
    """Return a test that changes one thing and repairs nothing; the effective rate is held."""
    return Repair(isolate=_with_effective_rate(spec, spec.effective_learning_rate, changes))


def changes_between(spec: AnySpec, fields: Mapping[str, Any]) -> list[Change]:
    """Return every field in which the spec with these fields differs, with those that follow from others."""
    found = differences([spec, _spec.validate_python(dict(fields))])
    return [Change(each.field, *each.values) for each in found]


def _repair(spec: AnySpec, fields: dict[str, Any] | None, isolate: dict[str, Any] | None) -> Repair:
    if fields is None:
        return Repair(isolate=isolate)
    changes = changes_between(spec, fields)
    return Repair(fields, changes, isolate) if changes else NO_REPAIR


def _with_effective_rate(spec: AnySpec, rate: float, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the changed fields with a learning rate of this effect.

    A change of the loss sums the outputs, which both losses can do.
    """
    changes = {"reduction": "sum_outputs", **changes} if "loss" in changes else dict(changes)
    reduction = changes.get("reduction", spec.reduction)
    if rate == spec.effective_learning_rate and reduction == spec.reduction:
        return altered(spec, **changes)
    averaged = isinstance(spec, MnistSpec) and reduction == "mean_outputs"
    return altered(spec, **changes, learning_rate=rate * DIGITS if averaged else rate)


def rounded(rate: float) -> float:
    """Return a rate with two digits, as a client would write it."""
    return float(f"{rate:.2g}")
