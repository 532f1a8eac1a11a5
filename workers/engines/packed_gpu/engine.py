"""Engine for many jobs on one CUDA device: one launch trains a pack.

It trains in float32. Each lane of a pack is an independent training. Its start and batches are those of the reference
engine, and its results differ in rounding only (tests/engines/test_packed_gpu.py). Neither the number of the other
lanes, nor their results, nor the lane's place among them change any of its bits.

Networks with one small hidden layer use a Triton program (triton_kernel.py), all others use batched products
(batched_matmul.py).
"""

import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from costcurve.core.errors import JobFailure
from costcurve.core.spec import AnySpec, MnistSpec
from workers.engines.base import REPORT_INTERVAL, Report, Snapshot, ensure_images, torch_instruction_set
from workers.engines.epoch_loop import Diagnose, Evaluate, Train, Training, training
from workers.engines.packed_gpu.batched_matmul import ProductTrainer
from workers.engines.packed_gpu.networks import Evaluator, Networks
from workers.training.diagnostics import diagnosed_images
from workers.training.network import Evaluation, ImageSets, Network

NAME = "packed_gpu"
# About two for each multiprocessor of a large GPU. No other worker can claim the jobs that this one holds.
BATCH_LIMIT = 264

# Fewest rounds of a pack between two reports: each round costs the host a few microseconds per lane.
_ROUNDS_PER_REPORT = 2


def why_missing(device: torch.device) -> str | None:
    """Return why this engine cannot train on `device` here, or None if it can."""
    if device.type != "cuda":
        return f"it trains only on CUDA devices, not on {device}"
    if find_spec("triton") is None:
        return "triton is not installed"
    return None


def suits(_spec: AnySpec, _device: torch.device) -> bool:
    """Return False: it trains on request only, since its speed was not measured yet."""
    return False


def profile(device: torch.device) -> tuple[str, Mapping[str, str]]:
    """Return the device's instruction set, and the version of triton, which compiles the kernel."""
    return torch_instruction_set(device), {"triton": version("triton")}


def train(
    specs: Sequence[AnySpec],
    resumes: Sequence[Snapshot | None],
    *,
    device: torch.device,
    images: ImageSets | None,
    report_interval: float,
) -> Sequence[Iterator[Report]]:
    """Return one iterator of reports for each network, as `train_pack` does."""
    networks = [spec for spec in specs if isinstance(spec, MnistSpec)]
    sets = ensure_images(images)
    return train_pack(networks, sets, device=device, resumes=resumes, report_interval=report_interval)


