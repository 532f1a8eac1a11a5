"""Projects, API keys and the callers that they identify.

A project owns jobs and sweeps. A key belongs to one project, and its scopes say what a caller with it may do.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from costcurve.core.placement import Name, Priority
from costcurve.core.validation import StrictModel, bad_value

# Owner of everything that was submitted without a key.
DEFAULT_PROJECT, DEFAULT_PROJECT_PK = "default", 1
# Author of the events of callers without a key.
CLIENT = "client"
_PROJECT_NAME = "[a-z0-9-]{1,63}"


def _project_name(name: str) -> str:
    if not re.fullmatch(_PROJECT_NAME, name):
        raise bad_value("must have 1 to 63 characters: lower-case letters, digits and hyphens")
    return name


ProjectName = Annotated[str, AfterValidator(_project_name), Field(json_schema_extra={"pattern": f"^{_PROJECT_NAME}$"})]


class Scope(StrEnum):
    """Right of a key."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Project and key of a request; `key_id` is None without a key."""

    project_pk: int
    project: str
    key_id: str | None
    key_name: str
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        """Return True if the caller may see and change what belongs to the service itself."""
        return Scope.ADMIN in self.scopes


# The caller of every request while keys are off.
LOCAL = Caller(DEFAULT_PROJECT_PK, DEFAULT_PROJECT, None, CLIENT, frozenset(Scope))


class ProjectLimits(StrictModel):
    """Limits of one project; null leaves the service's default."""

    queued_jobs: Annotated[int, Field(ge=0, description="Jobs that wait at once.")] | None = None
    sweep_cells: Annotated[int, Field(ge=1, description="Cells of one sweep.")] | None = None
    priority: Annotated[Priority, Field(description="Highest priority of a job.")] | None = None
    max_runtime_seconds: (
        Annotated[float, Field(gt=0, description="Training time after which a job fails (`timed_out`).")] | None
    ) = None
    submission_seconds: (
        Annotated[float, Field(gt=0, description="Estimated seconds of one submission on one core.")] | None
    ) = None
    submission_bytes: (
        Annotated[int, Field(ge=1, description="Estimated bytes that one submission will store.")] | None
    ) = None


class NewProject(StrictModel):
    """A project to create."""

    name: ProjectName
    limits: ProjectLimits = ProjectLimits()


class NewKey(StrictModel):
    """A key to create; it never expires if `expires_at` is null."""

    name: Name
    scopes: Annotated[tuple[Annotated[Scope, Field(strict=False)], ...], Field(min_length=1, strict=False)] = (
        Scope.READ,
        Scope.SUBMIT,
    )
    expires_at: Annotated[AwareDatetime, Field(strict=False)] | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """Owner of jobs and sweeps."""

    name: str
    limits: ProjectLimits
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret; `prefix` is the part of it that is not secret."""

    id: str
    project: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
