"""Settings of the service and the workers, from `COSTCURVE_*` variables.

They are built once in an entry point and passed down.
"""

import ipaddress
import re
from math import nan
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from costcurve.core.access import ProjectLimits
from costcurve.runtime.logging import LogFormat
from costcurve.runtime.paths import default_home

# Seconds that a worker without heartbeats keeps its jobs.
LEASE_SECONDS = 10.0
# 100 years: no moment in a database is further back.
MAX_RETENTION_DAYS = 36_500
# Hosts that a service answers for if only this machine reaches it.
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?)(:[0-9]{1,5})?")
_HOST = re.compile(r"\*|\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def _supported_database(url: str) -> str:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: its port is not a number
        raise ValueError("is not a database URL, such as sqlite:////var/lib/costcurve/costcurve.db") from error
    backend = parsed.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ValueError(f"{backend} is not supported; use a sqlite:/// or postgresql:// URL")
    if backend == "sqlite" and parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ValueError(f"{parsed.drivername} is not supported; use a sqlite:/// URL, which names no driver")
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise ValueError(f"its port must be a whole number from 1 to 65535, not {parsed.port}")
    if backend == "sqlite" and (parsed.database or ":").startswith((":", "file:")):
        raise ValueError("must name a file: the service and the workers are separate processes and share it")
    if backend == "sqlite" and not Path(parsed.database or "").is_absolute():
        raise ValueError("must name the file by its absolute path, with four slashes: sqlite:////var/lib/costcurve.db")
    return url


def _host_names(hosts: str) -> str:
    names = [name.strip().lower().removesuffix(".") for name in hosts.split(",")]
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a host without a port, such as localhost, 192.0.2.1, [::1] or costcurve.example.org"
            )
    return ",".join(names)


def _password_in(file: Path) -> str:
    return file.read_text().rstrip("\r\n")


