"""Jobs, the claims that workers hold on them, and training results."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator

from costcurve.core.placement import Placed
from costcurve.core.spec import AnySpec
from costcurve.core.status import JobStatus


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    final_cost: float
    train_seconds: float


class NeuronResult(_Result):
    """Final state of one neuron, after the last update."""

    experiment: Literal["neuron"] = "neuron"
    final_output: float
    final_weight: float
    final_bias: float


class MnistResult(_Result):
    """Test results of a trained network, and the hash of its weights.

    `final_cost` is the mean minibatch cost of the last epoch. `weights_sha256` is over each layer's W (n_in × n_out,
    row by row), then its b, as little-endian float32.
    """

    experiment: Literal["mnist"] = "mnist"
    final_correct: int
    final_accuracy: float
    test_size: int
    best_correct: int
    best_accuracy: float
    best_epoch: int
    epochs_trained: int
    weights_sha256: str


Result = Annotated[NeuronResult | MnistResult, Discriminator("experiment")]


@dataclass(frozen=True, slots=True)
class Progress:
    """Number of finished epochs and steps, and the remaining seconds.

    `eta_seconds` is None until it can be estimated.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    eta_seconds: float | None
    succeeded: bool = False

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1.

        It is 1 for every job that succeeded, even if training stopped early.
        """
        return 1.0 if self.succeeded else self.step / self.steps


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason why a job failed: a stable code and a readable text."""

    code: str
    message: str


class ExecProfile(BaseModel):
    """Everything but the spec that can change a result's last bits.

    For the same spec, equal profiles give equal bits. `device` is "cpu" or the name of a GPU. `instruction_set` names
    the processor instructions that the engine uses. `versions` has the version of each library and source that
    computes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    device: str
    instruction_set: str
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Placed):
    """One training job in its current state."""

    id: str
    status: JobStatus
    status_reason: str | None
    spec: AnySpec
    spec_hash: str
    attempt: int
    parent_id: str | None
    pinned: bool
    progress: Progress
    result: NeuronResult | MnistResult | None
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    version: int
    exec_profile: ExecProfile | None = None
    # The sweep that queued the job, its cell of the grid, and its repeat; both count from 0.
    sweep_id: str | None = None
    cell: int | None = None
    repeat: int | None = None
    # Place in the queue, counted from 1. Known only for a queued job, at the moment of reading.
    queue_position: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Return True if the job has ended and its state cannot change."""
        return self.status.is_terminal


class Request(StrEnum):
    """Request from a client to the worker of a running job."""

    CANCEL = "cancel"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Event:
    """Change of a job, or a request for one, with its reason.

    It has the time and the author, too. `from_status` equals `to_status` for a request that a worker has not performed
    yet. The first event has no `from_status`.
    """

    id: int
    at: datetime
    by: str
    from_status: JobStatus | None
    to_status: JobStatus
    why: str


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One live worker incarnation: a process start, not a machine.

    `host` and `pid` are None for callers who may not see them.
    """

    id: str
    host: str | None
    pid: int | None
    device: str
    engines: tuple[str, ...]
    started_at: datetime
    heartbeat_at: datetime | None
    lease_expires_at: datetime | None
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Waiting jobs and busy workers, as input for scaling the workers.

    Attributes:
        waiting: queued jobs. Counting stops at the limit that the caller gave.
        busy: ids of the workers that run a job.
    """

    waiting: int
    busy: frozenset[str]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Engine that trains a job, and the number of jobs per claim.

    `at_once` is the number of jobs of this shape that a worker takes together. `remark` says why this is not the engine
    that one would expect. `profile` is what decides the last bits with this engine.
    """

    engine: str
    at_once: int = 1
    remark: str | None = None
    profile: ExecProfile | None = None


# Returns the choice for a spec, the requested engine ("auto" included) and the device to train on.
EngineSelector = Callable[[AnySpec, str, str], EngineChoice]


@dataclass(frozen=True, slots=True)
class Claim:
    """Right of a worker to train one job.

    The store refuses every write with this claim once the worker no longer holds the job. `checkpoint` names the file
    to resume from; None means from step 0. `waited_seconds` is the time from submission to this claim; None if the job
    was claimed before.
    """

    job_id: str
    job_pk: int
    attempt_pk: int
    attempt: int
    worker_id: str
    spec: AnySpec
    spec_hash: str
    engine: str
    device: str
    max_runtime_seconds: float | None
    checkpoint: str | None
    profile: ExecProfile | None = None
    sweep_id: str | None = None
    waited_seconds: float | None = None
