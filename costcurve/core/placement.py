"""Placement of a job: where and when it runs, and its name. Nothing here changes the numbers.

A new field of jobs is added here, to the store (a column with a migration) and to the command line (`JobOptions`). Each
class is the same fields in another role: what a client sends, what the store holds, what the service returns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, Field

from costcurve.core.engines import AUTO, engine_requests
from costcurve.core.validation import NameIn, StrictModel, Text, bad_value

Device = Literal["auto", "cpu", "cuda"]
MAX_TAGS = 16


def _without_colon(key: str) -> str:
    if ":" in key:
        raise bad_value("must not contain a colon: it separates key and value in a filter")
    return key


EngineRequest = Annotated[str, NameIn(engine_requests)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
TagKey = Annotated[Text, AfterValidator(_without_colon), Field(min_length=1, max_length=64)]
TagValue = Annotated[Text, Field(max_length=256)]
Priority = Annotated[int, Field(ge=0, le=100, description="Higher first.")]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=MAX_TAGS)]


class Placement(StrictModel):
    """Where and when a job runs, and what it is called. Nothing here changes the numbers."""

    device: Device = "auto"
    engine: EngineRequest = AUTO
    name: Name | None = None
    tags: Tags = Field(default={})
    priority: Priority = 50
    max_runtime_seconds: (
        Annotated[
            float, Field(gt=0, le=31_536_000, description="Training time after which the job fails (`timed_out`).")
        ]
        | None
    ) = None


# Fields that the store has in a column of the same name. It has tags in a table, and the requested engine and device
# apart from those that the worker chose.
STORED_BY_NAME = tuple(name for name in Placement.model_fields if name not in ("device", "engine", "tags"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Placement of a stored job. `engine` and `device` are the requested ones until a worker has chosen."""

    name: str | None
    tags: dict[str, str]
    priority: int
    engine: str
    device: str
    max_runtime_seconds: float | None


class PlacedOut(BaseModel):
    """Id and placement in a response of the service."""

    id: str
    name: str | None
    tags: dict[str, str]
    priority: int
    engine: str
    device: str
    max_runtime_seconds: float | None


class PlacedAnswer(BaseModel):
    """Id and placement as the client reads them; an older service may leave out any field but the id."""

    id: str
    name: str | None = None
    tags: dict[str, str] = {}
    priority: int | None = None
    engine: str | None = None
    device: str | None = None
    max_runtime_seconds: float | None = None


class PlacementFields(TypedDict, total=False):
    """Placement that a client gives with a submission; None leaves the default."""

    device: str | None
    engine: str | None
    name: str | None
    tags: Mapping[str, str] | None
    priority: int | None
    max_runtime_seconds: float | None


class PlacementOverrides(TypedDict, total=False):
    """Placement in which a job differs from the one that it derives from; None is a value."""

    device: str
    engine: str
    name: str | None
    tags: Mapping[str, str]
    priority: int
    max_runtime_seconds: float | None
