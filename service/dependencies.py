"""Dependencies of routes: the store, probes, the plot cache and gates.

These functions are coroutines although they await nothing. The framework would run plain functions in its thread
pool, where they would wait behind requests that wait for the database.
"""

from typing import Annotated

from fastapi import Depends, Request

from costcurve.core.access import Caller
from costcurve.store import JobStore
from service.heavy_work import Gate
from service.http.keys import caller_of
from service.http_cache import Pictures
from service.key_ring import KeyRing
from service.probes import Probe


async def _store(request: Request) -> JobStore:
    store: JobStore = request.app.state.store
    return store.for_caller(caller_of(request.scope))


async def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


async def _known_keys(request: Request) -> KeyRing | None:
    known: KeyRing | None = request.app.state.keys
    return known


async def _readiness(request: Request) -> Probe[None]:
    readiness: Probe[None] = request.app.state.readiness
    return readiness


async def _is_draining(request: Request) -> bool:
    draining: bool = request.app.state.draining
    return draining


async def _pictures(request: Request) -> Pictures:
    pictures: Pictures = request.app.state.pictures
    return pictures


async def _drawing(request: Request) -> Gate:
    gate: Gate = request.app.state.drawing
    return gate


async def _reading(request: Request) -> Gate:
    gate: Gate = request.app.state.reading
    return gate


Store = Annotated[JobStore, Depends(_store)]
RequestCaller = Annotated[Caller, Depends(_caller)]
KnownKeys = Annotated[KeyRing | None, Depends(_known_keys)]
Readiness = Annotated[Probe[None], Depends(_readiness)]
IsDraining = Annotated[bool, Depends(_is_draining)]
DrawnPictures = Annotated[Pictures, Depends(_pictures)]
DrawingGate = Annotated[Gate, Depends(_drawing)]
ReadingGate = Annotated[Gate, Depends(_reading)]
