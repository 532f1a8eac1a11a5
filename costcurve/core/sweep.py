"""Sweeps: one job for each cell and each repeat.

The cells are those of a grid, then the variants. The jobs are the same except for the fields of the grid or of a
variant, and the seed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from math import prod
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from costcurve.core.errors import invalid_fields
from costcurve.core.placement import Placement
from costcurve.core.presets import PRESETS, SWEEP_PRESETS
from costcurve.core.spec import MAX_SEED, MnistSpec, NeuronSpec
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.core.validation import FieldError, field_errors, json_pointer

# All are queued in one transaction, which blocks every other writer of SQLite.
MAX_SWEEP_JOBS = 5_000

_FIELDS: Mapping[str, frozenset[str]] = {
    "neuron": frozenset(NeuronSpec.model_fields),
    "mnist": frozenset(MnistSpec.model_fields),
}
# The fields of a spec that no grid may have, with the reason.
_NOT_SWEPT = {
    "experiment": "all cells of a sweep train the same experiment",
    "effective_learning_rate": "follows from learning_rate and reduction; omit it",
}


class SweepSubmission(Placement):
    """Jobs to queue together: one for each cell and each repeat.

    A cell is one choice of values from the grid, or one variant. Repeat r, counted from 0, has the spec's seed + r in
    every cell. So all cells of a repeat see the same batches, and differ only in the fields of the grid or variant.
    """

    preset: str | None = Field(
        default=None,
        description="Name of a preset (GET /v1/presets) or of a sweep preset (GET /v1/sweep-presets); fields of `spec` "
        "and `grid` override the preset's.",
        json_schema_extra={"enum": [*PRESETS, *SWEEP_PRESETS, None]},
    )
    spec: dict[str, Any] = Field(default={}, description="Spec fields that all cells share. The grid overrides them.")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default={},
        description="The values of each swept spec field. A cell has one value of each; "
        f"cells × repeats may be at most {MAX_SWEEP_JOBS:,}.",
    )
    variants: list[dict[str, Any]] = Field(
        default=[],
        description="Fields of the spec to override, one cell each. They come after the cells of the grid and do not "
        "combine with it. `{}` is the shared spec itself.",
    )
    repeats: int = Field(
        default=1, ge=1, le=MAX_SWEEP_JOBS, description="Jobs of each cell. Their seeds are seed, seed + 1 and so on."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_ready_sweep(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in SWEEP_PRESETS:
            return given
        if not all(isinstance(given.get(part, {}), dict) for part in ("spec", "grid")):
            return given  # the validation of the fields reports it
        return SWEEP_PRESETS[name].overridden_by(given)

    @property
    def preset_of_each(self) -> str | None:
        """The preset from which each job starts, or None.

        A sweep preset is not returned: it is already merged into `spec` and `grid`.
        """
        return None if self.preset in SWEEP_PRESETS else self.preset

    @property
    def grid_cells(self) -> int:
        """Number of cells in the grid.

        Without a grid it is 0 if there are variants, otherwise 1.
        """
        return prod(len(values) for values in self.grid.values()) if self.grid or not self.variants else 0

    @property
    def cells(self) -> int:
        """Number of cells: those of the grid, then one for each variant."""
        return self.grid_cells + len(self.variants)

    @property
    def varied(self) -> tuple[str, ...]:
        """Fields of the spec in which cells may differ, in the order of their appearance."""
        return tuple(dict.fromkeys([*self.grid, *(name for variant in self.variants for name in variant)]))

    def choices(self) -> Iterator[dict[str, int]]:
        """Yield each cell of the grid, as one value index for each swept field.

        The field that was named last changes fastest.
        """
        if not self.grid_cells:
            return
        for indices in product(*(range(len(values)) for values in self.grid.values())):
            yield dict(zip(self.grid, indices, strict=True))

    def settings(self, cell: int) -> dict[str, Any]:
        """Return the fields in which a cell overrides the shared spec, as submitted."""
        if cell >= self.grid_cells:
            return self.variants[cell - self.grid_cells]
        settings: dict[str, Any] = {}
        for name, values in reversed(self.grid.items()):
            cell, index = divmod(cell, len(values))
            settings[name] = values[index]
        return dict(reversed(settings.items()))


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job of a sweep, with its cell and its repeat.

    Both count from 0. Cells are in the order of `choices`, then of `variants`.
    """

    cell: int
    repeat: int
    submission: Submission