def _with_a_password(file: Path) -> Path:
    try:
        is_empty = not _password_in(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {getattr(error, 'strerror', error)}") from error
    if is_empty:
        raise ValueError(f"{file} is empty")
    return file


def _networks(proxies: str) -> str:
    parts = [part.strip() for part in proxies.split(",")]
    for part in parts:
        try:
            ipaddress.ip_network(part)
        except ValueError as error:
            raise ValueError(
                f"{part!r} is neither an IP address nor a network, such as 192.0.2.1, 10.0.0.0/8 or fd00::/8"
            ) from error
    return ",".join(parts)


def _origins(origins: str) -> str:
    parts = [part.strip().lower() for part in origins.split(",")]
    for part in parts:
        if not _ORIGIN.fullmatch(part):
            raise ValueError(f"{part!r} is not one origin, such as https://lab.example.org or http://localhost:3000")
    return ",".join(parts)


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _in_capitals(level: object) -> object:
    return level.upper() if isinstance(level, str) else level


def _number(kind: type[int] | type[float], low: float, high: float, *, more_than_low: bool = False) -> BeforeValidator:
    """Return a validator of numbers in a range.

    Its error states the range and the value received.
    """
    wanted = f"a {'whole ' if kind is int else ''}number {'above' if more_than_low else 'from'} {low:g} "
    wanted += f"{'and at most' if more_than_low else 'to'} {high:g}"

    def checked(given: object) -> float:
        text = str(given)
        try:
            number = kind(text)
        except ValueError:
            number = nan
        # NaN is in no range. Underscores and digits of other scripts are numbers only in Python.
        if not low <= number <= high or (more_than_low and number == low) or not text.isascii() or "_" in text:
            raise ValueError(f"must be {wanted}, not {text!a}")
        return number

    return BeforeValidator(checked)


class Settings(BaseSettings):
    """Settings of the service and the workers.

    Each field is the environment variable COSTCURVE_ followed by its name in capitals.
    """

    model_config = SettingsConfigDict(env_prefix="COSTCURVE_", env_ignore_empty=True, frozen=True)

    home: Path = Field(
        default_factory=default_home,
        description="Folder of the SQLite database. Created if missing.",
    )
    database_url: Annotated[str | None, AfterValidator(lambda url: url and _supported_database(url))] = Field(
        default=None,
        description="URL of the database, SQLite or PostgreSQL. Default: an SQLite file in the home folder.",
    )
    database_password_file: (
        Annotated[Path, AfterValidator(Path.expanduser), AfterValidator(_with_a_password)] | None
    ) = Field(default=None, description="File with the password of a PostgreSQL database, instead of one in the URL.")
    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        default=None, description="Folder with the four MNIST idx files, plain or .gz. If set, no other source is used."
    )

    auth: Literal["off", "keys"] | None = Field(
        default=None,
        description="`keys`: every request to the API needs a key. `off`: none does. Default: `off` on a loopback "
        "address; on any other address the service does not start.",
    )
    init_key_file: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        default=None,
        description="With keys: if no valid `admin` key exists, the service makes one at its start, and writes it to "
        "this file with mode 0600. Default: it makes none.",
    )
    key_requests_per_second: Annotated[float, _number(float, 0, 100_000, more_than_low=True)] = Field(
        default=50.0, description="Requests a second that one key may make of one process of the service."
    )
    key_heavy_requests: Annotated[int, _number(int, 1, 1000)] = Field(
        default=4, description="Plots, comparisons, models and other heavy requests that one key may have at once."
    )
    failed_keys_per_minute: Annotated[float, _number(float, 1, 100_000)] = Field(
        default=60.0, description="Keys that are not valid, from one address, that the service looks up a minute."
    )

    project_queued_jobs: Annotated[int, _number(int, 1, 1_000_000)] = Field(
        default=5_000, description="With keys: jobs of one project that may be queued at once."
    )
    project_sweep_cells: Annotated[int, _number(int, 1, 5_000)] = Field(
        default=5_000, description="With keys: cells of one sweep."
    )
    project_priority: Annotated[int, _number(int, 0, 100)] = Field(
        default=100, description="With keys: highest priority of a job."
    )
    project_max_runtime_seconds: Annotated[float, _number(float, 0, 31_536_000, more_than_low=True)] | None = Field(
        default=None,
        description="With keys: longest `max_runtime_seconds`; jobs without one get it. Default: no limit.",
    )
    project_submission_seconds: Annotated[float, _number(float, 0, 1e12, more_than_low=True)] = Field(
        default=86_400.0, description="With keys: estimated seconds of training, on one core, of one submission."
    )
    project_submission_bytes: Annotated[int, _number(int, 1, 10**15)] = Field(
        default=10_000_000_000, description="With keys: estimated bytes of curves and models of one submission."
    )

    allowed_hosts: Annotated[str | None, AfterValidator(lambda hosts: hosts and _host_names(hosts))] = Field(
        default=None,
        description="Hosts that the service accepts in the Host header, without ports, separated by commas; `*` for "
        "all. Default: localhost, 127.0.0.1, [::1] if it listens on a loopback address, otherwise all.",
    )

    trusted_proxies: Annotated[str | None, AfterValidator(lambda proxies: proxies and _networks(proxies))] = Field(
        default=None,
        description="IP addresses and networks of proxies, separated by commas, whose X-Forwarded-For and "
        "X-Forwarded-Proto the service believes. Default: none.",
    )
    cors_origins: Annotated[str | None, AfterValidator(lambda origins: origins and _origins(origins))] = Field(
        default=None,
        description="Origins, separated by commas, whose pages may use the API from a browser (CORS). Default: none.",
    )

    checkpoint_dir: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        default=None,
        description="Folder of the workers' checkpoints; workers of several hosts should share it. "
        "Default: `checkpoints` in the home folder.",
    )
    lease_seconds: Annotated[float, _number(float, 1, 3600)] = Field(
        default=LEASE_SECONDS,
        description="Seconds for which a worker keeps its jobs without a heartbeat. The same for all processes on one "
        "store.",
    )
    retention_days: Annotated[float, _number(float, 0, MAX_RETENTION_DAYS, more_than_low=True)] | None = Field(
        default=None, description="Jobs that ended longer ago are deleted, unless they are pinned. Default: never."
    )

    drain_seconds: Annotated[float, _number(float, 0, 300)] = Field(
        default=0.0,
        description="Seconds for which the service continues to respond after SIGTERM, while /readyz responds 503.",
    )

    max_connections: Annotated[int, Field(ge=8, le=100_000)] = Field(
        default=500, description="Most connections that the service keeps open. Its limit of open files may lower it."
    )
    head_seconds: Annotated[float, Field(ge=1, le=300)] = Field(
        default=10.0, description="Seconds within which the headers of a request must arrive."
    )
    stall_seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=20.0,
        description="Seconds after which the service closes the connection of a client that sends or reads more slowly "
        "than the least rate.",
    )
    min_bytes_per_second: Annotated[float, Field(gt=0, le=1e9)] = Field(
        default=1000.0, description="The least rate at which a client must send its body and read a response."
    )

    log_format: LogFormat = Field(
        default="console", description="`console`: log lines for people; `json`: one JSON object a line."
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_in_capitals)] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Address of the metrics port of a supervisor or a service."
    )
    metrics_port: Annotated[int, _number(int, 0, 65535)] | None = Field(
        default=None,
        description="Port of the metrics; 0 for any free port. Default: a supervisor serves none, and a service serves "
        "/metrics on its own port.",
    )

    @property
    def project_limits(self) -> ProjectLimits:
        """Limits of projects that have none of their own: none without keys."""
        if self.auth != "keys":
            return ProjectLimits()
        return ProjectLimits(
            queued_jobs=self.project_queued_jobs,
            sweep_cells=self.project_sweep_cells,
            priority=self.project_priority,
            max_runtime_seconds=self.project_max_runtime_seconds,
            submission_seconds=self.project_submission_seconds,
            submission_bytes=self.project_submission_bytes,
        )

    @property
    def proxies(self) -> tuple[str, ...]:
        """Addresses and networks of the trusted proxies."""
        return _parts(self.trusted_proxies)

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins that CORS admits."""
        return _parts(self.cors_origins)

    def hosts_at(self, *, is_loopback: bool) -> frozenset[str] | None:
        """Return the hosts that the service answers for; None for all.

        `is_loopback` is True if the service listens on a loopback address.
        """
        if self.allowed_hosts is None:
            return LOOPBACK_HOSTS if is_loopback else None
        hosts = frozenset(self.allowed_hosts.split(","))
        return None if "*" in hosts else hosts

    @property
    def resolved_checkpoint_dir(self) -> Path:
        """Absolute path of the folder that holds the checkpoints."""
        return (self.checkpoint_dir or self.home.expanduser() / "checkpoints").absolute()

    @property
    def resolved_database_url(self) -> str:
        """URL of the database with its password, by default of an SQLite file in `home`."""
        if self.database_url is not None:
            url = make_url(self.database_url)
            if self.database_password_file is None or url.get_backend_name() == "sqlite":
                return self.database_url
            return url.set(password=_password_in(self.database_password_file)).render_as_string(hide_password=False)
        file = self.home.expanduser().absolute() / "costcurve.db"
        return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def explain(error: ValidationError) -> str:
    """Return one line for each invalid variable, readable by a person."""
    return "".join(
        f"COSTCURVE_{str(each['loc'][0]).upper()}: {each['msg'].removeprefix('Value error, ')}\n"
        for each in error.errors()
    )
