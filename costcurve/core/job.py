"""A job as the store knows it, a worker's claim on it, and what training it came to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator

from costcurve.core.spec import AnySpec
from costcurve.core.status import JobStatus


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    final_cost: float
    train_seconds: float


class NeuronResult(_Result):
    """Where one neuron ended; all figures after the last update."""

    experiment: Literal["neuron"] = "neuron"
    final_output: float
    final_weight: float
    final_bias: float


class MnistResult(_Result):
    """How well the network reads the test images; `final_cost` is the last epoch's mean minibatch cost.

    `weights_sha256` is over each layer's W (n_in × n_out, row by row), then its b, as little-endian float32.
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
    """How far training is: finished epochs and steps, and the seconds still to go, once they can be told."""

    epoch: int
    epochs: int
    step: int
    steps: int
    eta_seconds: float | None
    succeeded: bool = False

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 to 1; a training that was stopped early has nothing left to do."""
        return 1.0 if self.succeeded else self.step / self.steps


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a stable code, and a text for a person."""

    code: str
    message: str


class ExecProfile(BaseModel):
    """What trains a job, as far as it decides the last bits: equal profiles give equal bits.

    `device` is "cpu" or a GPU's name, `instruction_set` what the engine uses of its processor, `versions` those of all
    that computes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    device: str
    instruction_set: str
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """One training job, as it stands."""

    id: str
    status: JobStatus
    status_reason: str | None
    spec: AnySpec
    spec_hash: str
    name: str | None
    tags: dict[str, str]
    priority: int
    engine: str
    device: str
    max_runtime_seconds: float | None
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
    # The sweep that queued it, which cell of the grid it is, and which repeat, both from 0.
    sweep_id: str | None = None
    cell: int | None = None
    repeat: int | None = None
    # How many will start before it, and it; known only while it is queued, and when it is looked at.
    queue_position: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will ever happen to the job again."""
        return self.status.is_terminal


class Request(StrEnum):
    """What a client has asked the worker of a running job to do."""

    CANCEL = "cancel"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job: who did it, when, and why in words.

    A request that a worker is still to perform leaves the status as it is. The first event comes from no status.
    """

    id: int
    at: datetime
    by: str
    from_status: JobStatus | None
    to_status: JobStatus
    why: str


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker incarnation that is alive: a process start, not a machine."""

    id: str
    host: str
    pid: int
    device: str
    engines: tuple[str, ...]
    started_at: datetime
    heartbeat_at: datetime | None
    lease_expires_at: datetime | None
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do, for those who decide how many workers there should be.

    Attributes:
        waiting: queued jobs, counted only as far as was asked.
        busy: the ids of the workers that have a job in hand.
    """

    waiting: int
    busy: frozenset[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine that trains a job, and how many jobs of its shape a worker takes at once for it.

    `remark` says why it is not the one that one would expect, `profile` what decides the last bits with it.
    """

    engine: str
    at_once: int = 1
    remark: str | None = None
    profile: ExecProfile | None = None


# The choice for a spec, the engine that was requested ("auto" included), and the device on which it is trained.
Choose = Callable[[AnySpec, str, str], Choice]


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to train one job. Every write made with it is refused once the job is no longer its own.

    `checkpoint` names the file from which to go on; None to start from the beginning. `waited_seconds` is the time from
    the submission to this claim; None if the job was claimed before.
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
