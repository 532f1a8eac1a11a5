"""Requests and responses about keys, projects and the caller."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from costcurve.core.access import ApiKey, Caller, NewKey, Project, ProjectLimits, ProjectName, Scope

_Scopes = Annotated[list[Scope], AfterValidator(sorted)]


class CallerOut(BaseModel):
    """Project and key of the request. `key_id` is null if the service requires no keys."""

    project: str
    key_id: str | None
    key_name: str
    scopes: _Scopes

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """Return the caller as its own client sees it."""
        return cls(project=caller.project, key_id=caller.key_id, key_name=caller.key_name, scopes=list(caller.scopes))


class KeyIn(NewKey):
    """A key to create, and the project that it is for."""

    project: ProjectName


class KeyOut(BaseModel):
    """One key, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    project: str
    name: str
    prefix: str = Field(description="The part of the key that is not secret.")
    scopes: _Scopes
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To about a minute.")


class CreatedKeyOut(KeyOut):
    """A new key with its secret, which the service shows only here."""

    key: str

    @classmethod
    def of(cls, key: ApiKey, secret: str) -> Self:
        """Return the key together with its secret."""
        return cls(**KeyOut.model_validate(key).model_dump(), key=secret)


class KeyList(BaseModel):
    """All keys, or those of one project, the oldest first."""

    items: list[KeyOut]

    @classmethod
    def of(cls, keys: Sequence[ApiKey]) -> Self:
        """Return these keys as a list."""
        return cls(items=[KeyOut.model_validate(key) for key in keys])


class ProjectOut(BaseModel):
    """One project, with its limits; null is the default of the settings."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    limits: ProjectLimits
    created_at: datetime


class ProjectList(BaseModel):
    """All projects, the oldest first."""

    items: list[ProjectOut]

    @classmethod
    def of(cls, projects: Sequence[Project]) -> Self:
        """Return these projects as a list."""
        return cls(items=[ProjectOut.model_validate(project) for project in projects])
