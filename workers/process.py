"""A worker process, from its first instruction to its last. Light to import: torch comes after the signal handlers."""

import logging
import os
import signal
import socket
import threading
from contextlib import closing
from ctypes import c_bool
from functools import partial

from costcurve.core.errors import StoreUnavailable, WorkerRetired
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.outages import Outage
from costcurve.runtime.parent_process import stop_with_parent
from costcurve.runtime.settings import Settings
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.janitor import Janitor
from workers.metrics_server import MetricsFile
from workers.pulse import Pulse

log = logging.getLogger(__name__)


# The exit code of a worker that lost its lease: it has nothing in hand, and another may take its place at once.
RETIRED = 3
# Of one that lost its lease because its main thread hangs: as if it had died.
HUNG = 4
# Seconds that a worker's last words may take.
_LAST_WORDS = 0.5


def main(
    worker_id: str,
    device: str,
    settings: Settings,
    pack: int,
    ready: c_bool,
    pulse: Pulse,
    metrics_file: MetricsFile | None = None,
) -> None:
    """Work until SIGTERM, or until the supervisor is gone. Exit code 1: the store could not be reached.

    Args:
        worker_id: this incarnation.
        device: "cpu", or "cuda:0" and so on.
        settings: the settings.
        pack: how many jobs to train at once.
        ready: becomes true once it can train; shared with the supervisor.
        pulse: beats while this process runs; read by the supervisor.
        metrics_file: where it keeps what it counts, for the supervisor to serve; nowhere if None.
    """
    stop = threading.Event()

    def end(*_: object) -> None:
        if not ready.value:
            os._exit(0)  # it has nothing in hand, and the import of torch need not be waited for
        stop.set()

    signal.signal(signal.SIGTERM, end)
    # Ctrl-C, or closing the terminal, reaches every process there; the supervisor decides what it means.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop_with_parent(stop)
    pulse.start()
    configure_logging(log_format=settings.log_format, level=settings.log_level, worker_id=worker_id)
    if metrics_file is not None:
        metrics_file.use()
    code = 0
    try:
        with closing(Database(settings.resolved_database_url)) as database:
            _work(worker_id, device, settings, JobStore(database), pack, ready, stop)
    except WorkerRetired as retired:
        log.warning("%s, since nothing was heard from it; it ends", retired)
        code = RETIRED
    except StoreUnavailable as error:
        log.critical("the store is unavailable: %s", error.detail)
        code = 1
    # Python's own end would take a second, for torch, and now and then SIGABRT, for threads that are still in C++.
    os._exit(code)


def _end_hung(worker_id: str) -> None:
    """End this process, whose main thread hangs. Called from another thread."""

    def say() -> None:
        log.critical("worker %s hangs: it was given up and does not end; its process is ended", worker_id)

    # From a thread of its own: the main thread may hang in the middle of a log line, and hold what writing one needs.
    words = threading.Thread(target=say, name="last-words", daemon=True)
    words.start()
    words.join(_LAST_WORDS)
    os._exit(HUNG)


def _work(
    worker_id: str,
    device: str,
    settings: Settings,
    store: JobStore,
    pack: int,
    ready: c_bool,
    stop: threading.Event,
) -> None:
    # cuBLAS needs this before its first use, to give the same bits every time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from workers.checkpoint_sweep import CheckpointSweep
    from workers.checkpoints import Checkpoints
    from workers.engines import choice, fused_cpu
    from workers.lease import Lease
    from workers.loop import Worker
    from workers.training.datasets.mnist import default_cache_dir, load_mnist
    from workers.training.network import Images, ImageSets

    # Small networks lose by threads, and a sum's order, so its last bits, would depend on their number.
    torch.set_num_threads(1)
    # What `use_deterministic_algorithms` does, without its import of the compiler, which takes a second.
    torch.set_deterministic_debug_mode("error")
    torch.zeros(1, device=device)  # opening a GPU may take longer than a lease lasts

    def images(on: torch.device) -> ImageSets:
        """MNIST on a device."""
        mnist = load_mnist(data_dir=settings.data_dir, cache_dir=default_cache_dir())
        sets = ImageSets(
            train=Images.on(on, mnist.train_images, mnist.train_labels),
            validation=Images.on(on, mnist.validation_images, mnist.validation_labels),
            test=Images.on(on, mnist.test_images, mnist.test_labels),
        )
        if on.type == "cpu" and missing is None:
            fused_cpu.prepare(sets)
        return sets

    missing = fused_cpu.why_missing()
    if missing is not None:
        log.warning("no engine %s here: %s", fused_cpu.NAME, missing)
    seconds = settings.lease_seconds
    store.register_worker(
        worker_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        device=device,
        engines=choice.available(device),
        lease_seconds=seconds,
    )
    outage = Outage(log)  # one for all threads: the first that meets a reason tells it
    lease = Lease(store, worker_id, seconds=seconds, outage=outage, if_hung=partial(_end_hung, worker_id))
    lease.start()
    upkeep = Janitor(
        store, name=worker_id, lease_seconds=seconds, retention_days=settings.retention_days, outage=outage
    )
    upkeep.start()
    sweep = CheckpointSweep(settings.resolved_checkpoint_dir, store, outage)
    sweep.start()
    log.info("worker %s is ready on %s (pid %d)", worker_id, device, os.getpid())
    ready.value = True
    Worker(
        store,
        worker_id=worker_id,
        device=device,
        images=images,
        checkpoints=Checkpoints(settings.resolved_checkpoint_dir),
        lease=lease,
        stop=stop,
        pack=pack,
        outage=outage,
    ).run()
    upkeep.stop()
    sweep.stop()
    lease.stop()
    store.retire_worker(worker_id, reason="its worker was told to stop", crashed=False, by=worker_id)
