"""Routes of one job's curve, as JSON and CSV, and of its transcript."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from costcurve.core.curve import Granularity
from costcurve.core.errors import InvalidRequest, JobNotFound, StoreUnavailable, UnknownMetric
from costcurve.core.spec import NeuronSpec
from costcurve.store import JobStore
from service.curve_reader import MAX_POINTS, Reading
from service.dependencies import ReadingGate, Store
from service.export.csv_export import Csv, csv_of_pieces, csv_of_sample
from service.export.transcript import transcript
from service.heavy_work import Gate, Later, Streamed, json_of
from service.http.strict_routes import StrictRoute, Whole
from service.http_cache import IfNoneMatch, conditional, etag_of
from service.problems import documents
from service.schemas.curves import CurveOut

router = APIRouter(
    route_class=StrictRoute,
    tags=["results"],
    responses=documents(JobNotFound, InvalidRequest, UnknownMetric, StoreUnavailable),
)

MAX_X = (1 << 31) - 1
# A curve of up to this number of values is read at once, for clients that poll; longer ones wait for their turn.
_FEW_VALUES = 10_000

# `responses` of a route that sends an ETag.
TAGGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"schema": {"type": "string"}}}},
    304: {"description": "The response is unchanged: If-None-Match has its ETag."},
}


class MetricsParameter(BaseModel):
    """Metrics and granularity of a curve."""

    model_config = ConfigDict(extra="forbid")

    metrics: str | None = Field(
        default=None, description="Names of metrics, separated by commas. Default: all metrics."
    )
    granularity: Granularity = Field(
        default="epoch",
        description="One point for each epoch, or for each hundred steps. A neuron's curve is the same for both.",
    )

    def names(self) -> tuple[str, ...] | None:
        """Return the requested metrics without duplicates; None for all metrics."""
        return tuple(dict.fromkeys(name for name in (self.metrics or "").split(",") if name)) or None


class CurveParameters(MetricsParameter):
    """Metrics, granularity, range of x and number of points of a curve."""

    first: Whole = Field(default=0, ge=0, le=MAX_X, alias="from")
    last: Whole | None = Field(default=None, ge=0, le=MAX_X, alias="to", description="Inclusive.")
    max_points: Whole | None = Field(
        default=None,
        ge=1,
        le=MAX_POINTS,
        description="If the range has more points, the response has only the first, the last, and the lowest and "
        "highest of each metric in each bucket of the range. The minimum is two for each metric, plus two.",
    )


@router.get("/jobs/{job_id}/curve", response_model=CurveOut, responses=TAGGED)
def get_curve(
    job_id: str,
    parameters: Annotated[CurveParameters, Query()],
    store: Store,
    gate: ReadingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the job's curve from x = `from` to x = `to`.

    Every value is exactly as it was recorded.
    """
    with store.read_transaction() as seen:
        # Of a long curve, which is read later, the ETag may be too old: the next request gets the curve, not a 304.
        etag = etag_of(job_id, seen.versions([job_id]), parameters)

        def respond() -> Response:
            reading = reading_of(seen, [job_id], parameters)
            if reading.total_points * len(reading.metrics) > _FEW_VALUES:
                return Later(gate, lambda: json_of(_long_curve(store, job_id, parameters)))
            reading.load()
            sample = reading.sample(parameters.max_points)
            return json_of(CurveOut.of_sample(job_id, parameters.granularity, reading, sample))

        return conditional(etag, if_none_match, respond)


def _long_curve(store: JobStore, job_id: str, parameters: CurveParameters) -> CurveOut:
    if parameters.max_points is not None:
        with store.read_transaction() as seen:
            reading = reading_of(seen, [job_id], parameters)
            reading.load()
        return CurveOut.of_sample(job_id, parameters.granularity, reading, reading.sample(parameters.max_points))
    page = store.curve(
        job_id,
        granularity=parameters.granularity,
        metrics=parameters.names(),
        first=parameters.first,
        last=parameters.last,
        limit=MAX_POINTS,
    )
    return CurveOut.of_page(job_id, parameters.granularity, page)


@router.get("/jobs/{job_id}/curve.csv", response_class=Csv)
def get_curve_csv(
    job_id: str, parameters: Annotated[CurveParameters, Query()], store: Store, gate: ReadingGate
) -> Response:
    """Return the job's curve as CSV with a header line, of any length."""

    def read() -> Response:
        with store.read_transaction() as seen:
            reading = reading_of(seen, [job_id], parameters)
            if parameters.max_points is not None:
                reading.load()
        return csv_answer(gate, reading, reading.metrics, parameters.max_points)

    return Later(gate, read)


@router.get("/jobs/{job_id}/transcript", response_class=PlainTextResponse)
def get_transcript(job_id: str, store: Store, gate: ReadingGate) -> Response:
    """Return the training's transcript, in the lines that the article prints."""

    def read() -> Response:
        with store.read_transaction() as seen:
            job = seen.get(job_id)
            shown = ("cost", "output") if isinstance(job.spec, NeuronSpec) else ("correct",)
            reading = Reading(seen, [job_id], metrics=shown)
        runs = (run for [run] in reading.pieces())
        return Streamed(gate, transcript(job, runs), media_type="text/plain")

    return Later(gate, read)


def reading_of(store: JobStore, job_ids: list[str], parameters: CurveParameters) -> Reading:
    """Return a reading of these jobs' curves with the request's parameters."""
    return Reading(
        store,
        job_ids,
        granularity=parameters.granularity,
        metrics=parameters.names(),
        first=parameters.first,
        last=parameters.last,
    )


def csv_answer(gate: Gate, reading: Reading, names: tuple[str, ...], max_points: int | None) -> Response:
    """Return the reading as streamed CSV, with the columns x and `names`."""
    header = ("x", *names)
    if max_points is None:
        lines = csv_of_pieces(header, reading.pieces(), reading.metrics, stride=reading.stride)
    else:
        lines = csv_of_sample(header, reading.sample(max_points), stride=reading.stride)
    return Streamed(gate, lines, media_type=Csv.media_type)
