"""Heavy requests: few run at once, a bounded number waits, and none is worked at for a client that has gone."""

import asyncio
import threading
from collections.abc import Callable
from time import monotonic

import anyio
import pytest
from starlette.responses import Response

from costcurve.core.errors import Overloaded, StoreUnavailable
from service.heavy_work import Gate, Later, Room, Streamed, check_wanted
from service.http_cache import Pictures
from service.probes import Probe
from tests.helpers.processes import until


class Client:
    """One request as the server sees it: it can go, and it can refuse to read."""

    def __init__(self, *, reads: bool = True) -> None:
        self.gone = asyncio.Event()
        self.reading = asyncio.Event()
        if reads:
            self.reading.set()
        self.received: list[dict] = []

    async def receive(self) -> dict:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        await self.reading.wait()
        self.received.append(message)

    async def ask(self, gate: Gate, work: Callable[[], Response]) -> None:
        await Later(gate, work)({"type": "http"}, self.receive, self.send)


class Work:
    """Work that goes on until it is let go."""

    def __init__(self, size: int = 1) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self._size = size

    def __call__(self) -> Response:
        self.begun.set()
        while not self.let_go.wait(0.005):
            check_wanted()
        return Response(b"x" * self._size)


async def soon(holds: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not holds():
            await asyncio.sleep(0.001)


def test_no_more_work_runs_at_once_than_may_and_too_much_waiting_is_refused():
    async def run() -> None:
        gate = Gate(Room(1000), running=2, waiting=3)
        works = [Work() for _ in range(5)]
        tasks = [asyncio.create_task(Client().ask(gate, work)) for work in works]
        await soon(lambda: gate.waiting == 3 and works[0].begun.is_set() and works[1].begun.is_set())

        with pytest.raises(Overloaded) as refused:
            await Client().ask(gate, Work())
        assert "Retry-After" in refused.value.headers
        assert [work.begun.is_set() for work in works] == [True, True, False, False, False]

        for work in works:
            work.let_go.set()
        await asyncio.gather(*tasks)
        assert gate.waiting == 0

    asyncio.run(run())


def test_what_waits_for_a_client_that_has_gone_is_never_begun():
    async def run() -> None:
        gate, first, second, third = Gate(Room(1000), running=1), Work(), Work(), Work()
        leaves, stays = Client(), Client()
        tasks = [asyncio.create_task(Client().ask(gate, first))]
        await soon(first.begun.is_set)
        tasks += [asyncio.create_task(leaves.ask(gate, second)), asyncio.create_task(stays.ask(gate, third))]
        await soon(lambda: gate.waiting == 2)
        leaves.gone.set()
        await soon(lambda: gate.waiting == 1)
        third.let_go.set()
        first.let_go.set()
        await asyncio.gather(*tasks)

        assert not second.begun.is_set()
        assert leaves.received == []
        assert stays.received[0]["status"] == 200

    asyncio.run(run())


def test_work_stops_between_its_steps_when_its_client_has_gone_or_its_time_is_over():
    async def run() -> None:
        gate, client, work = Gate(Room(1000), running=1), Client(), Work()
        task = asyncio.create_task(client.ask(gate, work))
        await soon(work.begun.is_set)
        client.gone.set()
        await task
        assert client.received == []

        hasty = Gate(Room(1000), running=1, seconds=0.2)
        endless, waits = Work(), Work()
        tasks = [asyncio.create_task(Client().ask(hasty, each)) for each in (endless, waits)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found] == [Overloaded, Overloaded]

        work = Work()
        work.let_go.set()
        await Client().ask(gate, work)  # its turn is free again

    asyncio.run(run())


def test_large_answers_that_are_not_read_hold_up_more_work_and_not_more_memory():
    async def run() -> None:
        room = Room(1_000_000)
        gate, light = Gate(room, running=1), Gate(room, running=1)
        deaf = [Client(reads=False) for _ in range(4)]
        works = [Work(400_000) for _ in deaf]
        for work in works:
            work.let_go.set()
        tasks = [asyncio.create_task(client.ask(gate, work)) for client, work in zip(deaf, works, strict=True)]
        await soon(lambda: works[2].begun.is_set() and gate.waiting == 1)
        assert room.held == 800_000
        small = Work()
        small.let_go.set()
        await Client().ask(light, small)
        assert not works[3].begun.is_set()

        for client in deaf:
            client.reading.set()
        await asyncio.gather(*tasks)
        assert room.held == 0

    asyncio.run(run())


def test_a_streamed_answer_takes_its_turn_for_each_piece():
    async def run() -> None:
        gate, other = Gate(Room(1000), running=1), Work()
        slow = Client(reads=False)
        pieces = iter(["a", "b", "c"])
        streamed = asyncio.create_task(slow.ask(gate, lambda: Streamed(gate, pieces, media_type="text/plain")))
        other.let_go.set()
        await Client().ask(gate, other)  # while the first waits for its client to read
        slow.reading.set()
        await streamed
        assert b"".join(message.get("body", b"") for message in slow.received) == b"abc"

    asyncio.run(run())


def test_of_twelve_requests_for_one_picture_one_draws_it_and_another_takes_over_if_it_fails():
    pictures, drawn = Pictures(max_bytes=100), []
    barrier, first = threading.Barrier(12), threading.Lock()

    def draw() -> bytes:
        drawn.append(1)
        if first.acquire(blocking=False):
            until(lambda: len(waiting), lambda count: count == 12)
            raise OSError("the first one fails")
        return b"picture"

    results: list[bytes | OSError] = []
    waiting: list[int] = []

    def ask() -> None:
        barrier.wait()
        waiting.append(1)
        try:
            results.append(pictures.get("a", draw))
        except OSError as error:
            results.append(error)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(each, OSError) for each in results) == 1
    assert results.count(b"picture") == 11
    assert len(drawn) == 2


def test_a_probe_answers_in_time_and_holds_one_thread_however_often_it_is_asked():
    async def run() -> None:
        let_go, asked = threading.Event(), []

        def ask() -> str:
            asked.append(1)
            let_go.wait()
            return "here"

        probe = Probe(ask, seconds=0.05)
        for _ in range(5):
            started = monotonic()
            with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.05 s"):
                await probe.answer()
            assert monotonic() - started < 5
        assert len(asked) == 1
        let_go.set()
        await soon(lambda: probe._asking.done())
        assert await probe.answer() == "here"

    asyncio.run(run())
