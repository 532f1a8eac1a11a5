"""The engine for many jobs on one CUDA device: all networks of a pack are trained in one launch, in float32.

Each lane of a pack is a training of its own: it gets the same start and the same batches as on the reference engine and
differs from it in rounding only (tests/engines/test_packed_gpu.py), and what becomes of the others, how many they are,
and which place it has among them changes none of its bits.

Networks with one small hidden layer go through a Triton program (triton_kernel.py), all others through batched products
(batched_matmul.py).
"""

import hashlib
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from costcurve.core.errors import JobFailure
from costcurve.core.spec import MnistSpec
from workers.engines.base import REPORT_INTERVAL, Report, Snapshot
from workers.engines.epoch_loop import Diagnose, Evaluate, Train, Training, training
from workers.engines.packed_gpu.batched_matmul import ProductTrainer
from workers.engines.packed_gpu.networks import Evaluator, Networks
from workers.training.diagnostics import diagnosed_images
from workers.training.network import Evaluation, ImageSets, Network

NAME = "packed_gpu"

# Rounds of a pack in the time between two reports, at least: each costs the host some microseconds a lane.
_ROUNDS_PER_REPORT = 2

_SOURCES = ("packed_kernel.py", "packed_networks.py", "packed_products.py")


def why_missing(device: torch.device) -> str | None:
    """Why this engine cannot train on `device` here; None if it can."""
    if device.type != "cuda":
        return f"it trains on CUDA devices, and not on {device}"
    if find_spec("triton") is None:
        return "triton is not installed"
    return None


def versions() -> dict[str, str]:
    """Of what decides the last bits of this engine: the compiler of its kernel, and its source."""
    source = hashlib.sha256()
    for name in _SOURCES:
        source.update(Path(__file__).with_name(name).read_bytes())
    return {"triton": version("triton"), "kernel": source.hexdigest()[:12]}


def train_pack(
    specs: Sequence[MnistSpec],
    images: ImageSets,
    *,
    device: torch.device,
    resumes: Sequence[Snapshot | None] | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Sequence[Iterator[Report]]:
    """Train several jobs at once; each as the reference engine's `train_mnist` would.

    Args:
        specs: what to train in each lane, at least one: networks of the same layers and batch size.
        images: MNIST on `device`.
        device: where to train.
        resumes: where to go on in each lane; None for a lane that is at its beginning, and for all of them.
        report_interval: seconds between two reports of a lane.

    Returns:
        The reports of each lane. Whoever asks one for the next has all lanes trained until it has one; what the others
        have to report meanwhile waits for them, only the newest of it with a snapshot. A snapshot that was given out
        stays that of its moment. A lane whose iterator is closed or dropped is trained no more.

    Raises:
        ValueError: the networks are of different shapes.
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
    """One job of a pack: its reports, and what its training wants next."""

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
        """Train no more."""
        self.wish = None
        self._waiting.clear()
        self._course.close()

    def go_on(self) -> None:
        """Its wish has been granted: find out what it wants next."""
        self.wish = None
        try:
            while isinstance(said := next(self._course), Report):
                self._wait(said)
        except StopIteration:
            return
        except JobFailure as failure:
            self._failure = failure.with_traceback(None)  # in whose frames lanes would live that nobody else holds
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
        """One step of the network of each lane for each row of its batches; no lane's bits depend on another's.

        Returns the costs of each lane's steps, (steps,) float64, on the device: whoever looks waits for them.
        """


class _Pack:
    """All networks of a pack, and the rounds in which every lane gets what it wants."""

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
        """From now on the lane gets what it wants, until nobody holds it any more."""
        self._lanes.append(weakref.ref(lane))

    def advance(self) -> None:
        """Give every lane what it wants, once: in one call for all that want the same.

        If that fails, it may be tried again: nothing has changed.
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
        # The launch before this one may run while the batches of this one are made, but no more than one waits.
        if self._launched is not None:
            self._launched.synchronize()
        networks = self.networks.copy()  # snapshots still look at the old ones
        costs = self._trainer.train(networks, places, batches)
        self.networks = networks
        if self._device.type == "cuda":
            self._launched = torch.cuda.current_stream(self._device).record_event()
        return costs

    def _evaluations(self, wishes: Sequence[tuple[_Lane, Evaluate]]) -> dict[int, Evaluation]:
        """By place how each lane does on the images that its wish names."""
        found: dict[int, Evaluation] = {}
        for images in {id(wish.images): wish.images for _, wish in wishes}.values():
            places = [lane.place for lane, wish in wishes if wish.images is images]
            found |= dict(zip(places, self._evaluator.evaluations(self.networks, places, images), strict=True))
        return found


class _Place:
    """The network of one place in a pack, as it is now."""

    def __init__(self, pack: _Pack, place: int) -> None:
        self._pack = pack
        self._place = place

    @property
    def network(self) -> Network:
        return self._pack.networks.lane(self._place)


def _trainer(layers: tuple[int, ...], batch_size: int, images: ImageSets) -> _Trainer:
    # Imported when it is needed: triton takes long to import, and is not where there is no CUDA device.
    from workers.engines.packed_gpu import triton_kernel

    if triton_kernel.fits(layers, batch_size):
        return triton_kernel.KernelTrainer(layers, batch_size, images.train)
    return ProductTrainer(layers, batch_size, images.train)
