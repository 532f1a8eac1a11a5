"""Responses of the service as typed objects.

Fields that a newer service adds are kept (`model_extra`) and never refused, so that an older client keeps working.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from costcurve.core.placement import PlacedAnswer


class Answer(BaseModel):
    """Base of all responses: immutable, and with the fields that a newer service adds."""

    # The validator of each class is built when it is first used: a command needs few of them.
    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)


class Progress(Answer):
    """Progress of training: finished epochs and steps, and their totals.

    `fraction` is a share from 0 to 1. `eta_seconds` is the remaining time in seconds, once known.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    fraction: float
    eta_seconds: float | None = None


class JobError(Answer):
    """Reason why a job failed: a stable code and a message."""

    code: str
    message: str


class Job(Answer, PlacedAnswer):
    """Training job, in its state at the time of the response."""

    status: str
    is_terminal: bool
    spec: dict[str, Any]
    progress: Progress
    result: dict[str, Any] | None = None
    error: JobError | None = None
    status_reason: str | None = None
    spec_hash: str | None = None
    pinned: bool = False
    exec_profile: dict[str, Any] | None = None
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
        """True if the training succeeded; False while the job has not ended."""
        return self.status == "succeeded"


class SpecWarning(Answer):
    """Warning about a valid setting with which a job is expected to learn slowly, or not at all.

    `pointer` is the JSON pointer of the field in the submission.
    """

    code: str
    message: str
    pointer: str | None = None


class SubmittedJob(Job):
    """Job that was just submitted, with warnings about its spec."""

    warnings: list[SpecWarning] = []


class JobPage(Answer):
    """One page of a list of jobs.

    `next_cursor` is the cursor of the next page; None on the last page.
    """

    items: list[Job]
    next_cursor: str | None = None


class Event(Answer):
    """Event of a job: its actor, time and reason in words.

    `from_status` of the first event is None.
    """

    id: int
    at: datetime
    by: str
    from_status: str | None = None
    to_status: str
    why: str


class EventList(Answer):
    """All events of a job, the oldest first."""

    items: list[Event]


class Worker(Answer):
    """Worker that is alive, with the ids of its running jobs."""

    id: str
    host: str | None = None
    pid: int | None = None
    device: str
    engines: list[str] = []
    started_at: datetime
    heartbeat_at: datetime | None = None
    lease_expires_at: datetime | None = None
    job_ids: list[str] = []


class WorkerList(Answer):
    """List of all workers that are alive at present."""

    items: list[Worker]


class Curve(Answer):
    """Curve of one job as columns: `series[metric][i]` belongs to `x[i]`.

    A value is None if it is infinite or was not recorded. For mnist, x counts finished epochs or steps, from 0, as
    `granularity` says. For a neuron, x counts updates; 0 is before the first update.

    `total_points` is the number of points in the requested range. `sampled` is True if points are left out. `next_from`
    is the x from which to request new points.
    """

    job_id: str
    granularity: str = "epoch"
    x: list[int]
    series: dict[str, list[float | None]]
    total_points: int
    sampled: bool = False
    next_from: int


class ComparedJob(Answer):
    """One of the jobs of a comparison."""

    id: str
    name: str | None = None
    status: str
    experiment: str


class Difference(Answer):
    """Field of the spec that differs between the compared jobs.

    `values` holds its value by job id; None if a job has no such field. `derived` is True if the field follows from
    other fields.
    """

    field: str
    values: dict[str, Any]
    derived: bool = False


class ResultFigure(Answer):
    """One result figure of the compared jobs.

    `values` holds its value by job id; None if a job has none yet, or never has it.
    """

    field: str
    values: dict[str, Any]


class ComparedCurves(Answer):
    """Curves of several jobs on one axis: `series[metric][job_id][i]` belongs to `x[i]`.

    A value is None where the job has no point.
    """

    granularity: str = "epoch"
    x: list[int]
    series: dict[str, dict[str, list[float | None]]]
    total_points: int
    sampled: bool
    next_from: int


class Comparison(Answer):
    """Comparison of several jobs: differences, results and curves.

    `curves` is None for jobs of different experiments, which share no axis.
    """

    jobs: list[ComparedJob]
    differences: list[Difference]
    results: list[ResultFigure]
    curves: ComparedCurves | None = None


class Prediction(Answer):
    """Predicted digit and ten network outputs for each image."""

    job_id: str
    digits: list[int]
    outputs: list[list[float]]


class Confusion(Answer):
    """Confusion matrix of a network on the test images.

    `counts[i][j]` is the number of test images of digit `labels[i]` that are classified as `labels[j]`.
    """

    job_id: str
    labels: list[int]
    counts: list[list[int]]
    correct: int
    total: int


class Mistake(Answer):
    """Test image that the network classifies wrongly.

    `image` is its number among the test images, from 0.
    """

    image: int
    label: int
    prediction: int
    cost: float
    outputs: list[float]


class MistakeList(Answer):
    """Test images that the network classifies wrongly, the worst first."""

    items: list[Mistake]


class RateRange(Answer):
    """Effective learning rate of a spec, the one that suits its network, and the range of sound rates."""

    effective: float
    sound: float
    lowest: float
    highest: float


class NeuronCourse(Answer):
    """Simulated course of a neuron.

    `updates` is the number of simulated updates. `halfway_update` is the first update after which the output has come
    half way to its target; None if there is none.
    """

    updates: int
    halfway_update: int | None = None
    final_output: float | None = None
    final_cost: float | None = None


class Forecast(Answer):
    """Expected start of a training, and a neuron's whole course.

    `method` is `drawn_weights`, `mean_field` or `simulation`. `start` has the expected metrics before the first update;
    a value is None if it is not finite. `learning_rate` is None where the start says nothing of the rate. `course` is
    None for a network.
    """

    method: str
    start: dict[str, float | None]
    is_badly_wrong: bool
    learning_rate: RateRange | None = None
    course: NeuronCourse | None = None


class Validation(Answer):
    """Result of validating a submission: resolved spec, cost, forecast and warnings.

    The cost in time and memory is estimated for one CPU core. `forecast` is None if the service is too old for one.
    """

    spec: dict[str, Any]
    spec_hash: str
    total_steps: int
    estimated_seconds: float
    estimated_memory_bytes: int
    forecast: Forecast | None = None
    warnings: list[SpecWarning]


class Preset(Answer):
    """Ready spec, with every default filled in."""

    name: str
    description: str
    spec: dict[str, Any]


class PresetList(Answer):
    """All presets, those of the article first."""

    items: list[Preset]


class ServiceVersion(Answer):
    """Version of CostCurve that the service runs."""

    version: str
