"""What every test may use: MNIST for real, a store on a real database, a clock to turn; and no skipped test in CI."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url
from xdist.scheduler import LoadScopeScheduling

from costcurve.core.submission import Submission
from costcurve.store import JobStore, database
from costcurve.store.database import Database
from tests.helpers import reaper, warm_start
from tests.helpers.postgresql import UNSAFE, postgresql_database, postgresql_server
from tests.helpers.processes import until

if TYPE_CHECKING:
    from workers.training.datasets.mnist import Mnist
    from workers.training.network import ImageSets

pytest_plugins = ["tests.helpers.store_fixtures"]

ROOT = Path(__file__).parent.parent
# A developer's copy beside the checkout, used where it exists; elsewhere the real sources are asked.
_LOCAL_MNIST = ROOT.parent / "shared" / "data" / "mnist"


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session", autouse=True)
def run_folder() -> Iterator[Path]:
    """The folder of this pytest process, for what needs a short path. What the tests started has ended with them."""
    folder = Path(os.environ[reaper.MARK])
    yield folder
    warm_start.close()
    until(lambda: reaper.started(folder), lambda left: not left)


@pytest.fixture(scope="session")
def postgresql(run_folder: Path) -> Iterator[str]:
    """A real PostgreSQL server of this test process, on a Unix socket; the URL of its administrative database."""
    with postgresql_server(run_folder / "pg", UNSAFE) as server:
        yield server.url()


@pytest.fixture
def postgresql_url(postgresql: str) -> Iterator[str]:
    """An empty database of this test's own."""
    with postgresql_database(postgresql) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "costcurve.db"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: str) -> Iterator[str]:
    """The name of a database with all tables, to be made others from."""
    with postgresql_database(postgresql) as url:
        Database(url).close()
        yield make_url(url).database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind that the store knows, with all tables; for tests marked `empty_database` with none."""
    is_empty = request.node.get_closest_marker("empty_database") is not None
    if request.param == "postgresql":
        template = "template1" if is_empty else request.getfixturevalue("migrated_postgresql")
        with postgresql_database(request.getfixturevalue("postgresql"), template=template) as url:
            yield url
        return
    path = tmp_path / "costcurve.db"
    if not is_empty:
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
    yield f"sqlite:///{path}"


@pytest.fixture
def opened(database_url: str) -> Iterator[Callable[[], Database]]:
    """Opens the test's database, as another program would; closed when the test is over."""
    databases: list[Database] = []

    def opened() -> Database:
        databases.append(Database(database_url))
        return databases[-1]

    yield opened
    for each in databases:
        each.close()


@pytest.fixture
def store(opened: Callable[[], Database], clock: Clock) -> JobStore:
    return JobStore(opened(), clock=clock)


@pytest.fixture
def submit(store: JobStore):
    """Queue a job: `submit({"experiment": "neuron"}, priority=70)`."""

    def submit(spec: dict | None = None, **fields: object):
        return store.submit(Submission.model_validate({"spec": spec or {"experiment": "neuron"}, **fields})).job

    return submit


def local_mnist() -> Path | None:
    """What COSTCURVE_DATA_DIR should be: a local copy of MNIST, or None to let the real sources serve."""
    given = os.environ.get("COSTCURVE_DATA_DIR")
    if given:
        return Path(given)
    return _LOCAL_MNIST if _LOCAL_MNIST.is_dir() else None


@pytest.fixture(scope="session")
def mnist_dir() -> Path | None:
    return local_mnist()


@pytest.fixture(scope="session")
def mnist(mnist_dir: Path | None) -> "Mnist":
    # Most tests need no torch, which takes seconds to import.
    from workers.training.datasets.mnist import default_cache_dir, load_mnist

    return load_mnist(data_dir=mnist_dir, cache_dir=default_cache_dir())


@pytest.fixture(scope="session")
def images(mnist: "Mnist") -> "ImageSets":
    """MNIST as a network takes it, on the CPU, as one thread computes."""
    import torch

    from workers.training.network import Images, ImageSets

    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    return ImageSets(
        train=Images.on(cpu, mnist.train_images, mnist.train_labels),
        validation=Images.on(cpu, mnist.validation_images, mnist.validation_labels),
        test=Images.on(cpu, mnist.test_images, mnist.test_labels),
    )


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """Give requests and transactions of this process minutes: on a machine that has other work it may stand still."""
    with pytest.MonkeyPatch.context() as patch:
        # httpx's default is 5 s.
        for call in (httpx.request, httpx.get, httpx.post, httpx.put, httpx.patch, httpx.delete, httpx.head):
            patch.setitem(call.__kwdefaults__, "timeout", httpx.Timeout(120))
        patch.setattr(database, "_IDLE_SECONDS", 120)
        yield


def pytest_configure(config: pytest.Config) -> None:
    # How long an example takes to draw says how busy the machine is. A fixture is for all examples of a test here.
    unhurried = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("unhurried", deadline=None, suppress_health_check=unhurried)
    settings.load_profile("unhurried")
    reaper.begin(getattr(config, "workerinput", {}).get("workerid"))
    # Triton reads it when it is imported, and torch may import it in any test: a fixture would be too late.
    if not Path("/dev/nvidiactl").exists():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    # A shell that starts us in the background has us ignore Ctrl-C, and every program that we start would, too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # So it is with nohup. We outlive our terminal all the same; a program that we start has no handler of ours.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


# Modules whose tests share a program that runs.
_SHARING = (
    "tests/cli/process/",
    "tests/client/process/",
    "tests/end_to_end/test_article",
    "tests/end_to_end/test_reasons",
    "tests/end_to_end/test_results",
    "tests/end_to_end/test_trainings",
    "tests/observability/test_metrics",
    "tests/ray/",
    "tests/service/process/",
)


class _BySharedProgram(LoadScopeScheduling):
    """Tests of a module that shares a running program stay on one process; all others go wherever there is room.

    pytest-xdist's own marks for this (loadgroup) have no effect with pytest 9.2, whose items no longer take a suffix.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module == "tests/chaos/test_chaos.py":  # on each database, what one scenario learns serves the others
            return module + nodeid.rpartition("-")[2]
        return module if module.startswith(_SHARING) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return _BySharedProgram(config, log)


_skipped = 0


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _skipped
    _skipped += report.skipped


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A whole module may be skipped while it is collected."""
    global _skipped
    _skipped += report.skipped


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be skipped: what was skipped there was never tested anywhere."""
    if os.environ.get("CI") and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("CI") and _skipped:
        terminalreporter.write_line(f"CI fails: {_skipped} skipped, and no test may be skipped here", red=True)
