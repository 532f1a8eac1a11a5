"""Limits of keys, with a clock to turn."""

import pytest

from costcurve.core.errors import RateLimited
from service.key_limits import KeyLimits, TokenBuckets


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def refused(limits: KeyLimits, key: str) -> dict[str, str]:
    with pytest.raises(RateLimited) as caught:
        limits.admit(key)
    return caught.value.headers


def test_a_key_makes_its_requests_of_a_second_and_no_more(seconds):
    limits = KeyLimits(requests_per_second=5, heavy_requests=1, clock=seconds)

    assert [limits.admit("a") for _ in range(5)] == [f'"requests";r={left};t=1' for left in (4, 3, 2, 1, 0)]
    assert refused(limits, "a") == {"Retry-After": "1", "RateLimit": '"requests";r=0;t=1'}
    assert limits.admit("b") == '"requests";r=4;t=1'
    seconds.now += 0.2
    limits.admit("a")
    refused(limits, "a")
    seconds.now += 1
    assert [limits.admit("a") for _ in range(5)]
    refused(limits, "a")


def test_a_client_that_waits_as_long_as_it_is_asked_to_is_served(seconds):
    limits = KeyLimits(requests_per_second=0.4, heavy_requests=1, clock=seconds)
    limits.admit("a")

    for _ in range(20):
        wait = refused(limits, "a")["Retry-After"]
        assert wait == "3"
        seconds.now += float(wait)
        limits.admit("a")


def test_the_policy_is_a_list_of_structured_fields():
    assert KeyLimits(requests_per_second=50, heavy_requests=4).policy == (
        '"requests";q=50;w=1, "heavy";q=4;qu="concurrent-requests"'
    )
    assert KeyLimits(requests_per_second=0.4, heavy_requests=4).policy.startswith('"requests";q=1;w=3,')


def test_heavy_requests_count_until_they_end(seconds):
    limits = KeyLimits(requests_per_second=5, heavy_requests=2, clock=seconds)
    ends = [limits.begin_heavy("a"), limits.begin_heavy("a")]
    with pytest.raises(RateLimited, match="2 plots, comparisons") as caught:
        limits.begin_heavy("a")
    assert caught.value.headers == {"Retry-After": "1"}
    limits.begin_heavy("b")()
    ends[0]()
    limits.begin_heavy("a")


def test_a_bucket_may_hold_more_than_those_of_a_second(seconds):
    failures = TokenBuckets(0.5, size=30, clock=seconds)
    for _ in range(30):
        failures.take("192.0.2.1")
    assert failures.left("192.0.2.1") == 0
    assert failures.wait("192.0.2.1") == 2
    assert failures.left("192.0.2.2") == 30
