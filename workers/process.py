"""A worker process, from its start to its exit.

The module is light to import: torch is imported only after the signal handlers are set.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from costcurve.core.errors import StoreUnavailable, WorkerRetired
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.outages import Outage
from costcurve.runtime.parent_process import stop_at_end_of
from costcurve.runtime.settings import Settings
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.janitor import Janitor
from workers.metrics_server import MetricsFile
from workers.worker_state import WorkerState

log = logging.getLogger(__name__)


# Exit code of a worker that lost its lease: it holds no job, and a successor may start at once.
RETIRED = 3
# Exit code of a worker that lost its lease because its main thread hangs: it counts as a crash.
HUNG = 4
# Seconds that the last log line of a hung worker may take.
_LAST_WORDS = 0.5


def main(
    worker_id: str,
    device: str,
    settings: Settings,
    pack: int,
    metrics_file: MetricsFile | None,
    descriptors: Sequence[int],
) -> None:
    """Run a worker until SIGTERM or until the supervisor is gone.

    Exit code 1 means that the store could not be reached.

    Args:
        worker_id: this incarnation.
        device: "cpu", or "cuda:0" and so on.
        settings: the settings.
        pack: number of jobs to train at once.
        metrics_file: where to keep the metrics that the supervisor exports; None for nowhere.
        descriptors: the memory of the worker's state, and a pipe that ends with the supervisor.
    """
    stop = threading.Event()
    memory, lifeline = descriptors
    state = WorkerState(memory)
    os.close(memory)

    def end(*_: object) -> None:
        if not state.is_ready:
            os._exit(0)  # it holds no job, and need not wait for the import of torch
        stop.set()

    signal.signal(signal.SIGTERM, end)
    # Ctrl-C, or closing the terminal, reaches every process in it; only the supervisor acts on it.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop_at_end_of(lifeline, stop)
    state.pulse.start()
    configure_logging(log_format=settings.log_format, level=settings.log_level, worker_id=worker_id)
    if metrics_file is not None:
        metrics_file.use()
    code = 0
    try:
        with closing(Database(settings.resolved_database_url)) as database:
            _work(worker_id, device, settings, JobStore(database), pack, state, stop)
    except WorkerRetired as retired:
        log.warning("%s, since it sent no heartbeat in time; it ends", retired)
        code = RETIRED
    except StoreUnavailable as error:
        log.critical("the store is unavailable: %s", error.detail)
        code = 1
    # Python's own exit would take a second because of torch, and sometimes SIGABRT because of threads still in C++.
    os._exit(code)


def _end_hung(worker_id: str) -> None:
    """End this process, whose main thread hangs, from another thread."""

    def say() -> None:
        log.critical("worker %s hangs: it was given up and does not end; its process exits", worker_id)

    # In a thread of its own: the main thread may hang in the middle of a log line and hold a lock that logging needs.
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
    state: WorkerState,
    stop: threading.Event,
) -> None:
    # cuBLAS reads this at its first use; with it, the same input gives the same bits every time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from workers.checkpoint_sweep import CheckpointSweep
    from workers.checkpoints import Checkpoints
    from workers.engines import fused_cpu, registry
    from workers.lease import Lease
    from workers.loop import Worker
    from workers.training.datasets.mnist import default_cache_dir, load_mnist
    from workers.training.network import Images, ImageSets

    # Small networks train slower with several threads, and the order of sums, so their last bits, would depend on the
    # number of threads.
    torch.set_num_threads(1)
    # Same effect as `use_deterministic_algorithms`, without its import of the compiler, which takes a second.
    torch.set_deterministic_debug_mode("error")
    torch.zeros(1, device=device)  # opening a GPU may take longer than a lease lasts

    def images(on: torch.device) -> ImageSets:
        """Return MNIST on a device."""
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
        log.warning("engine %s is not available: %s", fused_cpu.NAME, missing)
    seconds = settings.lease_seconds
    store.register_worker(
        worker_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        device=device,
        engines=registry.available(device),
        lease_seconds=seconds,
    )
    outage = Outage(log)  # one for all threads: each reason is logged once
    lease = Lease(store, worker_id, seconds=seconds, outage=outage, if_hung=partial(_end_hung, worker_id))
    lease.start()
    janitor = Janitor(
        store, name=worker_id, lease_seconds=seconds, retention_days=settings.retention_days, outage=outage
    )
    janitor.start()
    sweep = CheckpointSweep(settings.resolved_checkpoint_dir, store, outage)
    sweep.start()
    log.info("worker %s is ready on %s (pid %d)", worker_id, device, os.getpid())
    state.set_ready()
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
    janitor.stop()
    sweep.stop()
    lease.stop()
    store.retire_worker(worker_id, reason="its worker was stopped", crashed=False, by=worker_id)