def train_pack(
    specs: Sequence[MnistSpec],
    images: ImageSets,
    *,
    device: torch.device,
    resumes: Sequence[Snapshot | None] | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Sequence[Iterator[Report]]:
    """Train several networks together, each like the reference engine's `train_mnist`.

    Args:
        specs: what to train in each lane, at least one: networks of the same layers and batch size.
        images: MNIST on `device`.
        device: where to train.
        resumes: the snapshot that each lane resumes from; None, for one or for all, starts at step 0.
        report_interval: seconds between two reports of a lane.

    Returns:
        One iterator of reports for each lane. If a lane has no report ready, requesting one trains all lanes until it
        has one. The reports of the other lanes queue up meanwhile; only the newest in each queue has a snapshot. A
        snapshot that was handed out keeps the state of its moment. A lane whose iterator is closed or dropped stops
        training.

    Raises:
        ValueError: the networks differ in layers or batch size.
    """
    if len({(spec.layers, spec.batch_size) for spec in specs}) != 1:
        raise ValueError("a pack has networks of one shape and one batch size")
    pack = _Pack(specs, images, device)
    lanes = []
    for place, (spec, resume) in enumerate(zip(specs, resumes or [None] * len(specs), strict=True)):
        course = training(
            spec,
            images,
            _Place(pack, place),
            resume=resume,
            report_interval=report_interval,
            calls_per_report=_ROUNDS_PER_REPORT,
        )
        lanes.append(_Lane(pack, place, course))
    return lanes


class _Lane(Iterator[Report]):
    """One job of a pack: its queued reports, and its training's next request."""

    def __init__(self, pack: "_Pack", place: int, course: Training) -> None:
        self.place = place
        self.wish: Train | Evaluate | Diagnose | None = None
        self._pack = pack
        self._course = course
        self._waiting: deque[Report] = deque()
        self._failure: Exception | None = None
        self.go_on()
        pack.enter(self)

    def __next__(self) -> Report:
        while not self._waiting and self.wish is not None:
            self._pack.advance()
        if self._waiting:
            return self._waiting.popleft()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        raise StopIteration

    def close(self) -> None:
        """Stop training this lane, and drop its queued reports."""
        self.wish = None
        self._waiting.clear()
        self._course.close()

    def go_on(self) -> None:
        """Resume the training until its next request, and queue its reports."""
        self.wish = None
        try:
            while isinstance(said := next(self._course), Report):
                self._wait(said)
        except StopIteration:
            return
        except JobFailure as failure:
            self._failure = failure.with_traceback(None)  # its frames would keep dropped lanes alive
            return
        except Exception as failure:  # noqa: BLE001 - it is this lane's, and its iterator raises it
            self._failure = failure
            return
        self.wish = said

    def _wait(self, report: Report) -> None:
        if self._waiting:  # a snapshot holds the memory of the whole pack
            self._waiting[-1] = replace(self._waiting[-1], snapshot=None)
        self._waiting.append(report)


class _Trainer(Protocol):
    def train(self, networks: Networks, lanes: Sequence[int], batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """Make one step of each lane's network for each row of its batches.

        No lane's bits depend on another's. Return the costs of each lane's steps, (steps,) float64, on the device:
        reading them waits for it.
        """


class _Pack:
    """All networks of a pack, and the rounds that grant every lane's request."""

    def __init__(self, specs: Sequence[MnistSpec], images: ImageSets, device: torch.device) -> None:
        layers, batch_size = specs[0].layers, specs[0].batch_size
        self.networks = Networks.at_their_start(specs, device)
        self._trainer = _trainer(layers, batch_size, images)
        self._evaluator = Evaluator(layers, device)
        self._diagnosed = diagnosed_images(images)
        self._lanes: list[weakref.ref[_Lane]] = []
        self._device = device
        self._launched: torch.cuda.Event | None = None

    def enter(self, lane: _Lane) -> None:
        """Register a lane: its requests are granted until it is dropped."""
        self._lanes.append(weakref.ref(lane))

    def advance(self) -> None:
        """Grant every lane's request once, with one call for all equal requests.

        A round that fails changes nothing, and may be tried again.
        """
        lanes = [lane for lane in (known() for known in self._lanes) if lane is not None]
        trained = [(lane, lane.wish) for lane in lanes if isinstance(lane.wish, Train)]
        evaluated = [(lane, lane.wish) for lane in lanes if isinstance(lane.wish, Evaluate)]
        diagnosed = [(lane, lane.wish) for lane in lanes if isinstance(lane.wish, Diagnose)]
        evaluations = self._evaluations(evaluated)
        diagnoses = self._evaluator.diagnoses(self.networks, [lane.place for lane, _ in diagnosed], self._diagnosed)
        costs = self._train([lane.place for lane, _ in trained], [wish.batches for _, wish in trained])
        for (_, training_wish), taken in zip(trained, costs, strict=True):
            training_wish.grant(taken)
        for lane, evaluation_wish in evaluated:
            evaluation_wish.grant(iter([evaluations[lane.place]]))
        for (_, diagnosis_wish), figures in zip(diagnosed, diagnoses, strict=True):
            diagnosis_wish.grant(figures)
        for lane, _ in (*trained, *evaluated, *diagnosed):
            lane.go_on()

    def _train(self, places: Sequence[int], batches: Sequence[Tensor]) -> Sequence[Tensor]:
        if not places:
            return []
        # The previous launch may still run while this one's batches are made, but at most one launch waits.
        if self._launched is not None:
            self._launched.synchronize()
        networks = self.networks.copy()  # snapshots still refer to the old ones
        costs = self._trainer.train(networks, places, batches)
        self.networks = networks
        if self._device.type == "cuda":
            self._launched = torch.cuda.current_stream(self._device).record_event()
        return costs

    def _evaluations(self, wishes: Sequence[tuple[_Lane, Evaluate]]) -> dict[int, Evaluation]:
        """Return each lane's evaluation on the images of its request, by place."""
        found: dict[int, Evaluation] = {}
        for images in {id(wish.images): wish.images for _, wish in wishes}.values():
            places = [lane.place for lane, wish in wishes if wish.images is images]
            found |= dict(zip(places, self._evaluator.evaluations(self.networks, places, images), strict=True))
        return found


class _Place:
    """The current network at one place of a pack."""

    def __init__(self, pack: _Pack, place: int) -> None:
        self._pack = pack
        self._place = place

    @property
    def network(self) -> Network:
        return self._pack.networks.lane(self._place)

    def enter(self, phase: MnistSpec) -> None:
        self._pack.networks.enter(self._place, phase)


def _trainer(layers: tuple[int, ...], batch_size: int, images: ImageSets) -> _Trainer:
    # Imported on demand: triton is slow to import, and is not installed where there is no CUDA device.
    from workers.engines.packed_gpu import triton_kernel

    if triton_kernel.fits(layers, batch_size):
        return triton_kernel.KernelTrainer(layers, batch_size, images.train)
    return ProductTrainer(layers, batch_size, images.train)
