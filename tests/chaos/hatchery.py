"""Workers that live for a fraction of a second, and die exactly where they are told to.

A new worker process takes seconds to import torch. Here one process does that, once, and then forks: each child is a
worker of its own, which opens the store, registers, and trains with everything that a real one has.
"""

import functools
import gc
import importlib
import logging
import multiprocessing
import os
import signal
import stat
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection as Transaction
from sqlalchemy import event

from costcurve.core.job import MnistResult, NeuronResult, Request
from costcurve.runtime.logging import configure_logging
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.job_update import HandBack, JobUpdate

if TYPE_CHECKING:
    from workers.training.network import ImageSets

log = logging.getLogger(__name__)

# The exit code of a worker that died where it was told to.
CRASHED = 77

# Moments of a call of the store; and, but for the second, of the folder of checkpoints.
BEFORE, UNCOMMITTED, AFTER = "before", "before its commit", "after"
RECORD, RECORD_WITH_CHECKPOINT = "record", "record with a checkpoint"
FINISH, HAND_BACK, CONFIRM_PAUSE, CONFIRM_CANCEL = "finish", "hand_back", "confirm_pause", "confirm_cancel"
WRITES = ("claim", "write", "renew_lease", "register_worker", "retire_worker")

# Seconds. Much more often than a worker usually does all this, so that much of it falls into a short training.
_REPORT_INTERVAL = 0.015
_CHECKPOINT_INTERVAL = 0.02
_BEAT_INTERVAL = 0.05
_SWEEP_INTERVAL = 0.2


@dataclass(frozen=True)
class Crash:
    """The process is gone at this moment of an operation, the n-th time that it comes to it."""

    operation: str
    moment: str
    time: int


@dataclass(frozen=True)
class Ask:
    """Somebody asks for something just after the n-th write of a job's progress: its client, or the supervisor."""

    what: str
    job_id: str
    time: int


@dataclass(frozen=True)
class Life:
    """What a child is to do."""

    database_url: str
    checkpoints: Path
    worker_id: str
    pack: int = 1
    crash: Crash | None = None
    ask: Ask | None = None
    # It does not train, but retires this worker, which has died, as a supervisor does.
    retires: str | None = None