@dataclass(frozen=True, slots=True)
class TrialLink:
    """Purpose of a sweep that is a trial: the job and the finding that it tests.

    `looks` is the most looks at the verdict, and `look` the number of the current one, from 1.
    """

    job_id: str
    finding: str | None
    looks: int
    look: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as submitted, with the number of jobs in each state.

    If a repeat of a cell was retried, only its newest job is counted. Deleted jobs are not counted. A sweep whose last
    job is deleted is deleted with it. `trial` is None unless the sweep is a trial.
    """

    id: str
    submission: SweepSubmission
    counts: Mapping[JobStatus, int]
    created_at: datetime
    trial: TrialLink | None = None

    @property
    def total(self) -> int:
        """Number of jobs that are counted, in any state."""
        return sum(self.counts.values())

    @property
    def is_terminal(self) -> bool:
        """Return True if all jobs of the sweep have ended."""
        return all(status.is_terminal or count == 0 for status, count in self.counts.items())


def planned(sweep: SweepSubmission) -> list[PlannedJob]:
    """Return all jobs of a sweep, in the order of queueing.

    The first repeat of every cell comes before the second repeat of any cell.

    Raises:
        InvalidRequest: a cell is not a valid job, or the sweep as a whole is invalid; names each invalid field once.
    """
    _refuse(_misfits(sweep))
    cells = _cells(sweep)
    _refuse(_unused(sweep, cells[0]))
    _refuse(_repetitions(sweep, cells))
    if cells[0].spec.seed + sweep.repeats - 1 > MAX_SEED:
        _refuse([FieldError("/repeats", f"the last seed, seed + repeats − 1, would exceed {MAX_SEED}")])
    return [
        PlannedJob(cell, repeat, _repeated(submission, repeat))
        for repeat in range(sweep.repeats)
        for cell, submission in enumerate(cells)
    ]


def _misfits(sweep: SweepSubmission) -> Iterator[FieldError]:
    """Yield the errors of a sweep that do not depend on swept values."""
    ready = [*PRESETS, *SWEEP_PRESETS]
    if sweep.preset is not None and sweep.preset not in ready:
        yield FieldError("/preset", f"must be one of {', '.join(ready)}")
    yield from _not_swept(sweep, ["grid"], sweep.grid)
    for index, variant in enumerate(sweep.variants):
        yield from _not_swept(sweep, ["variants", index], variant)
    if sweep.repeats > 1 and "seed" in sweep.varied:
        swept = "the grid has" if "seed" in sweep.grid else "variants have"
        yield FieldError("/repeats", f"must be 1 if {swept} seeds: each repeat uses a seed of its own")
    if (count := sweep.cells * sweep.repeats) > MAX_SWEEP_JOBS:
        made_of = f"{sweep.cells:,} cells × {sweep.repeats:,} repeats"
        place = "/variants" if sweep.variants and not sweep.grid else "/grid"
        yield FieldError(place, f"{made_of} are {count:,} jobs; a sweep may have at most {MAX_SWEEP_JOBS:,}")


def _not_swept(sweep: SweepSubmission, place: Sequence[str | int], fields: Iterable[str]) -> Iterator[FieldError]:
    """Yield an error for each of these fields that no cell may set."""
    for name in fields:
        if name in _NOT_SWEPT:
            yield FieldError(json_pointer([*place, name]), _NOT_SWEPT[name])
        elif name not in _sweepable(sweep):
            yield FieldError(json_pointer([*place, name]), "unknown field")


def _sweepable(sweep: SweepSubmission) -> frozenset[str]:
    preset = PRESETS.get(sweep.preset or "")
    experiment = preset.spec.experiment if preset is not None else sweep.spec.get("experiment")
    fields = [fields for name, fields in _FIELDS.items() if name == experiment]
    # With an unknown experiment every field is allowed here; the cells report the error.
    return frozenset().union(*(fields or _FIELDS.values()))


def _cells(sweep: SweepSubmission) -> list[Submission]:
    """Return the submission of each cell's first repeat."""
    cells: list[Submission] = []
    bad: dict[str, FieldError] = {}
    shared = {"preset": sweep.preset_of_each, "device": sweep.device, "engine": sweep.engine}
    # Already valid; checking them again for each cell would take most of the time.
    label = {name: getattr(sweep, name) for name in Placement.model_fields.keys() - shared.keys()}
    for chosen, places in _overrides(sweep):
        try:
            cell = Submission.model_validate({**shared, "spec": {**sweep.spec, **chosen}})
        except ValidationError as error:
            for field in field_errors(error.errors()):
                pointer = _pointer(field.pointer, places)
                bad.setdefault(pointer, FieldError(pointer, field.message))
        else:
            cells.append(cell.model_copy(update=label))
    _refuse(bad.values())
    return cells


