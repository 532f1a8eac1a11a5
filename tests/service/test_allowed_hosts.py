"""The setting COSTCURVE_ALLOWED_HOSTS."""

import pytest
from pydantic import ValidationError

from costcurve.runtime.settings import LOOPBACK_HOSTS, Settings, explain


def test_a_loopback_service_answers_for_loopback_names_and_any_other_for_all_hosts():
    settings = Settings()

    assert settings.hosts_at(is_loopback=True) == LOOPBACK_HOSTS == {"localhost", "127.0.0.1", "[::1]"}
    assert settings.hosts_at(is_loopback=False) is None


@pytest.mark.parametrize("is_loopback", [True, False])
def test_hosts_that_are_named_hold_on_every_address(is_loopback):
    assert Settings(allowed_hosts="A.example.org., [::1],10.0.0.1").hosts_at(is_loopback=is_loopback) == {
        "a.example.org",
        "[::1]",
        "10.0.0.1",
    }
    assert Settings(allowed_hosts="localhost,*").hosts_at(is_loopback=is_loopback) is None


@pytest.mark.parametrize("hosts", ["localhost:8000", "http://localhost", "a b", "a,,b", "::1", "*.example.org", ","])
def test_what_is_no_host_is_refused_by_name(hosts):
    with pytest.raises(ValidationError) as caught:
        Settings(allowed_hosts=hosts)

    assert explain(caught.value).startswith("COSTCURVE_ALLOWED_HOSTS: ")
