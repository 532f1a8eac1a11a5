"""The FastAPI application: routes, middleware, error handlers and limits."""

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from costcurve.analysis.forecast import forecast
from costcurve.core.spec import MnistSpec
from costcurve.store import JobStore
from costcurve.store.database import Database
from service.documentation_page import router as documentation
from service.heavy_work import Gate, Room
from service.http.body_memory import BodyMemory
from service.http.key_documents import describe_keys
from service.http.keys import Keys
from service.http.methods import HeadAsGet
from service.http.metrics_port import MetricsPort
from service.http.origins import Origins
from service.http.proxies import TrustedProxies
from service.http.request_limits import BodyLimit, RejectNulMiddleware
from service.http.security_headers import SafeHeaders
from service.http_cache import Pictures
from service.key_limits import KeyLimits, KeyRules
from service.key_ring import KeyRing
from service.metrics import Metrics
from service.observability import VERSION_PREFIX, ObservabilityMiddleware
from service.probes import Probe
from service.problems import describe_problems, handle_errors
from service.routes import (
    access,
    comparisons,
    curves,
    diagnosis,
    jobs,
    models,
    plots,
    sweep_plots,
    sweeps,
    system,
    trials,
)

# Bytes of rendered plots in the cache: a few hundred plots.
PICTURE_BYTES = 16 << 20
# Bytes of large responses held in memory while their clients read them.
ANSWER_BYTES = 48 << 20
# Threads for long curves, diagnoses and similar reads; each may hold tens of megabytes.
READERS = 2
# Deadlines of /readyz and /metrics, even if the database hangs. Kubernetes' probes here wait 3 s, Prometheus waits 10 s
# by default.
PROBE_SECONDS = 2.5
SCRAPE_SECONDS = 8.0

# What pages of the origins in COSTCURVE_CORS_ORIGINS may send, and which headers of a response they may read.
_CORS_METHODS = ("GET", "POST", "PATCH", "DELETE")
_CORS_REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match")
_CORS_RESPONSE_HEADERS = (
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)

_ROUTERS = (
    system.router,
    access.router,
    jobs.router,
    sweeps.router,
    sweep_plots.router,
    trials.router,
    curves.router,
    comparisons.router,
    plots.router,
    diagnosis.router,
    models.router,
)


class CostCurve(FastAPI):
    """The application with logs, metrics and a corrected OpenAPI document.

    The correction is the media type of errors.
    """

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is not None:
            return self.openapi_schema
        schema = describe_problems(super().openapi())
        return schema if self.state.keys is None else describe_keys(schema)

    def build_middleware_stack(self) -> ASGIApp:
        inner = SafeHeaders(super().build_middleware_stack(), with_keys=self.state.keys is not None)
        return TrustedProxies(ObservabilityMiddleware(inner, self.state.metrics), self.state.proxies)


def create_app(
    database: Database,
    *,
    allowed_hosts: Collection[str] | None = None,
    proxies: Collection[str] = (),
    cors_origins: Collection[str] = (),
    metrics_port: int | None = None,
    keys: KeyRules | None = None,
) -> FastAPI:
    """Build the HTTP service on this database.

    Args:
        database: of the store.
        allowed_hosts: hosts that requests may be for; None for all.
        proxies: IP addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count.
        cors_origins: origins whose pages may use the API from a browser.
        metrics_port: port that serves the metrics, and nothing else; None if every port serves everything.
        keys: limits of the keys that requests need; None if they need none.
    """
    app = CostCurve(
        title="CostCurve",
        summary="Training as a service: post a training job, watch its cost curve, learn why it learns slowly.",
        version=version("costcurve"),
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        generate_unique_id_function=lambda route: route.name,  # `submit_job`, without its path
        redirect_slashes=False,  # a redirect would lead to the host that the request named
    )
    app.state.draining = False
    app.state.keys = None
    app.state.proxies = proxies
    app.state.database = database
    app.state.store = JobStore(database, limits=None if keys is None else keys.project_limits)
    app.state.metrics = Metrics(version=app.version)
    app.state.pictures = Pictures(max_bytes=PICTURE_BYTES)
    room = Room(ANSWER_BYTES)
    app.state.drawing = Gate(room, running=1)  # matplotlib is not thread-safe
    app.state.reading = Gate(room, running=READERS)
    app.state.readiness = Probe(database.ensure_ready, seconds=PROBE_SECONDS)
    app.state.fleet = Probe(app.state.store.fleet, seconds=SCRAPE_SECONDS)
    app.add_middleware(BodyMemory)
    app.add_middleware(BodyLimit)
    app.add_middleware(RejectNulMiddleware)
    app.add_middleware(HeadAsGet)
    if keys is not None:
        app.state.keys = KeyRing(app.state.store.authenticate, failures_per_minute=keys.failures_per_minute)
        limits = KeyLimits(requests_per_second=keys.requests_per_second, heavy_requests=keys.heavy_requests)
        app.add_middleware(Keys, ring=app.state.keys, limits=limits, guards_metrics=metrics_port is None)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_REQUEST_HEADERS,
            expose_headers=_CORS_RESPONSE_HEADERS,
        )
    app.add_middleware(Origins, hosts=allowed_hosts, origins=cors_origins)
    if metrics_port is not None:
        app.add_middleware(MetricsPort, port=metrics_port)
    handle_errors(app)
    app.include_router(system.health)
    for router in _ROUTERS:
        app.include_router(router, prefix=VERSION_PREFIX)
    app.include_router(documentation)
    forecast(MnistSpec(experiment="mnist"))  # the first one reads the sample, which takes 50 ms
    return app
