"""Synchronous and asynchronous client with the same operations.

Each operation is written once, as steps. The two clients differ in how they execute the steps.
"""

import asyncio
import inspect
import ipaddress
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import GenericAlias, MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast, get_args, overload

import httpx

from costcurve.client import access, curves, jobs, models, sweeps, trials
from costcurve.client import diagnosis as diagnoses
from costcurve.client.api_key import ApiKey
from costcurve.client.errors import CostCurveError
from costcurve.client.transport import Outcome, Remote, Steps
from costcurve.client.types import Job

P = ParamSpec("P")
T = TypeVar("T")

# Seconds. Servers close idle connections after 5 s; the client does so first, so that no request meets a closed one.
_LIMITS = httpx.Limits(keepalive_expiry=2)


class Operation(Generic[P, T]):
    """Descriptor for a method that both clients share.

    On Client the method returns T. On AsyncClient it returns a coroutine of T.
    """

    def __init__(self, steps: Callable[Concatenate[Remote, P], Steps[T]]) -> None:
        self.__doc__ = steps.__doc__
        self.steps = steps

    def __set_name__(self, owner: type, name: str) -> None:
        self._of_client = self._method("Client", name)
        self._of_async_client = self._method("AsyncClient", name)

    def _method(self, owner: str, name: str) -> Callable[..., Any]:
        """Return the method with the name and signature for `help` and `pickle`."""
        steps = self.steps

        def method(client: "Client | AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T | Coroutine[Any, Any, T]:
            return client._take(steps(client.remote, *args, **kwargs))  # noqa: SLF001 - a method of the client itself

        method.__doc__ = steps.__doc__
        method.__module__ = __name__
        method.__name__ = name
        method.__qualname__ = f"{owner}.{name}"
        method.__signature__ = _signature(steps, is_awaited=owner == "AsyncClient")  # type: ignore[attr-defined]
        return method

    @overload
    def __get__(self, client: None, owner: "type[Client]") -> Callable[Concatenate["Client", P], T]: ...
    @overload
    def __get__(
        self, client: None, owner: "type[AsyncClient]"
    ) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Callable[..., Any]:
        method = self._of_async_client if issubclass(owner, AsyncClient) else self._of_client
        return method if client is None else MethodType(method, client)


def _signature(steps: Callable[..., Any], *, is_awaited: bool) -> inspect.Signature:
    """Return the signature of a client's method as its callers see it.

    `remote` becomes `self`, each keyword of a TypedDict is listed by name, and the return type is that of the steps.
    """
    signature = inspect.signature(steps)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.annotation is Remote:
            parameters.append(inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY))
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            [fields] = get_args(parameter.annotation)
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=..., annotation=annotation)
                for name, annotation in fields.__annotations__.items()
            ]
        else:
            parameters.append(parameter)
    returned = get_args(signature.return_annotation)[-1]
    awaited = GenericAlias(Coroutine, (Any, Any, returned))
    return inspect.Signature(parameters, return_annotation=awaited if is_awaited else returned)


class _Operations:
    """Operations of both clients, and the configuration that a pickled client keeps."""

    def __init__(self, url: str | None, api_key: ApiKey | str | None) -> None:
        self.remote = Remote(url, api_key=api_key)
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), *self.remote.given)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.remote.url!r})"

    def _is_forked(self) -> bool:
        """Return True once in a process forked from the client's process.

        The open connections belong to the parent process.
        """
        if self._process == os.getpid():
            return False
        self._process = os.getpid()
        return True

    submit = Operation(jobs.submit)
    validate = Operation(jobs.validate)
    get = Operation(jobs.get)
    list = Operation(jobs.list_jobs)
    wait = Operation(jobs.wait)
    curve = Operation(curves.curve)
    curve_csv = Operation(curves.curve_csv)
    compare = Operation(curves.compare)
    compare_csv = Operation(curves.compare_csv)
    plot = Operation(curves.plot)
    flow_plot = Operation(curves.flow_plot)
    transcript = Operation(curves.transcript)
    diagnosis = Operation(diagnoses.diagnosis)
    compare_diagnosis = Operation(diagnoses.compare_diagnosis)
    model = Operation(models.model)
    predict = Operation(models.predict)
    confusion = Operation(models.confusion)
    mistakes = Operation(models.mistakes)
    model_plot = Operation(models.model_plot)
    pause = Operation(jobs.pause)
    resume = Operation(jobs.resume)
    cancel = Operation(jobs.cancel)
    clone = Operation(jobs.clone)
    fork = Operation(jobs.fork)
    update = Operation(jobs.update)
    delete = Operation(jobs.delete)
    events = Operation(jobs.events)
    submit_sweep = Operation(sweeps.submit_sweep)
    sweep_presets = Operation(sweeps.sweep_presets)
    get_sweep = Operation(sweeps.get_sweep)
    list_sweeps = Operation(sweeps.list_sweeps)
    cancel_sweep = Operation(sweeps.cancel_sweep)
    retry_sweep = Operation(sweeps.retry_sweep)
    sweep_cells = Operation(sweeps.sweep_cells)
    plot_sweep = Operation(sweeps.plot_sweep)
    wait_for_sweep = Operation(sweeps.wait_for_sweep)
    trial = Operation(trials.trial)
    extend_trial = Operation(trials.extend_trial)
    verdict = Operation(trials.verdict)
    wait_for_verdict = Operation(trials.wait_for_verdict)
    workers = Operation(jobs.workers)
    presets = Operation(jobs.presets)
    me = Operation(access.me)
    version = Operation(jobs.version)
    ready = Operation(jobs.ready)


