"""Sweeps: one job for each cell of a grid and each repeat, alike in everything but what the grid names and the seed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from math import prod
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from costcurve.core.errors import invalid_fields
from costcurve.core.presets import PRESETS, SWEEP_PRESETS
from costcurve.core.spec import MAX_SEED, MnistSpec, NeuronSpec
from costcurve.core.status import JobStatus
from costcurve.core.submission import Device, Engine, MaxRuntimeSeconds, Name, Priority, Submission, Tags
from costcurve.core.validation import FieldError, StrictModel, field_errors, json_pointer

# They are queued in one transaction, during which nobody else writes to SQLite.
MAX_SWEEP_JOBS = 5_000

_FIELDS: Mapping[str, frozenset[str]] = {
    "neuron": frozenset(NeuronSpec.model_fields),
    "mnist": frozenset(MnistSpec.model_fields),
}
# Why a field of the spec has no place in a grid.
_NOT_SWEPT = {
    "experiment": "all cells of a sweep train the same experiment",
    "effective_learning_rate": "follows from learning_rate and reduction; leave it out",
}


class SweepSubmission(StrictModel):
    """Jobs to queue together: one for each cell of the grid and each repeat.

    Repeat r, counted from 0, has the spec's seed + r in every cell. So all cells of a repeat see the same batches, and
    differ in nothing but what the grid names.
    """

    preset: str | None = Field(
        default=None,
        description="The name of a ready spec (GET /v1/presets) or of a ready sweep (GET /v1/sweep-presets); fields of "
        "`spec` and `grid`, if any, override the preset's.",
        json_schema_extra={"enum": [*PRESETS, *SWEEP_PRESETS, None]},
    )
    spec: dict[str, Any] = Field(
        default={}, description="What all cells share: fields of a spec. The grid overrides it."
    )
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default={},
        description="For each swept field of the spec its values. A cell is one choice of a value for each field; "
        f"cells × repeats may be at most {MAX_SWEEP_JOBS:,}.",
    )
    repeats: int = Field(
        default=1, ge=1, le=MAX_SWEEP_JOBS, description="Jobs for each cell, with the seeds seed, seed + 1 and so on."
    )
    device: Device = "auto"
    engine: Engine = "auto"
    name: Name | None = None
    tags: Tags = Field(default={})
    priority: Priority = 50
    max_runtime_seconds: MaxRuntimeSeconds | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_ready_sweep(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in SWEEP_PRESETS:
            return given
        if not all(isinstance(given.get(part, {}), dict) for part in ("spec", "grid")):
            return given  # which the fields themselves refuse
        return SWEEP_PRESETS[name].overridden_by(given)

    @property
    def preset_of_each(self) -> str | None:
        """The preset from which each of its jobs starts; that of a whole sweep is in `spec` and `grid` already."""
        return None if self.preset in SWEEP_PRESETS else self.preset

    @property
    def cells(self) -> int:
        """How many cells the grid has; one if nothing is swept."""
        return prod(len(values) for values in self.grid.values())

    def choices(self) -> Iterator[dict[str, int]]:
        """Each cell as the index of its value of each swept field; the field that was named last changes fastest."""
        for indices in product(*(range(len(values)) for values in self.grid.values())):
            yield dict(zip(self.grid, indices, strict=True))

    def settings(self, cell: int) -> dict[str, Any]:
        """What a cell sets: for each swept field its value, as it was submitted."""
        settings: dict[str, Any] = {}
        for name, values in reversed(self.grid.items()):
            cell, index = divmod(cell, len(values))
            settings[name] = values[index]
        return dict(reversed(settings.items()))


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job of a sweep: its cell, in the order of `choices`, and its repeat, both counted from 0."""

    cell: int
    repeat: int
    submission: Submission


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as it stands: what was submitted, and how many of its jobs are in each state.

    Of a cell's repeat that was retried, the newest job is counted. Jobs that were deleted are not counted, and a sweep
    whose last job is deleted is gone with it.
    """

    id: str
    submission: SweepSubmission
    counts: Mapping[JobStatus, int]
    created_at: datetime

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return sum(self.counts.values())

    @property
    def is_terminal(self) -> bool:
        """Whether all of its jobs have ended."""
        return all(status.is_terminal or count == 0 for status, count in self.counts.items())


def planned(sweep: SweepSubmission) -> list[PlannedJob]:
    """All jobs of a sweep, in the order in which they are queued: each cell once before any cell comes a second time.

    Raises:
        InvalidRequest: a cell is no job, or the sweep as a whole cannot be; names each bad field once.
    """
    _refuse(_misfits(sweep))
    cells = _cells(sweep)
    _refuse(_unused(sweep, cells[0]))
    _refuse(_repetitions(sweep, cells))
    if cells[0].spec.seed + sweep.repeats - 1 > MAX_SEED:
        _refuse([FieldError("/repeats", f"the last seed, seed + repeats − 1, would be more than {MAX_SEED}")])
    return [
        PlannedJob(cell, repeat, _repeated(submission, repeat))
        for repeat in range(sweep.repeats)
        for cell, submission in enumerate(cells)
    ]


def _misfits(sweep: SweepSubmission) -> Iterator[FieldError]:
    """What is wrong with the sweep as a whole, whatever its values are."""
    ready = [*PRESETS, *SWEEP_PRESETS]
    if sweep.preset is not None and sweep.preset not in ready:
        yield FieldError("/preset", f"must be one of {', '.join(ready)}")
    for name in sweep.grid:
        if name in _NOT_SWEPT:
            yield FieldError(f"/grid/{name}", _NOT_SWEPT[name])
        elif name not in _sweepable(sweep):
            yield FieldError(json_pointer(["grid", name]), "unknown field")
    if sweep.repeats > 1 and "seed" in sweep.grid:
        yield FieldError("/repeats", "must be 1 when the grid has seeds: each repeat takes the next seed by itself")
    if (count := sweep.cells * sweep.repeats) > MAX_SWEEP_JOBS:
        made_of = f"{sweep.cells:,} cells × {sweep.repeats:,} repeats"
        yield FieldError("/grid", f"{made_of} are {count:,} jobs, more than the {MAX_SWEEP_JOBS:,} of one sweep")


def _sweepable(sweep: SweepSubmission) -> frozenset[str]:
    preset = PRESETS.get(sweep.preset or "")
    experiment = preset.spec.experiment if preset is not None else sweep.spec.get("experiment")
    fields = [fields for name, fields in _FIELDS.items() if name == experiment]
    # Of an experiment that does not exist, the cells tell.
    return frozenset().union(*(fields or _FIELDS.values()))


def _cells(sweep: SweepSubmission) -> list[Submission]:
    """The submission of each cell's first repeat."""
    cells: list[Submission] = []
    bad: dict[str, FieldError] = {}
    shared = {"preset": sweep.preset_of_each, "device": sweep.device, "engine": sweep.engine}
    # Valid already, and checking them for each cell anew would take the most time.
    label = {
        "name": sweep.name,
        "tags": sweep.tags,
        "priority": sweep.priority,
        "max_runtime_seconds": sweep.max_runtime_seconds,
    }
    for choice in sweep.choices():
        chosen = {name: sweep.grid[name][index] for name, index in choice.items()}
        try:
            cell = Submission.model_validate({**shared, "spec": {**sweep.spec, **chosen}})
        except ValidationError as error:
            for field in field_errors(error.errors()):
                pointer = _pointer(field.pointer, choice)
                bad.setdefault(pointer, FieldError(pointer, field.message))
        else:
            cells.append(cell.model_copy(update=label))
    _refuse(bad.values())
    return cells


