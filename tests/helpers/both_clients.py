"""The synchronous and the asynchronous client, behind one way of calling them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from costcurve import AsyncClient, Client


class Awaited:
    """An asynchronous client whose every call is awaited at once, so that one test serves both kinds."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: object, **kwargs: object) -> object:
            return await getattr(self._client, name)(*args, **kwargs)

        return lambda *args, **kwargs: self._runner.run(call(*args, **kwargs))

    def iterate(self, **filters: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [job async for job in self._client.iterate(**filters)]

        return self._runner.run(collect())


@contextmanager
def a_client(kind: str, url: str) -> Iterator[Any]:
    if kind == "sync":
        with Client(url) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        client = AsyncClient(url)
        yield Awaited(client, runner)
        runner.run(client.aclose())
