"""What the service answers, as typed objects.

Fields that a newer service adds are kept (`model_extra`), never refused: an older client keeps working.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Progress(_Answer):
    """How far training is: finished epochs and steps of how many, and the seconds still to go, once known."""

    epoch: int
    epochs: int
    step: int
    steps: int
    fraction: float
    eta_seconds: float | None = None


class JobError(_Answer):
    """Why a job failed: a stable code, and a text."""

    code: str
    message: str


class Job(_Answer):
    """A training job, as it stood when the service answered."""

    id: str
    status: str
    is_terminal: bool
    spec: dict[str, Any]
    progress: Progress
    result: dict[str, Any] | None = None
    error: JobError | None = None
    status_reason: str | None = None
    spec_hash: str | None = None
    name: str | None = None
    tags: dict[str, str] = {}
    priority: int | None = None
    pinned: bool = False
    engine: str | None = None
    device: str | None = None
    exec_profile: dict[str, Any] | None = None
    max_runtime_seconds: float | None = None
    attempt: int | None = None
    queue_position: int | None = None
    parent_id: str | None = None
    sweep_id: str | None = None
    cell: int | None = None
    repeat: int | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    version: int

    @property
    def succeeded(self) -> bool:
        """Whether the training ended as it should; False as well while it has not ended."""
        return self.status == "succeeded"


class JobPage(_Answer):
    """Some jobs, and the cursor of the page behind them; None when this page is the last."""

    items: list[Job]
    next_cursor: str | None = None


class Spread(_Answer):
    """How a figure is spread over n jobs; `stdev`, with the divisor n − 1, is None for one job."""

    n: int
    mean: float
    stdev: float | None = None
    min: float
    max: float


class SeedDifference(_Answer):
    """By how much a cell's scores differ from the leader's with the same seed, over the n seeds that both have."""

    to_cell: int
    n: int
    mean: float
    stdev: float | None = None
    standard_error: float | None = None


class CellJob(_Answer):
    """One job of a cell; its score, by which cells are ranked, once it has succeeded."""

    id: str
    repeat: int
    seed: int
    status: str
    score: float | None = None


class Cell(_Answer):
    """One cell of a sweep: what it sets, its jobs, and for each figure of their results its spread.

    `rank` counts from 1, the best; it is None while none of its jobs has succeeded.
    """

    cell: int
    settings: dict[str, Any]
    rank: int | None = None
    counts: dict[str, int]
    figures: dict[str, Spread] = {}
    difference: SeedDifference | None = None
    jobs: list[CellJob] = []


class Ranking(_Answer):
    """By the mean of which figure cells are ranked, and whether a `higher` or a `lower` one is better."""

    figure: str
    better: str


class CellPage(_Answer):
    """Some cells of a sweep, and the cursor of the page behind them; None when this page is the last."""

    ranking: Ranking
    items: list[Cell]
    next_cursor: str | None = None


class Sweep(_Answer):
    """A sweep: what was submitted, and how many of its jobs are in each state; if asked for alone, its best cells."""

    id: str
    grid: dict[str, list[Any]]
    repeats: int
    cells: int
    total: int
    counts: dict[str, int]
    is_terminal: bool
    name: str | None = None
    preset: str | None = None
    spec: dict[str, Any] = {}
    tags: dict[str, str] = {}
    priority: int | None = None
    engine: str | None = None
    device: str | None = None
    max_runtime_seconds: float | None = None
    ranking: Ranking | None = None
    leaderboard: list[Cell] = []
    created_at: datetime

    @property
    def ended(self) -> int:
        """How many of its jobs have ended, however they ended."""
        return self.total - sum(self.counts.get(status, 0) for status in ("queued", "running", "paused"))

    @property
    def succeeded(self) -> bool:
        """Whether all of its jobs have ended as they should."""
        return self.counts.get("succeeded", 0) == self.total


class SweepPage(_Answer):
    """Some sweeps, and the cursor of the page behind them; None when this page is the last."""

    items: list[Sweep]
    next_cursor: str | None = None


class Event(_Answer):
    """Something that happened to a job: who did it, when, and why in words; the first comes from no status."""

    id: int
    at: datetime
    by: str
    from_status: str | None = None
    to_status: str
    why: str


class EventList(_Answer):
    """All that happened to a job, the first first."""

    items: list[Event]


class Worker(_Answer):
    """A worker that is alive, and the jobs that it has in hand."""

    id: str
    host: str
    pid: int
    device: str
    engines: list[str] = []
    started_at: datetime
    heartbeat_at: datetime | None = None
    lease_expires_at: datetime | None = None
    job_ids: list[str] = []


class WorkerList(_Answer):
    """Every worker that is alive."""

    items: list[Worker]


class Curve(_Answer):
    """A curve as columns: `series[metric][i]` belongs to `x[i]`, and is None where it is infinite or was not recorded.

    mnist counts finished epochs, the first being 0, or steps (`granularity`); a neuron counts the updates made, 0 being
    before any. `total_points` is how many points there are in the range that was asked for, `sampled` whether some of
    them are left out, and `next_from` the x from which to ask for what is new.
    """

    job_id: str
    granularity: str = "epoch"
    x: list[int]
    series: dict[str, list[float | None]]
    total_points: int
    sampled: bool = False
    next_from: int


class ComparedJob(_Answer):
    """One of the jobs that are compared."""

    id: str
    name: str | None = None
    status: str
    experiment: str


class Difference(_Answer):
    """A field of the spec that is not the same in all jobs: its value in each, by id; None where a job has none.

    `derived`: it follows from other fields.
    """

    field: str
    values: dict[str, Any]
    derived: bool = False


class ResultFigure(_Answer):
    """A figure of the results in each job, by id; None where a job has none (yet)."""

    field: str
    values: dict[str, Any]


class ComparedCurves(_Answer):
    """Curves on one axis: `series[metric][job_id][i]` belongs to `x[i]`, and is None where the job has no point."""

    granularity: str = "epoch"
    x: list[int]
    series: dict[str, dict[str, list[float | None]]]
    total_points: int
    sampled: bool
    next_from: int


class Comparison(_Answer):
    """Some jobs side by side. `curves` is None for jobs of different experiments, which share no axis."""

    jobs: list[ComparedJob]
    differences: list[Difference]
    results: list[ResultFigure]
    curves: ComparedCurves | None = None


class Prediction(_Answer):
    """For each image the digit that is read, and the ten outputs that say so."""

    job_id: str
    digits: list[int]
    outputs: list[list[float]]


class Confusion(_Answer):
    """`counts[i][j]`: so many of the test images of digit `labels[i]` are read as `labels[j]`."""

    job_id: str
    labels: list[int]
    counts: list[list[int]]
    correct: int
    total: int


class Mistake(_Answer):
    """A test image that is read wrongly; `image` is its number among the test images, from 0."""

    image: int
    label: int
    prediction: int
    cost: float
    outputs: list[float]


class MistakeList(_Answer):
    """Test images that are read wrongly, the worst first."""

    items: list[Mistake]


class SpecWarning(_Answer):
    """Something legal in a spec that is rarely meant."""

    code: str
    message: str


class Validation(_Answer):
    """What a submission would come to: the resolved spec, its cost on one CPU core, and warnings."""

    spec: dict[str, Any]
    spec_hash: str
    total_steps: int
    estimated_seconds: float
    estimated_memory_bytes: int
    warnings: list[SpecWarning]


class Preset(_Answer):
    """A ready spec, with every default filled in."""

    name: str
    description: str
    spec: dict[str, Any]


class PresetList(_Answer):
    """All presets, the article's own first."""

    items: list[Preset]


class SweepPreset(_Answer):
    """A ready sweep, as one would submit it."""

    name: str
    description: str
    spec: dict[str, Any]
    grid: dict[str, list[Any]]
    repeats: int


class SweepPresetList(_Answer):
    """All ready sweeps."""

    items: list[SweepPreset]


class ServiceVersion(_Answer):
    """Which CostCurve the service is."""

    version: str