def _overrides(sweep: SweepSubmission) -> Iterator[tuple[Mapping[str, Any], Mapping[str, str]]]:
    """Yield each cell's overrides of the shared spec, and the place of each in the submission."""
    for choice in sweep.choices():
        chosen = {name: sweep.grid[name][index] for name, index in choice.items()}
        yield chosen, {name: json_pointer(["grid", name, index]) for name, index in choice.items()}
    for index, variant in enumerate(sweep.variants):
        yield variant, {name: json_pointer(["variants", index, name]) for name in variant}


def _unused(sweep: SweepSubmission, cell: Submission) -> Iterator[FieldError]:
    """Yield the errors of shared fields that every cell overrides.

    No cell has checked them.
    """
    # A valid value may conflict with the other fields' defaults, but then it may fit those of a cell.
    surroundings = (
        {"experiment": cell.spec.experiment},
        cell.spec.model_dump(mode="json", exclude={"effective_learning_rate"}),
    )
    setting = Counter(name for variant in sweep.variants for name in variant)
    for name in sweep.varied:
        if name in sweep.spec and sweep.grid_cells * (name in sweep.grid) + setting[name] == sweep.cells:
            found = [_errors_at(name, {**others, name: sweep.spec[name]}) for others in surroundings]
            if all(found):
                yield from found[0]


def _errors_at(name: str, spec: Mapping[str, Any]) -> list[FieldError]:
    """Return the errors of this field of a spec."""
    try:
        Submission.model_validate({"spec": spec})
    except ValidationError as error:
        pointer = json_pointer(["spec", name])
        return [each for each in field_errors(error.errors()) if f"{each.pointer}/".startswith(f"{pointer}/")]
    return []


def _pointer(pointer: str, places: Mapping[str, str]) -> str:
    """Return the sweep's pointer for an invalid field of a cell's submission."""
    match pointer.split("/"):
        case ["", "spec", name, *rest] if name in places:
            return "/".join([places[name], *rest])
    return pointer


def _repetitions(sweep: SweepSubmission, cells: list[Submission]) -> Iterator[FieldError]:
    """Yield an error for each value of the grid and each variant that equals an earlier one.

    Values are equal if they resolve to the same, however they are written. Their cells would be the same job twice.
    """
    stride = sweep.grid_cells
    for name, values in sweep.grid.items():
        stride //= len(values)
        seen: dict[object, int] = {}
        for index in range(len(values)):
            first = seen.setdefault(getattr(cells[index * stride].spec, name), index)
            if first != index:
                yield FieldError(f"/grid/{name}/{index}", f"is the same as /grid/{name}/{first}")
    earlier: dict[object, int] = {}
    for number, cell in enumerate(cells):
        same = earlier.setdefault(cell.spec, number)
        if same != number and number >= sweep.grid_cells:
            index = same - sweep.grid_cells
            like = f"cell {same} of the grid" if index < 0 else f"/variants/{index}"
            yield FieldError(f"/variants/{number - sweep.grid_cells}", f"is the same as {like}")


def _repeated(submission: Submission, repeat: int) -> Submission:
    if repeat == 0:
        return submission
    spec = submission.spec.model_copy(update={"seed": submission.spec.seed + repeat})
    return submission.model_copy(update={"spec": spec})


def _refuse(errors: Iterable[FieldError]) -> None:
    if found := list(errors):
        raise invalid_fields(found)