class Client(_Operations):
    """Synchronous client of one CostCurve service, over HTTP.

    Use it from one thread at a time. Close it after use, or use it in a `with` statement.

    It may be pickled, and used after a fork. The other process then opens its own connections.
    """

    def __init__(self, url: str | None = None, *, api_key: ApiKey | str | None = None) -> None:
        """Create a client for the service at `url`.

        Without `url`, the client uses the environment variable COSTCURVE_URL. Without that, it uses http://127.0.0.1:8000.
        Without `api_key`, it uses COSTCURVE_API_KEY, or the key that `costcurve login` has stored for this address. An
        empty `api_key` means that it sends no key.

        Raises:
            TypeError: the address or the key is not text.
            ValueError: the address is not an HTTP URL, the key is not a key, or the address has a password as well.
            CostCurveError: the certificates or proxies in the environment, or the stored keys, cannot be used.
        """
        super().__init__(url, api_key)
        self._http = self._connections()

    def iterate(self, **filters: Unpack[jobs.Filters]) -> Iterator[Job]:
        """Yield all jobs that match the filters of `list`, page after page."""
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
                    outcome = self._sent(step)
                else:
                    time.sleep(step.seconds)
                    outcome = None
            except httpx.RequestError as error:
                outcome = error

    def _sent(self, request: httpx.Request) -> httpx.Response:
        if self._is_forked():
            self._http = self._connections()
        deadline = time.monotonic() + request.extensions["timeout"]["read"]
        response = self._http.send(request, stream=True)
        try:
            response.stream = Timely(response.stream, deadline, request)
            response.read()
        finally:
            response.close()
        return response

    def _connections(self) -> httpx.Client:
        with _checked_environment():
            return httpx.Client(limits=_LIMITS, **_connection_options(self.remote.address.url))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(_Operations):
    """Asynchronous client of one CostCurve service, over HTTP.

    It has the methods of Client; await them. Close it after use, or use it in an `async with` statement.
    """

    def __init__(self, url: str | None = None, *, api_key: ApiKey | str | None = None) -> None:
        """Create a client for the service at `url`.

        Without `url`, the client uses the environment variable COSTCURVE_URL. Without that, it uses http://127.0.0.1:8000.
        Without `api_key`, it uses COSTCURVE_API_KEY, or the key that `costcurve login` has stored for this address. An
        empty `api_key` means that it sends no key.

        Raises:
            TypeError: the address or the key is not text.
            ValueError: the address is not an HTTP URL, the key is not a key, or the address has a password as well.
            CostCurveError: the certificates or proxies in the environment, or the stored keys, cannot be used.
        """
        super().__init__(url, api_key)
        self._http = self._connections()

    async def iterate(self, **filters: Unpack[jobs.Filters]) -> AsyncIterator[Job]:
        """Yield all jobs that match the filters of `list`, page after page."""
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
                    outcome = await self._sent(step)
                else:
                    await asyncio.sleep(step.seconds)
                    outcome = None
            except httpx.RequestError as error:
                outcome = error

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        if self._is_forked():
            self._http = self._connections()
        try:
            async with asyncio.timeout(request.extensions["timeout"]["read"]):
                return await self._http.send(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the response took too long", request=request) from error

    def _connections(self) -> httpx.AsyncClient:
        with _checked_environment():
            return httpx.AsyncClient(limits=_LIMITS, **_connection_options(self.remote.address.url))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


C = TypeVar("C", Client, AsyncClient)


def _restored(kind: type[C], url: str, api_key: ApiKey | str | None) -> C:
    """Return a client as it was before it was pickled."""
    return kind(url, api_key=api_key)


class Timely(httpx.SyncByteStream):
    """Response body that must arrive completely before a deadline."""

    def __init__(
        self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, deadline: float, request: httpx.Request
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts of the body. Raises httpx.ReadTimeout after the deadline."""
        for piece in cast(httpx.SyncByteStream, self._stream):
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the response took too long", request=self._request)
            yield piece

    def close(self) -> None:
        """Close the stream."""
        cast(httpx.SyncByteStream, self._stream).close()


@contextmanager
def _checked_environment() -> Iterator[None]:
    """Raise CostCurveError for unusable proxy or certificate settings in the environment."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        where = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE or SSL_CERT_DIR"
        raise CostCurveError(f"cannot use a setting in {where}: {error}") from error


class _ConnectionOptions(TypedDict):
    trust_env: bool
    verify: bool


def _connection_options(url: str) -> _ConnectionOptions:
    """Return httpx's options for connections to this URL.

    Without a proxy and without TLS nothing is verified, and the trusted certificates are not read: that takes 50 ms.
    """
    may_need_a_proxy = _may_need_a_proxy(url)
    return {"trust_env": may_need_a_proxy, "verify": may_need_a_proxy or httpx.URL(url).scheme == "https"}


def _may_need_a_proxy(url: str) -> bool:
    """Return False if the URL's host is this machine.

    A proxy from the environment would look for the service on the proxy's own machine.
    """
    host = httpx.URL(url).host
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
