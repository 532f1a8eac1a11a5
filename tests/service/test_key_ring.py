"""Keys are looked up once in a few seconds, and those that fail are limited by address."""

import asyncio
import threading

import pytest

from costcurve.core.access import Caller, Scope
from costcurve.core.errors import RateLimited, Unauthorized
from service.key_ring import KEEP_SECONDS, KeyRing

CALLER = Caller(project_pk=2, project="class", key_id="key_1", key_name="ada", scopes=frozenset({Scope.READ}))
GOOD, BAD = (f"cck_{prefix * 12}_{'x' * 43}" for prefix in "ab")
HERE = "192.0.2.1"


class Store:
    """Knows one key, and counts the look-ups."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.valid = {GOOD: CALLER}
        self.free = threading.Event()
        self.free.set()

    def authenticate(self, secret: str) -> Caller | None:
        self.asked.append(secret)
        found = self.valid.get(secret)
        assert self.free.wait(120)
        return found


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(store: Store, clock: Clock) -> KeyRing:
    return KeyRing(store.authenticate, failures_per_minute=3, clock=clock)


def ask(ring: KeyRing, *lines: str, address: str = HERE) -> Caller:
    return asyncio.run(ring.caller_of(list(lines), address))


def test_a_valid_key_is_looked_up_once_and_again_after_a_few_seconds(ring, store, clock):
    for scheme in ("Bearer", "bearer", "BEARER  "):
        assert ask(ring, f"{scheme} {GOOD}") == CALLER
    assert store.asked == [GOOD]
    clock.now += KEEP_SECONDS
    ask(ring, f"Bearer {GOOD}")
    assert store.asked == [GOOD] * 2


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        [f"Basic {GOOD}"],
        [GOOD],
        [f"Bearer {GOOD}x"],
        [f"Bearer {GOOD[:-1]}"],
        [f"Bearer {GOOD}, Bearer {GOOD}"],
        [f"Bearer {GOOD}"] * 2,
        [f"Bearer{' ' * 300}{GOOD}"],
        ["Bearer cck_" + "A" * 12 + "_" + "x" * 43],
        [f"Bearer {BAD}"],
    ],
)
def test_everything_that_is_no_valid_key_gets_the_same_error(ring, lines):
    with pytest.raises(Unauthorized) as caught:
        ask(ring, *lines)
    with pytest.raises(Unauthorized) as missing:
        ask(ring)
    assert caught.value.detail == missing.value.detail
    assert caught.value.headers == missing.value.headers == {"WWW-Authenticate": "Bearer"}


def test_only_a_well_formed_key_is_looked_up(ring, store):
    for text in ("", "x" * 10_000, f"Basic {GOOD}"):
        with pytest.raises(Unauthorized):
            ask(ring, text)
    assert store.asked == []


def test_keys_that_fail_are_limited_by_address_and_lock_no_valid_key_out(ring, store, clock):
    ask(ring, f"Bearer {GOOD}")
    clock.now += KEEP_SECONDS
    for _ in range(3):
        with pytest.raises(Unauthorized):
            ask(ring, f"Bearer {BAD}")
    with pytest.raises(RateLimited) as caught:
        ask(ring, f"Bearer {BAD}")
    assert caught.value.headers["Retry-After"] == "20"
    assert store.asked.count(BAD) == 3
    assert ask(ring, f"Bearer {GOOD}") == CALLER
    with pytest.raises(Unauthorized):
        ask(ring, f"Bearer {BAD}", address="192.0.2.2")
    clock.now += 20
    with pytest.raises(Unauthorized):
        ask(ring, f"Bearer {BAD}")


def test_one_network_of_ipv6_is_one_address(ring):
    for number in range(3):
        with pytest.raises(Unauthorized):
            ask(ring, f"Bearer {BAD}", address=f"2001:db8::{number}")
    with pytest.raises(RateLimited):
        ask(ring, f"Bearer {BAD}", address="2001:db8::ffff")
    with pytest.raises(Unauthorized):
        ask(ring, f"Bearer {BAD}", address="2001:db8:0:1::1")


def test_a_revoked_key_is_refused_at_once_also_while_it_is_looked_up(ring, store):
    ask(ring, f"Bearer {GOOD}")
    store.valid.clear()
    ring.forget()
    with pytest.raises(Unauthorized):
        ask(ring, f"Bearer {GOOD}")

    async def meanwhile() -> None:
        store.valid[GOOD] = CALLER
        store.free.clear()
        early = asyncio.create_task(ring.caller_of([f"Bearer {GOOD}"], HERE))
        while store.asked.count(GOOD) < 3:
            await asyncio.sleep(0)
        store.valid.clear()
        ring.forget()
        late = asyncio.create_task(ring.caller_of([f"Bearer {GOOD}"], HERE))
        while store.asked.count(GOOD) < 4:
            await asyncio.sleep(0)
        store.free.set()
        assert await early == CALLER
        with pytest.raises(Unauthorized):
            await late
        with pytest.raises(Unauthorized):
            await ring.caller_of([f"Bearer {GOOD}"], HERE)

    asyncio.run(meanwhile())


def test_requests_at_the_same_time_share_one_look_up(ring, store):
    async def together() -> list[Caller]:
        return await asyncio.gather(*(ring.caller_of([f"Bearer {GOOD}"], HERE) for _ in range(50)))

    assert asyncio.run(together()) == [CALLER] * 50
    assert store.asked == [GOOD]
