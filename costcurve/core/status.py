"""The life of a job: its states, the one table of transitions, and the one function that enforces it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from costcurve.core.errors import InvalidTransition


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will ever happen to the job again."""
        return not TRANSITIONS[self]


# from → to → what happened, as the docs' diagram labels the arrow
TRANSITIONS: Mapping[JobStatus, Mapping[JobStatus, str]] = MappingProxyType(
    {
        JobStatus.QUEUED: {
            JobStatus.RUNNING: "a worker claims it",
            JobStatus.PAUSED: "its client pauses it",
            JobStatus.CANCELLED: "its client cancels it",
        },
        JobStatus.RUNNING: {
            JobStatus.SUCCEEDED: "training ends",
            JobStatus.FAILED: "training cannot go on",
            JobStatus.CANCELLED: "the worker performs a cancel request",
            JobStatus.PAUSED: "the worker performs a pause request",
            JobStatus.QUEUED: "its worker hands it back or dies",
        },
        JobStatus.PAUSED: {
            JobStatus.QUEUED: "its client resumes it",
            JobStatus.CANCELLED: "its client cancels it",
        },
        JobStatus.SUCCEEDED: {},
        JobStatus.FAILED: {},
        JobStatus.CANCELLED: {},
    }
)


def ensure_transition(current: JobStatus, target: JobStatus) -> None:
    """Raise InvalidTransition, naming both states, unless a job may go from `current` to `target`."""
    if target not in TRANSITIONS[current]:
        raise InvalidTransition(f"a {current} job cannot become {target}")


def diagram() -> str:
    """The table as a Mermaid state diagram; `make docs` puts it into docs/architecture.md."""
    arrows = [f"[*] --> {JobStatus.QUEUED}"]
    arrows += [f"{source} --> {to}: {what}" for source, targets in TRANSITIONS.items() for to, what in targets.items()]
    return "\n    ".join(["stateDiagram-v2", *arrows])
