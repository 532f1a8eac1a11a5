"""Settings that make no sense are refused by name, with what is allowed."""

from typing import get_args

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from costcurve.runtime.settings import Settings, explain


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", "1e400", "-1", "1_0", "\N{ARABIC-INDIC DIGIT THREE}", "x"])
@pytest.mark.parametrize(
    ("name", "too_large", "wanted"),
    [
        ("RETENTION_DAYS", "1000000", "a number above 0 and at most 36500"),
        ("LEASE_SECONDS", "3601", "a number from 1 to 3600"),
        ("DRAIN_SECONDS", "301", "a number from 0 to 300"),
        ("METRICS_PORT", "65536", "a whole number from 0 to 65535"),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(monkeypatch, name, too_large, wanted, given):
    for value in (given, too_large):
        monkeypatch.setenv(f"COSTCURVE_{name}", value)
        with pytest.raises(ValidationError) as refused:
            Settings()
        assert explain(refused.value) == f"COSTCURVE_{name}: must be {wanted}, not {value!a}\n"


def test_numbers_at_the_ends_of_their_ranges_are_taken(monkeypatch):
    for name, value in {"RETENTION_DAYS": "36500", "LEASE_SECONDS": "1", "METRICS_PORT": "0"}.items():
        monkeypatch.setenv(f"COSTCURVE_{name}", value)

    settings = Settings()
    assert (settings.retention_days, settings.lease_seconds, settings.metrics_port) == (36_500, 1, 0)


def parts(annotation: object) -> set[object]:
    """A type and all types that it is made of."""
    return {annotation}.union(*(parts(each) for each in get_args(annotation)))


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if {int, float} & parts(field.annotation)]
)
def test_no_number_may_be_infinite(monkeypatch, name):
    """Of settings that are added later, too."""
    monkeypatch.setenv(f"COSTCURVE_{name.upper()}", "1e400")
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://h:port/d", "is not a database URL, such as sqlite:////var/lib/costcurve/costcurve.db"),
        ("postgresql://h:65536/d", "its port must be a whole number from 1 to 65535, not 65536"),
        ("sqlite+foo:////tmp/d", "sqlite+foo is not supported; use a sqlite:/// URL, which names no driver"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_refused(monkeypatch, url, said):
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", url)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert explain(refused.value) == f"COSTCURVE_DATABASE_URL: {said}\n"


def test_a_file_gives_the_databases_password_whatever_its_characters(monkeypatch, tmp_path):
    given = "a:b/c@d %41$e'\"#"
    (tmp_path / "password").write_text(f"{given}\n")
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", "postgresql://user@host/name?sslmode=require")
    monkeypatch.setenv("COSTCURVE_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    settings = Settings()

    assert make_url(settings.resolved_database_url) == make_url(settings.database_url).set(password=given)
    assert "%41" not in repr(settings)


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read: No such file or directory"), ("\n", "is empty")])
def test_a_file_without_a_password_is_refused_with_its_path(monkeypatch, tmp_path, content, said):
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("COSTCURVE_DATABASE_PASSWORD_FILE", str(file))
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert explain(refused.value) == f"COSTCURVE_DATABASE_PASSWORD_FILE: {file} {said}\n"


@pytest.mark.parametrize("given", ["*", "proxy.example.org", "10.0.0.1/8", "10.0.0.0/33", "a,b", "10.0.0.1:80"])
def test_a_trusted_proxy_is_an_address_or_a_network(given):
    assert Settings(trusted_proxies="10.0.0.0/8, ::1").proxies == ("10.0.0.0/8", "::1")
    with pytest.raises(ValidationError) as refused:
        Settings(trusted_proxies=given)
    assert explain(refused.value).startswith("COSTCURVE_TRUSTED_PROXIES: ")


@pytest.mark.parametrize("given", ["*", "null", "lab.example.org", "https://lab.example.org/", "https://*.example.org"])
def test_an_origin_for_cors_is_exact(given):
    assert Settings(cors_origins="https://Lab.example.org, http://[::1]:3000").origins == (
        "https://lab.example.org",
        "http://[::1]:3000",
    )
    with pytest.raises(ValidationError) as refused:
        Settings(cors_origins=given)
    assert explain(refused.value).startswith("COSTCURVE_CORS_ORIGINS: ")