@contextmanager
def hatchery(count: int, *, database_url: str, data_dir: Path | None, log_file: Path) -> Iterator[Sequence[Connection]]:
    """So many lanes. To each one Life after the other is sent, and None to SIGTERM it; the exit codes come back.

    The database is one of the kind that they use; it is only opened once.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = zip(*(spawn.Pipe() for _ in range(count)), strict=True)
    process = spawn.Process(target=_hatch, args=(theirs, database_url, data_dir, log_file), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        for end in (*ours, *theirs):
            end.close()
        process.join()


def _hatch(lanes: Sequence[Connection], database_url: str, data_dir: Path | None, log_file: Path) -> None:
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(output, standard)
    configure_logging()
    images = _images(data_dir)
    # Whatever is imported, and made ready, before the fork need not be so in each child.
    importlib.import_module("workers.loop")
    Database(database_url).close()
    gc.collect()
    gc.freeze()
    for job_run in lanes:
        if os.fork() == 0:
            _serve(job_run, images)
            os._exit(0)
    for _ in lanes:
        os.wait()


def _images(data_dir: Path | None) -> "ImageSets":
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    from workers.training.datasets.mnist import default_cache_dir, load_mnist
    from workers.training.network import Images, ImageSets

    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")
    mnist, cpu = load_mnist(data_dir=data_dir, cache_dir=default_cache_dir()), torch.device("cpu")
    return ImageSets(
        train=Images.on(cpu, mnist.train_images, mnist.train_labels),
        validation=Images.on(cpu, mnist.validation_images, mnist.validation_labels),
        test=Images.on(cpu, mnist.test_images, mnist.test_labels),
    )


def _serve(lane: Connection, images: "ImageSets") -> None:
    """One child after the other, until nobody is there any more who would send another life."""
    try:
        while True:
            life = lane.recv()
            if life is None:  # meant for a child that ended at that very moment
                continue
            pid = os.fork()
            if pid == 0:
                _be(life, images)
            ended = os.pidfd_open(pid)
            try:
                while ended not in wait([lane, ended]):
                    lane.recv()
                    os.kill(pid, signal.SIGTERM)
            except EOFError:
                os.kill(pid, signal.SIGKILL)
                raise
            finally:
                os.close(ended)
                _, status = os.waitpid(pid, 0)
            lane.send(os.waitstatus_to_exitcode(status))
    except (EOFError, BrokenPipeError):
        return


def _be(life: Life, images: "ImageSets") -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        trap = _Trap(life.crash)
        if life.retires is not None:
            store = trap.set_in_store(Database(life.database_url))
            store.retire_worker(life.retires, reason=f"its worker died (exit code {CRASHED})", crashed=True)
        else:
            _work(life, trap, images, stop)
    except BaseException:  # noqa: BLE001 - nothing of the process that was forked may go on here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _work(life: Life, trap: "_Trap", images: "ImageSets", stop: threading.Event) -> None:
    """What workers/process.py does."""
    from workers import checkpoint_sweep, job_run, lease, loop
    from workers.checkpoints import Checkpoints

    loop.REPORT_INTERVAL = _REPORT_INTERVAL * life.pack
    job_run.RECORD_INTERVAL = 0.0
    job_run._RECORD_SHARE = 0
    job_run.CHECKPOINT_INTERVAL = _CHECKPOINT_INTERVAL
    job_run._CHECKPOINT_SHARE = 0
    lease._BEATS_PER_LEASE = LEASE_SECONDS / _BEAT_INTERVAL
    checkpoint_sweep.INTERVAL = _SWEEP_INTERVAL

    store = trap.set_in_store(Database(life.database_url))
    if life.ask is not None:
        _listen(store, life.ask, JobStore(Database(life.database_url)), stop)
    store.register_worker(life.worker_id, host="hatchery", pid=os.getpid(), device="cpu", engines=["autograd"])
    held = lease.Lease(store, life.worker_id, seconds=LEASE_SECONDS)
    held.start()
    checkpoint_sweep.CheckpointSweep(life.checkpoints, store).start()
    log.info("worker %s: %s, %s", life.worker_id, life.crash, life.ask)
    loop.Worker(
        store,
        worker_id=life.worker_id,
        device="cpu",
        images=lambda _: images,
        checkpoints=trap.set_in_checkpoints(Checkpoints(life.checkpoints)),
        lease=held,
        stop=stop,
        pack=life.pack,
    ).run()
    held.stop()
    store.retire_worker(life.worker_id, reason="its worker was stopped", crashed=False, by=life.worker_id)


def _listen(store: JobStore, ask: Ask, client: JobStore, stop: threading.Event) -> None:
    write, times = store.write, 0

    @functools.wraps(write)
    def written(writes: Sequence[JobUpdate]) -> Any:
        nonlocal times
        answers = write(writes)
        if any(each.claim.job_id == ask.job_id and each.outcome is None for each in writes):
            times += 1
            if times == ask.time:
                match ask.what:
                    case "cancel":
                        client.cancel(ask.job_id)
                    case "pause":
                        client.pause(ask.job_id)
                    case "stop":
                        stop.set()
        return answers

    store.write = written  # type: ignore[method-assign]


class _Trap:
    """Ends this process, without any more ado, at one point."""

    def __init__(self, crash: Crash | None) -> None:
        self._crash = crash
        self._times_left = crash.time if crash is not None else 0
        # The operations that a thread is in.
        self._in = threading.local()

    def reach(self, operations: Sequence[str], moment: str, last_act: Callable[[], object] | None = None) -> None:
        """The process is at this point of each of these operations now."""
        if self._crash is None or moment != self._crash.moment or self._crash.operation not in operations:
            return
        self._times_left -= operations.count(self._crash.operation)
        if self._times_left <= 0:
            if last_act is not None:
                last_act()
            os._exit(CRASHED)

    def set_in_store(self, database: Database) -> JobStore:
        """A store that comes to the points of all its writes."""
        store = JobStore(database)
        for name in WRITES:
            setattr(store, name, self._around(name, getattr(store, name)))

        @event.listens_for(database.engine, "commit")
        def _about_to_commit(transaction: Transaction) -> None:
            if transaction.get_execution_options().get("writes"):
                self.reach(getattr(self._in, "operations", ()), UNCOMMITTED)

        return store

    def set_in_checkpoints(self, checkpoints: Any) -> Any:
        """A folder of checkpoints that comes to the points of all it does."""
        fsync, replace = os.fsync, Path.replace

        def fsync_part(descriptor: int) -> None:
            found = os.fstat(descriptor)
            if not stat.S_ISDIR(found.st_mode):
                self.reach(["checkpoint"], "half written", lambda: os.ftruncate(descriptor, found.st_size // 2))
                self.reach(["checkpoint"], "before its fsync")
            fsync(descriptor)

        def replace_part(path: Path, target: Path) -> Path:
            self.reach(["checkpoint"], "before its rename")
            replaced = replace(path, target)
            self.reach(["checkpoint"], "after its rename")
            return replaced

        os.fsync = fsync_part
        Path.replace = replace_part  # type: ignore[method-assign, assignment]
        for name in ("load", "remove"):
            setattr(checkpoints, name, self._around(name, getattr(checkpoints, name)))
        return checkpoints

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def called(*args: Any, **kwargs: Any) -> Any:
            operations = (
                [operation for write in args[0] for operation in _operations(write)] if name == "write" else [name]
            )
            self.reach(operations, BEFORE)
            self._in.operations = operations
            try:
                found = call(*args, **kwargs)
            finally:
                self._in.operations = ()
            if found != []:  # a claim of nothing writes nothing
                self.reach(operations, AFTER)
            return found

        return called


def _operations(write: JobUpdate) -> Iterator[str]:
    """What is written about one job: how far it is, and the turn that it takes."""
    match write.outcome:
        case NeuronResult() | MnistResult():
            yield FINISH
        case HandBack():
            yield HAND_BACK
        case Request.PAUSE:
            yield CONFIRM_PAUSE
        case Request.CANCEL:
            yield CONFIRM_CANCEL
    if write.progress is not None:
        yield RECORD_WITH_CHECKPOINT if write.checkpoint is not None else RECORD
