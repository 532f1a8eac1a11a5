"""Engine for many neurons: one float64 tensor program with a lane per neuron.

The gradients are worked out by hand. A neuron's own arithmetic takes nanoseconds and each torch operation about a
microsecond, so a thousand neurons take little longer than one. The reference engine defines the metrics; this engine
differs from it in rounding only (tests/engines/test_neuron_pack.py). Lanes are independent: neither the number of the
other lanes nor their results change a bit of a lane.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import perf_counter
from weakref import ref

import numpy as np
import torch
from torch import Tensor

from costcurve.analysis.initializers import initial_layers
from costcurve.core.curve import NEURON_METRICS, Curve, may_be_infinite
from costcurve.core.errors import Diverged
from costcurve.core.job import NeuronResult
from costcurve.core.spec import AnySpec, NeuronSpec, phase_at, phases_of
from workers.engines.base import (
    REPORT_INTERVAL,
    Report,
    Snapshot,
    UnusableSnapshot,
    copied,
    ensure_finite,
    kept_tensor,
    torch_instruction_set,
)
from workers.training.activations import UNIT
from workers.training.losses import Outputs, chosen, loss_named
from workers.training.network import ImageSets

NAME = "neuron_pack"
# More could be trained together, but no other worker can claim the jobs that this one holds.
BATCH_LIMIT = 1024

# On a CPU, torch computes σ in vectors, and a remainder at a tensor's end in another way, which may differ in the last
# bit. So no tensor may have a remainder: lanes are padded to a multiple of this, which every vector length divides.
_WIDTH = 64
# Most lanes of one program; a larger pack is split into several programs.
_MOST_LANES = 4096
# Most elements of a tensor for which metrics are computed at once: fewer than torch would split between threads.
_FIGURES_AT_ONCE = 16_384
# Indices in NEURON_METRICS of those that are finite in every sound training.
_NEVER_INFINITE = [place for place, metric in enumerate(NEURON_METRICS) if not may_be_infinite(metric)]
# Most points of all lanes together in one chunk: 28 MiB of metrics.
_MOST_POINTS = 1 << 19


def why_missing(_device: torch.device) -> str | None:
    """Return None: this engine is available everywhere."""
    return None


def suits(spec: AnySpec, _device: torch.device) -> bool:
    """Return True for neurons."""
    return isinstance(spec, NeuronSpec)


def profile(device: torch.device) -> tuple[str, Mapping[str, str]]:
    """Return the instruction set that decides the last bits, and no further versions."""
    return torch_instruction_set(device), {}


def train(
    specs: Sequence[AnySpec],
    resumes: Sequence[Snapshot | None],
    *,
    device: torch.device,
    images: ImageSets | None,  # noqa: ARG001 - neurons need none
    report_interval: float,
) -> Sequence[Iterator[Report]]:
    """Return one iterator of reports for each neuron, as `train_pack` does."""
    neurons = [spec for spec in specs if isinstance(spec, NeuronSpec)]
    return train_pack(neurons, device=device, resumes=resumes, report_interval=report_interval)


def train_pack(
    specs: Sequence[NeuronSpec],
    *,
    device: torch.device,
    resumes: Sequence[Snapshot | None] | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Sequence[Iterator[Report]]:
    """Train all these neurons together, each like the reference engine's `train_neuron`.

    Args:
        specs: what to train, each with its own loss, rate, start, sample and epochs.
        device: where to train.
        resumes: the snapshot that each resumes from; None, for one or for all, starts at step 0.
        report_interval: seconds between two reports of a lane.

    Returns:
        One iterator of reports for each lane, like that of `train_neuron`. The last report has the result. A lane that
        diverges raises Diverged from its own iterator. If a lane has no report ready, requesting one trains all lanes
        for about `report_interval`. The reports of the other lanes queue up meanwhile, so request reports in turn. A
        lane whose iterator is closed or dropped stops training.
    """
    given = list(zip(specs, resumes or [None] * len(specs), strict=True))
    parts = (given[start : start + _MOST_LANES] for start in range(0, len(given), _MOST_LANES))
    return list(chain.from_iterable(_Program.of(part, device, report_interval) for part in parts))


@dataclass(frozen=True, slots=True)
class _Terms:
    """Learning rates of all lanes, (lanes,) float64, and for each loss which lanes have it, (lanes,) bool."""

    rates: Tensor
    masks: Mapping[str, Tensor]

    def changed(self, changes: Sequence[tuple[int, NeuronSpec]]) -> "_Terms":
        """Return the terms after these lanes have entered these phases of their schedules."""
        rates, masks = self.rates.clone(), {name: mask.clone() for name, mask in self.masks.items()}
        for place, phase in changes:
            rates[place] = phase.learning_rate
            for name, mask in masks.items():
                mask[place] = phase.loss == name
        return _Terms(rates, masks)

    def chosen(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return each lane's value from that of its loss."""
        return chosen(list(values.values()), [self.masks[name] for name in values])


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Points of all lanes from one round of training, and their state after it."""

    # Shaped (lanes, metrics, points).
    figures: Tensor
    # Weight and bias, shaped (2, lanes).
    after: Tensor
    # Places of the lanes with a metric that is not finite.
    unsound: frozenset[int]
    ended: float


class _Lane(Iterator[Report]):
    """One neuron: its step, and the chunks that it has not reported yet.

    Each chunk is queued with the lane's place in it. The program holds a lane by a weak reference, so that it does not
    train lanes whose iterators were dropped.
    """

    def __init__(self, program: "_Program", spec: NeuronSpec, resume: Snapshot | None) -> None:
        self._program = program
        self.spec = spec
        self._step = resume.step if resume is not None else 0
        self._seconds_before = resume.seconds if resume is not None else 0.0
        self._waiting: deque[tuple[_Chunk, int]] = deque()
        self._error: Exception | None = None
        # Points that the program still has to train, including the one where the lane starts.
        self.points_left = spec.epochs + 1 - self._step

    def __next__(self) -> Report:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        while not self._waiting:
            if self.points_left <= 0:
                raise StopIteration
            self._program.train()
        return self._report(*self._waiting.popleft())

    @property
    def trained_step(self) -> int:
        """Number of updates before the next point that the program trains."""
        return self.spec.epochs + 1 - self.points_left

    def take(self, chunk: _Chunk, place: int) -> None:
        """Queue a chunk to report; this lane is at `place` in it."""
        self._waiting.append((chunk, place))
        self.points_left -= chunk.figures.shape[-1]

    def close(self) -> None:
        """Stop training this lane, and drop the chunks not yet reported."""
        self.points_left = 0
        self._waiting.clear()

    def fail(self, error: Exception) -> None:
        """Stop training this lane; the next request for a report raises the error."""
        self.close()
        self._error = error

    def _report(self, chunk: _Chunk, place: int) -> Report:
        first, last = self._step, self.spec.epochs
        count = min(chunk.figures.shape[-1], last + 1 - first)
        columns = chunk.figures[place, :, :count].tolist()
        curve = Curve(first, dict(zip(NEURON_METRICS, columns, strict=True)))
        if place in chunk.unsound and (sound := self._ensure_finite(curve)) is not None:
            return Report(sound.end, sound.end, sound)
        self._step += count
        seconds = self._seconds_before + chunk.ended - self._program.started
        if self._step <= last:
            # The shapes of the reference engine, (1, 1) and (1,).
            state = {"weight": chunk.after[0, place].reshape(1, 1), "bias": chunk.after[1, place].reshape(1)}
            return Report(
                self._step, self._step, curve, snapshot=partial(copied, self._step, self._step, seconds, state)
            )
        final = {metric: values[-1] for metric, values in curve.series.items()}
        result = NeuronResult(
            final_cost=final["cost"],
            final_output=final["output"],
            final_weight=final["weight"],
            final_bias=final["bias"],
            train_seconds=seconds,
        )
        return Report(last, last, curve, result)

    def _ensure_finite(self, curve: Curve) -> Curve | None:
        """Return None if all points are sound, otherwise the points before the first unsound.

        In the second case, the next request for a report raises the error.
        """
        for number in range(len(curve)):
            point = {metric: values[number] for metric, values in curve.series.items()}
            updates = curve.start + number
            try:
                ensure_finite(point, where=f"after {updates} updates", updates=updates)
            except Diverged as error:
                self.fail(error)
                return Curve(curve.start, {metric: values[:number] for metric, values in curve.series.items()})
        return None


class _Program:
    """All lanes of one tensor program.

    A lane that has ended keeps its place, and is computed in vain, until the lanes are compacted.
    """

    def __init__(self, device: torch.device, report_interval: float) -> None:
        self.started = perf_counter()
        self._device = device
        self._interval = report_interval
        self._lanes: list[ref[_Lane]] = []
        self._terms: _Terms
        # Updates with the lanes as they are placed, and the changes of their schedules by such an update.
        self._updates = 0
        self._changes: dict[int, list[tuple[int, NeuronSpec]]] = {}

    @classmethod
    def of(
        cls, given: Sequence[tuple[NeuronSpec, Snapshot | None]], device: torch.device, report_interval: float
    ) -> Sequence[_Lane]:
        """Return the lanes of a new program, one for each pair given."""
        program = cls(device, report_interval)
        lanes = [_Lane(program, spec, resume) for spec, resume in given]
        states = []
        for lane, (spec, resume) in zip(lanes, given, strict=True):
            try:
                states.append(_initial_state(spec, resume))
            except UnusableSnapshot as error:  # fails this lane only
                lane.fail(error)
                states.append((0.0, 0.0))
        program._place(lanes, states)
        return lanes

    @torch.no_grad()
    def train(self) -> None:
        """Train all lanes for about one report interval, and queue a chunk for each."""
        self._move_up()
        rows, ends, made, terms = self._rows, perf_counter() + self._interval, 0, {0: self._terms}
        most = min(max(lane.points_left for _, lane in self._live()), len(rows) - 1)
        while made == 0 or (made < most and perf_counter() < ends):
            if (changes := self._changes.pop(self._updates, None)) is not None:
                self._terms = terms[made] = self._terms.changed(changes)
            self._descend(rows[made], rows[made + 1])
            made, self._updates = made + 1, self._updates + 1
        figures = self._figures(terms, made)
        unsound = (~torch.isfinite(figures[:, _NEVER_INFINITE])).flatten(1).any(dim=1).nonzero().flatten().tolist()
        chunk = _Chunk(figures, rows[made].cpu().clone(), frozenset(unsound), perf_counter())
        rows[0].copy_(rows[made])
        for place, lane in self._live():
            lane.take(chunk, place)

    def _live(self) -> list[tuple[int, _Lane]]:
        """Return the lanes that still have points to train, each with its place."""
        found = ((place, held()) for place, held in enumerate(self._lanes))
        return [(place, lane) for place, lane in found if lane is not None and lane.points_left > 0]

    def _move_up(self) -> None:
        """Remove the lanes that have ended, if that makes the tensors smaller."""
        live = self._live()
        if _padded(len(live)) < len(self._targets):
            states = self._rows[0].T[[place for place, _ in live]].tolist()
            self._place([lane for _, lane in live], states)

    def _place(self, lanes: Sequence[_Lane], states: Sequence[Sequence[float]]) -> None:
        """Put these lanes into new tensors; a lane's state is its weight and bias."""
        self._lanes = [ref(lane) for lane in lanes]
        specs = [lane.spec for lane in lanes]
        width = _padded(len(specs))

        def tensor(*values: Sequence[float]) -> Tensor:
            filled = torch.zeros(len(values), width, dtype=torch.float64)
            filled[:, : len(specs)] = torch.tensor(values, dtype=torch.float64)
            return filled.to(self._device)

        # ∂z/∂weight and ∂z/∂bias, (2, lanes); the others (lanes,).
        self._inputs = tensor([spec.input for spec in specs], [1.0] * len(specs))
        self._targets = tensor([spec.target for spec in specs])[0]
        phases = [phase_at(lane.spec, lane.trained_step) for lane in lanes]
        names = sorted({phase.loss for spec in specs for phase in phases_of(spec).values()})
        self._losses = {name: loss_named(name) for name in names}
        self._terms = _Terms(
            tensor([phase.learning_rate for phase in phases])[0],
            {name: tensor([float(phase.loss == name) for phase in phases])[0] == 1 for name in names},
        )
        self._updates, self._changes = 0, {}
        for place, lane in enumerate(lanes):
            for first, phase in phases_of(lane.spec).items():
                if first > lane.trained_step:
                    self._changes.setdefault(first - lane.trained_step, []).append((place, phase))
        count = min(max(lane.points_left for lane in lanes), _MOST_POINTS // width)
        # Weight and bias before each update of a chunk, and after the last, each (2, lanes).
        self._states = torch.zeros(count + 1, 2, width, dtype=torch.float64, device=self._device)
        self._rows = self._states.unbind()
        self._rows[0].copy_(tensor(*zip(*states, strict=True)))

    def _descend(self, before: Tensor, after: Tensor) -> None:
        """Update every lane once, p ← p − η ∂C/∂p, from `before` into `after`."""
        steps = self._delta(self._logits(before), self._terms) * self._inputs
        torch.sub(before, steps.mul_(self._terms.rates), out=after)

    def _logits(self, states: Tensor) -> Tensor:
        weights, biases = (states * self._inputs).unbind(-2)
        return weights + biases

    def _delta(self, z: Tensor, terms: _Terms) -> Tensor:
        """Return ∂C/∂z, at full relative precision for every z."""
        outputs = Outputs.of(z, self._targets)
        return terms.chosen({name: loss.delta(outputs) for name, loss in self._losses.items()})

    def _figures(self, terms: Mapping[int, _Terms], count: int) -> Tensor:
        """Return the metrics of the chunk's first `count` states, on the CPU.

        The shape is (lanes, metrics, points). `terms` are those that hold from a state on, the first from state 0 on.
        """
        width = len(self._targets)
        figures = torch.empty(len(NEURON_METRICS), count, width, dtype=torch.float64, device=self._device)
        at_once = max(_FIGURES_AT_ONCE // width, 1)
        parts = (
            (start, min(start + at_once, end), each)
            for (first, each), end in zip(terms.items(), [*list(terms)[1:], count], strict=True)
            for start in range(first, end, at_once)
        )
        for start, end, each in parts:
            states = self._states[start:end]
            z = self._logits(states)
            outputs, sigmoid_prime = UNIT.value_and_slope(z)
            part = (
                each.chosen({name: loss.cost(z, self._targets) for name, loss in self._losses.items()}),
                outputs,
                states[:, 0],
                states[:, 1],
                self._delta(z, each) * self._inputs[0],
                sigmoid_prime,
                1 / sigmoid_prime,
            )
            for metric, values in zip(figures, part, strict=True):
                metric[start:end] = values
        return figures.permute(2, 0, 1).contiguous().cpu()


def _initial_state(spec: NeuronSpec, resume: Snapshot | None) -> tuple[float, float]:
    """Return the weight and bias at the start of a training.

    Raise UnusableSnapshot if `resume` does not have them.
    """
    if resume is not None:
        return kept_tensor(resume, "weight", (1, 1)).item(), kept_tensor(resume, "bias", (1,)).item()
    layer = initial_layers(spec.init, (1, 1), seed=spec.seed, dtype=np.float64)[0]
    return layer.weights.item(), layer.biases.item()


def _padded(lanes: int) -> int:
    return max(1, -(-lanes // _WIDTH)) * _WIDTH
