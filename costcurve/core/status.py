"""Job states, the table of transitions, and the function that enforces it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from costcurve.core.errors import InvalidTransition


class JobStatus(StrEnum):
    """State of a job. `succeeded`, `failed` and `cancelled` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Return True if a job in this state can never change again."""
        return not TRANSITIONS[self]


# from → to → event, which labels the arrow in the docs' diagram
TRANSITIONS: Mapping[JobStatus, Mapping[JobStatus, str]] = MappingProxyType(
    {
        JobStatus.QUEUED: {
            JobStatus.RUNNING: "a worker claims it",
            JobStatus.PAUSED: "its client pauses it",
            JobStatus.CANCELLED: "its client cancels it",
        },
        JobStatus.RUNNING: {
            JobStatus.SUCCEEDED: "training ends",
            JobStatus.FAILED: "training cannot continue",
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
    """Raise InvalidTransition unless a job may change from `current` to `target`.

    The error names both states.
    """
    if target not in TRANSITIONS[current]:
        raise InvalidTransition(f"a {current} job cannot become {target}")


def diagram() -> str:
    """Return the table as a Mermaid state diagram.

    `make docs` puts it into docs/architecture.md.
    """
    arrows = [f"[*] --> {JobStatus.QUEUED}"]
    arrows += [f"{source} --> {to}: {what}" for source, targets in TRANSITIONS.items() for to, what in targets.items()]
    return "\n    ".join(["stateDiagram-v2", *arrows])
