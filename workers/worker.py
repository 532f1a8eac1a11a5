"""One worker: claim → train → report, and nothing else."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from time import monotonic

import torch

from jobs.errors import LaneLost
from jobs.job import Claim
from jobs.spec import NeuronSpec
from jobs.store import JobStore
from workers.checkpoints import Checkpoints
from workers.devices import served_by
from workers.engines import autograd, choice, fused_cpu
from workers.engines.report import REPORT_INTERVAL, Report, Snapshot
from workers.experiments.mlp import ImageSets
from workers.lane import Lane
from workers.lease import Lease
from workers.loading import Loading
from workers.patience import Patience

log = logging.getLogger(__name__)

# Seconds between two looks at an empty queue.
IDLE_POLL = 0.1
# Seconds between two looks at what else there is to do while a data set is loaded.
LOOK_INTERVAL = 0.1
# Seconds between two looks for what dead workers left in the folder of the checkpoints.
SWEEP_INTERVAL = 600.0


class Worker:
    """Trains one job, or one pack of jobs, at a time on one device, until it is told to stop."""

    def __init__(
        self,
        store: JobStore,
        *,
        worker_id: str,
        device: str,
        images: Callable[[torch.device], ImageSets],
        checkpoints: Checkpoints,
        lease: Lease,
        stop: threading.Event,
        pack: int = 1,
    ) -> None:
        """Prepare a worker.

        Args:
            store: where jobs come from and reports go.
            worker_id: this incarnation, already registered.
            device: "cpu", or "cuda:0" and so on.
            images: gives MNIST on a device; may raise DatasetUnavailable.
            checkpoints: where checkpoints are kept.
            lease: the incarnation's, already started.
            stop: once set, the jobs in hand go back to the queue and `run` returns.
            pack: how many jobs of the same shape it trains at once, taking turns.
        """
        self._store = store
        self._worker_id = worker_id
        self._engines = choice.choices()
        self._devices = served_by(device)
        self._images = images
        self._loads: dict[torch.device, Loading[ImageSets]] = {}
        self._checkpoints = checkpoints
        self._lease = lease
        self._patiently = Patience(stop, lease)
        self._stop = stop
        self._pack = pack
        self._swept_at: float | None = None

    def run(self) -> None:
        """Train job after job; returns when told to stop.

        Raises:
            StoreUnavailable: it was told to stop, and the store did not take back what it had in hand.
            WorkerRetired: its lease was lost; its jobs are others' now.
        """
        claim_next = partial(
            self._store.claim, self._worker_id, engines=self._engines, devices=self._devices, limit=self._pack
        )
        while not self._stop.is_set():
            self._lease.got_on()
            self._lease.ensure(self._stop)
            claims = self._patiently(claim_next)
            if claims:
                self._train(claims)
            else:
                self._sweep()
                self._stop.wait(IDLE_POLL)

    def _train(self, claims: Sequence[Claim]) -> None:
        """Train them all, chunk by chunk in turn, each to its own end."""
        start = partial(self._start, report_interval=REPORT_INTERVAL / len(claims))
        lanes = [
            Lane(
                claim,
                store=self._store,
                checkpoints=self._checkpoints,
                start=start,
                patiently=self._patiently,
                stop=self._stop,
            )
            for claim in claims
        ]
        while lanes:
            for lane in tuple(lanes):
                self._lease.ensure(self._stop)
                try:
                    goes_on = lane.advance()
                except LaneLost as lost:
                    log.warning("%s; its result is dropped", lost)
                    goes_on = False
                if not goes_on:
                    lanes.remove(lane)
                self._lease.got_on()

    def _start(self, claim: Claim, resume: Snapshot | None, *, report_interval: float) -> Iterator[Report] | None:
        """The engine's reports; None while its data set is still being loaded."""
        device = torch.device(claim.device)
        if isinstance(claim.spec, NeuronSpec):
            return autograd.train_neuron(claim.spec, device=device, resume=resume, report_interval=report_interval)
        loading = self._loads.setdefault(device, Loading(partial(self._images, device))).begin()
        try:
            images = loading.result(timeout=LOOK_INTERVAL)
        except FutureTimeout:
            if loading.done():  # the loader's own time ran out
                raise
            return None
        if claim.engine == fused_cpu.NAME:
            return fused_cpu.train_mnist(claim.spec, images, resume=resume, report_interval=report_interval)
        return autograd.train_mnist(claim.spec, images, device=device, resume=resume, report_interval=report_interval)

    def _sweep(self) -> None:
        if self._swept_at is None or monotonic() - self._swept_at > SWEEP_INTERVAL:
            self._patiently(partial(self._checkpoints.sweep, self._store.ended))
            self._swept_at = monotonic()
