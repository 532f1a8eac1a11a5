"""Schedules: changes of the loss, the reduction and the learning rate during a training."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from costcurve.core.datasets import MNIST
from costcurve.core.losses import LOSSES, Loss, Reduction, default_reduction
from costcurve.core.validation import Number, StrictModel, bad_value

LearningRate = Annotated[Number, Field(gt=0)]

MAX_CHANGES = 100

# The fields that a change may set, in the order in which they are resolved.
CHANGEABLE = ("loss", "reduction", "learning_rate")


class Change(StrictModel):
    """Loss, reduction and learning rate that hold from an epoch on, counted from 0; for a neuron, from an update on.

    An omitted field keeps its value, except that the reduction follows a change of the loss. In a resolved spec every
    field has its value.
    """

    from_epoch: Annotated[int, Field(ge=1)]
    loss: Loss | None = None
    reduction: Reduction | None = None
    learning_rate: LearningRate | None = None
    effective_learning_rate: Number | None = Field(
        default=None, description="Computed as that of the spec, from these fields: omit it."
    )


Schedule = Annotated[
    tuple[Change, ...],
    Field(
        strict=False,
        max_length=MAX_CHANGES,
        description="Changes during the training, in ascending order of `from_epoch`.",
    ),
]


def why_undefined(loss: str | None, reduction: Reduction) -> str | None:
    """Return why a loss is not defined with a reduction, or None if it is. An unknown loss has no reason."""
    known = LOSSES.get(loss or "")
    if known is None or reduction in known.reductions:
        return None
    return f"{known.name} is only defined with {' or '.join(known.reductions)}"


def effective_learning_rate(experiment: str, reduction: Reduction, learning_rate: float) -> float:
    """Return the learning rate in terms of `sum_outputs`."""
    outputs = MNIST.classes if experiment == "mnist" else 1
    return learning_rate / outputs if reduction == "mean_outputs" else learning_rate


def why_not_effective(given: float, computed: float) -> str | None:
    """Return why an effective learning rate is wrong, or None if it is the computed one."""
    if math.isclose(given, computed, rel_tol=1e-9):
        return None
    return f"follows from learning_rate and reduction, and must be {computed!r}; omit it"


def resolved_schedule(changes: Sequence[Change], start: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the changes with every field filled in.

    Args:
        changes: as a client gives them.
        start: `experiment`, `epochs`, and the values of `CHANGEABLE` that hold before the first change.

    Raises:
        PydanticCustomError: names the first wrong field, for instance `0/from_epoch`.
    """
    found: list[Change] = []
    before, last = {name: start[name] for name in CHANGEABLE}, 0
    for number, change in enumerate(changes):
        if change.from_epoch <= last:
            raise bad_value(f"must be more than {last}, that of the change before it", at=f"{number}/from_epoch")
        if change.from_epoch >= start["epochs"]:
            raise bad_value(f"must be less than epochs, {start['epochs']}", at=f"{number}/from_epoch")
        after = _after(change, before, start["experiment"], number)
        rate = effective_learning_rate(start["experiment"], after["reduction"], after["learning_rate"])
        given = change.effective_learning_rate
        if given is not None and (why := why_not_effective(given, rate)) is not None:
            raise bad_value(why, at=f"{number}/effective_learning_rate")
        found.append(Change(from_epoch=change.from_epoch, **after, effective_learning_rate=rate))
        before, last = after, change.from_epoch
    return tuple(found)


def _after(change: Change, before: Mapping[str, Any], experiment: str, number: int) -> dict[str, Any]:
    """Return the values of `CHANGEABLE` that hold after a change."""
    given = {name: value for name in CHANGEABLE if (value := getattr(change, name)) is not None}
    after = {**before, **given}
    if after["loss"] != before["loss"] and "reduction" not in given:
        after["reduction"] = default_reduction(experiment, after["loss"])
    if (why := why_undefined(after["loss"], after["reduction"])) is not None:
        raise bad_value(why, at=f"{number}/reduction")
    if after == before:
        raise bad_value(
            "changes nothing; it needs a loss, reduction or learning_rate other than the one before it", at=str(number)
        )
    return after


def schedule_text(schedule: Sequence[Mapping[str, Any]], *, most: int = 3) -> str:
    """Return a schedule as short text: the values that each change gives, and its first epoch.

    Of more than `most` changes it is only their number.
    """
    if len(schedule) > most:
        return f"{len(schedule)} changes from {schedule[0].get('from_epoch')} on"
    return "; ".join(map(_change_text, schedule)) or "none"


def _change_text(change: Mapping[str, Any]) -> str:
    values = [value for name in CHANGEABLE if (value := change.get(name)) is not None]
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return f"{', '.join(texts)} from {change.get('from_epoch')}"
