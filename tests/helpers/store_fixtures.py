"""Workers for the store's tests, and a service on the store."""

import socket
import threading
from collections import Counter
from contextlib import nullcontext
from itertools import count

import httpx
import pytest
import uvicorn
from sqlalchemy import event

from costcurve.core.job import Claim
from costcurve.store import JobStore, leases
from costcurve.store.database import Database
from service.app import create_app
from tests.helpers.lost_answers import Losses, behind_the_driver, proxied
from tests.helpers.reports import CPU, ENGINES, choose


@pytest.fixture
def worker(store):
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    return "wrk_1"


@pytest.fixture
def claim(store, worker, hire):
    """Take the next job, with the first worker if it holds none, otherwise with a new one: its claim, or None."""

    def claim() -> Claim | None:
        with store._database.read() as tx:
            name = hire() if leases.holds_jobs(tx, worker) else worker
        return next(iter(store.claim(name, engines=ENGINES, devices=CPU, choose=choose())), None)

    return claim


@pytest.fixture
def losses():
    """Which answers of the `lossy` store are lost: none, until a test says so."""
    return Losses()


@pytest.fixture
def lossy(database_url, losses, clock):
    """A store, on the database of `store`, whose commits may take effect and fail all the same."""
    is_sqlite = database_url.startswith("sqlite")
    with nullcontext(database_url) if is_sqlite else proxied(database_url, losses) as url:
        database = Database(url)
        if is_sqlite:
            behind_the_driver(database, losses)
        yield JobStore(database, clock=clock)
        database.close()


@pytest.fixture
def hire(store):
    """Register one more worker: its id."""
    numbers = count(2)

    def hire(**fields: object) -> str:
        name = f"wrk_{next(numbers)}"
        store.register_worker(name, **{"host": "here", "pid": 1, "device": "cpu", **fields})
        return name

    return hire


@pytest.fixture
def claim_as(store):
    """Take up to `limit` jobs with this worker."""
    return lambda worker_id, limit=1: store.claim(worker_id, engines=ENGINES, devices=CPU, choose=choose(limit))


@pytest.fixture
def cost(store):
    """The cost curve of a job, as far as it is recorded."""

    def cost(job_id: str) -> list[float]:
        return store.curve(job_id, metrics=("cost",), limit=10_000).curve.series["cost"]

    return cost


@pytest.fixture
def statements(store):
    """How many statements reached the database so far, and how many transactions were begun."""
    seen: Counter = Counter()

    def begun(_connection: object) -> None:
        seen["transactions"] += 1

    def asked(*_: object) -> None:
        seen["statements"] += 1

    event.listen(store._database.engine, "begin", begun)
    event.listen(store._database.engine, "before_cursor_execute", asked)
    return seen


@pytest.fixture
def app(store):
    """The service on this very store."""
    return create_app(store._database)


@pytest.fixture
def http(app):
    """A client of that service, which listens on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=120) as client:
            yield client
        server.should_exit = True
        thread.join()
