"""The client, synchronous and asynchronous: the same operations, whose steps each takes in its own way."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, overload

import httpx

from costcurve import diagnoses, models, operations, results, sweeps
from costcurve.answers import Job
from costcurve.exchange import Outcome, Remote, Steps

P = ParamSpec("P")
T = TypeVar("T")

# Shorter than the five seconds after which a server closes an idle connection, so that none breaks under a request.
_LIMITS = httpx.Limits(keepalive_expiry=2)


class Operation(Generic[P, T]):
    """A method of both clients, written once: on Client it returns T, on AsyncClient it is awaited for T."""

    def __init__(self, steps: Callable[Concatenate[Remote, P], Steps[T]]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Remote, P], Steps[T]]: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Callable[..., Any]:
        if client is None:
            return self._steps

        def method(*args: P.args, **kwargs: P.kwargs) -> T | Coroutine[Any, Any, T]:
            return client._take(self._steps(client.remote, *args, **kwargs))  # noqa: SLF001 - this is its method

        # Bound, so that the method's signature begins behind `remote`.
        return update_wrapper(method, self._steps.__get__(client.remote))


class _Operations:
    submit = Operation(operations.submit)
    validate = Operation(operations.validate)
    get = Operation(operations.get)
    list = Operation(operations.list_jobs)
    wait = Operation(operations.wait)
    curve = Operation(results.curve)
    curve_csv = Operation(results.curve_csv)
    compare = Operation(results.compare)
    compare_csv = Operation(results.compare_csv)
    plot = Operation(results.plot)
    transcript = Operation(results.transcript)
    diagnosis = Operation(diagnoses.diagnosis)
    compare_diagnosis = Operation(diagnoses.compare_diagnosis)
    model = Operation(models.model)
    predict = Operation(models.predict)
    confusion = Operation(models.confusion)
    mistakes = Operation(models.mistakes)
    model_plot = Operation(models.model_plot)
    pause = Operation(operations.pause)
    resume = Operation(operations.resume)
    cancel = Operation(operations.cancel)
    clone = Operation(operations.clone)
    update = Operation(operations.update)
    delete = Operation(operations.delete)
    events = Operation(operations.events)
    submit_sweep = Operation(sweeps.submit_sweep)
    sweep_presets = Operation(sweeps.sweep_presets)
    get_sweep = Operation(sweeps.get_sweep)
    list_sweeps = Operation(sweeps.list_sweeps)
    cancel_sweep = Operation(sweeps.cancel_sweep)
    retry_sweep = Operation(sweeps.retry_sweep)
    sweep_cells = Operation(sweeps.sweep_cells)
    plot_sweep = Operation(sweeps.plot_sweep)
    wait_for_sweep = Operation(sweeps.wait_for_sweep)
    workers = Operation(operations.workers)
    presets = Operation(operations.presets)
    version = Operation(operations.version)
    ready = Operation(operations.ready)


class Client(_Operations):
    """A CostCurve service, spoken to synchronously. Usable from one thread at a time; close it, or use `with`."""

    def __init__(self, url: str | None = None) -> None:
        """The service at `url`; else at the environment's COSTCURVE_URL; else at http://127.0.0.1:8000.

        Raises:
            ValueError: the address is not an HTTP URL.
        """
        self.remote = Remote(url)
        self._http = httpx.Client(limits=_LIMITS, trust_env=_may_need_a_proxy(self.remote.url))

    def iterate(self, **filters: Unpack[operations.Filters]) -> Iterator[Job]:
        """All jobs that pass the filters (those of `list`), page after page."""
        page = self.list(**filters)
        yield from page.items
        while page.next_cursor is not None:
            page = self.list(cursor=page.next_cursor, **filters)
            yield from page.items

    def _take(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                value: T = end.value
                return value
            try:
                if isinstance(step, httpx.Request):
                    outcome = self._http.send(step)
                else:
                    time.sleep(step.seconds)
                    outcome = None
            except httpx.TransportError as error:
                outcome = error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(_Operations):
    """A CostCurve service, spoken to asynchronously: the methods of Client, awaited. Close it, or use `async with`."""

    def __init__(self, url: str | None = None) -> None:
        """The service at `url`; else at the environment's COSTCURVE_URL; else at http://127.0.0.1:8000.

        Raises:
            ValueError: the address is not an HTTP URL.
        """
        self.remote = Remote(url)
        self._http = httpx.AsyncClient(limits=_LIMITS, trust_env=_may_need_a_proxy(self.remote.url))

    async def iterate(self, **filters: Unpack[operations.Filters]) -> AsyncIterator[Job]:
        """All jobs that pass the filters (those of `list`), page after page."""
        page = await self.list(**filters)
        while True:
            for job in page.items:
                yield job
            if page.next_cursor is None:
                return
            page = await self.list(cursor=page.next_cursor, **filters)

    async def _take(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                value: T = end.value
                return value
            try:
                if isinstance(step, httpx.Request):
                    outcome = await self._http.send(step)
                else:
                    await asyncio.sleep(step.seconds)
                    outcome = None
            except httpx.TransportError as error:
                outcome = error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


def _may_need_a_proxy(url: str) -> bool:
    """False for this machine itself: the environment's proxy would look for the service on its own."""
    host = httpx.URL(url).host
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
