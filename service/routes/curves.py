"""What a training came to, point by point: curves as JSON and CSV, and the transcript."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from jobs.curves import Curve, metrics_of
from jobs.errors import InvalidRequest, JobNotFound, StoreUnavailable, UnknownMetric
from jobs.store import JobStore
from service.dependencies import Store
from service.problems import documents
from service.schemas import CurveOut
from service.transcript import transcript

router = APIRouter(tags=["results"], responses=documents(JobNotFound, InvalidRequest, UnknownMetric, StoreUnavailable))

# One answer holds at most this many points; `next_from` leads on.
MAX_POINTS = 100_000
MAX_X = (1 << 31) - 1


class MetricsParameter(BaseModel):
    """Which metrics."""

    model_config = ConfigDict(extra="forbid")

    metrics: str | None = Field(default=None, description="Names, separated by commas; all of them by default.")

    def names(self) -> tuple[str, ...] | None:
        """The metrics that were asked for; None for all."""
        return tuple(dict.fromkeys(name for name in (self.metrics or "").split(",") if name)) or None


class CurveParameters(MetricsParameter):
    """Which metrics, and from which x to which."""

    first: int = Field(default=0, ge=0, le=MAX_X, alias="from")
    last: int | None = Field(default=None, ge=0, le=MAX_X, alias="to")


@router.get("/jobs/{job_id}/curve")
def get_curve(job_id: str, parameters: Annotated[CurveParameters, Query()], store: Store) -> CurveOut:
    """The curve from x = `from` to x = `to`; every value exactly as it was recorded."""
    page = store.curve(
        job_id, metrics=parameters.names(), first=parameters.first, last=parameters.last, limit=MAX_POINTS
    )
    return CurveOut.of(job_id, page)


class Csv(PlainTextResponse):
    """Comma-separated values, RFC 4180."""

    media_type = "text/csv"


@router.get("/jobs/{job_id}/curve.csv", response_class=Csv)
def get_curve_csv(job_id: str, parameters: Annotated[CurveParameters, Query()], store: Store) -> Response:
    """The same as CSV, with a header, however long."""
    metrics = parameters.names() or metrics_of(store.get(job_id).spec)
    runs = runs_of(store, job_id, metrics, parameters.first, parameters.last)
    return StreamingResponse(_csv(metrics, runs), media_type=Csv.media_type)


@router.get("/jobs/{job_id}/transcript", response_class=PlainTextResponse)
def get_transcript(job_id: str, store: Store) -> Response:
    """The lines that the article prints."""
    job = store.get(job_id)
    runs = runs_of(store, job_id, metrics_of(job.spec))
    return StreamingResponse(transcript(job, runs), media_type="text/plain")


def runs_of(
    store: JobStore, job_id: str, metrics: tuple[str, ...], first: int = 0, last: int | None = None
) -> Iterator[Curve]:
    """The range in runs of at most MAX_POINTS. The first is read at once, so that its errors still can be answered."""
    page = store.curve(job_id, metrics=metrics, first=first, last=last, limit=MAX_POINTS)

    def rest(page_start: int) -> Iterator[Curve]:
        yield page.curve
        while len(
            following := store.curve(job_id, metrics=metrics, first=page_start, last=last, limit=MAX_POINTS).curve
        ):
            yield following
            page_start = following.end

    return rest(page.next_from)


def _csv(metrics: tuple[str, ...], runs: Iterator[Curve]) -> Iterator[str]:
    yield ",".join(("x", *metrics)) + "\r\n"
    for run in runs:
        rows = zip(range(run.start, run.end), *run.series.values(), strict=True)
        yield "".join(",".join(map(repr, row)) + "\r\n" for row in rows)
