"""Routes of the service itself: health, readiness, metrics, version, presets and workers."""

from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from costcurve.core.errors import Draining, StoreUnavailable
from costcurve.core.presets import PRESETS, SWEEP_PRESETS
from service.dependencies import IsDraining, Readiness, Store
from service.http.accept import without_refused
from service.http.strict_routes import StrictRoute
from service.problems import documents
from service.schemas.jobs import Health, PresetList, SweepPresetList, VersionOut, WorkerList

health = APIRouter(route_class=StrictRoute, tags=["service"])
router = APIRouter(route_class=StrictRoute, tags=["service"])


@health.get("/healthz")
async def is_alive() -> Health:
    """Report that the process responds."""
    return Health(status="ok")


@health.get("/readyz", responses=documents(Draining, StoreUnavailable))
async def is_ready(readiness: Readiness, draining: IsDraining) -> Health:
    """Report that the service is ready for requests, or 503 with the reason.

    It is ready if the store is writable, its schema is current, and the service is not draining.
    """
    if draining:
        raise Draining("the service is stopping, and still answers requests; send new requests to another one")
    await readiness.answer()
    return Health(status="ready")


@health.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request) -> Response:
    """Return the metrics in the format that the scraper accepts.

    The formats are Prometheus's text format and OpenMetrics.
    """
    state = request.app.state
    try:
        state.metrics.fleet = await state.fleet.answer()
    except StoreUnavailable:
        state.metrics.fleet = None
    encode, media_type = choose_encoder(without_refused(request.headers.getlist("accept")))
    return Response(encode(state.metrics.registry), media_type=media_type)


@router.get("/version")
def get_version() -> VersionOut:
    """Return the versions of CostCurve and of its API."""
    return VersionOut(version=version("costcurve"), api="v1")


@router.get("/presets")
def list_presets() -> PresetList:
    """Return the ready-made specs, the article's own experiments first."""
    return PresetList.of(list(PRESETS.values()))


@router.get("/sweep-presets")
def list_sweep_presets() -> SweepPresetList:
    """Return the ready-made sweeps: every loss from every start of the article's experiments."""
    return SweepPresetList.of(list(SWEEP_PRESETS.values()))


@router.get("/workers", responses=documents(StoreUnavailable))
def list_workers(store: Store) -> WorkerList:
    """Return the live workers, and the jobs that each of them runs."""
    return WorkerList.of(store.workers())