def _unused(sweep: SweepSubmission, cell: Submission) -> Iterator[FieldError]:
    """Yield what is wrong with shared fields that the grid overrides: no cell has checked them."""
    # A legal value may not fit the defaults of the other fields, but then it may fit a cell's.
    surroundings = (
        {"experiment": cell.spec.experiment},
        cell.spec.model_dump(mode="json", exclude={"effective_learning_rate"}),
    )
    for name in sweep.grid:
        if name in sweep.spec:
            found = [_errors_at(name, {**others, name: sweep.spec[name]}) for others in surroundings]
            if all(found):
                yield from found[0]


def _errors_at(name: str, spec: Mapping[str, Any]) -> list[FieldError]:
    """Return what is wrong with this field of a spec."""
    try:
        Submission.model_validate({"spec": spec})
    except ValidationError as error:
        pointer = json_pointer(["spec", name])
        return [each for each in field_errors(error.errors()) if f"{each.pointer}/".startswith(f"{pointer}/")]
    return []


def _pointer(pointer: str, choice: Mapping[str, int]) -> str:
    """Where in the sweep a bad field of one cell's submission comes from."""
    match pointer.split("/"):
        case ["", "spec", name, *rest] if name in choice:
            return "/".join(["", "grid", name, str(choice[name]), *rest])
    return pointer


def _repetitions(sweep: SweepSubmission, cells: list[Submission]) -> Iterator[FieldError]:
    """Values of a field that come to the same, however they are written: their cells would be the same job twice."""
    stride = len(cells)
    for name, values in sweep.grid.items():
        stride //= len(values)
        seen: dict[object, int] = {}
        for index in range(len(values)):
            first = seen.setdefault(getattr(cells[index * stride].spec, name), index)
            if first != index:
                yield FieldError(f"/grid/{name}/{index}", f"is the same as /grid/{name}/{first}")


def _repeated(submission: Submission, repeat: int) -> Submission:
    if repeat == 0:
        return submission
    spec = submission.spec.model_copy(update={"seed": submission.spec.seed + repeat})
    return submission.model_copy(update={"spec": spec})


def _refuse(errors: Iterable[FieldError]) -> None:
    if found := list(errors):
        raise invalid_fields(found)
