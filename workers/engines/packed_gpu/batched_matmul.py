"""Packs of networks of any shape: one call computes a product for many networks.

A step of a small network is dozens of calls. Each takes microseconds on a CUDA device, less than the host needs to
launch it. So on a CUDA device the calls are recorded once as a CUDA graph, and a step is one call.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from costcurve.core.spec import DIGITS
from workers.engines.packed_gpu.networks import Networks, forward, networks_together
from workers.training.network import Images

# Most steps whose batches are on the device at once.
_STEPS_AT_ONCE = 256


class ProductTrainer:
    """Trainer for any number of networks of one shape and batch size."""

    def __init__(self, widths: tuple[int, ...], batch_size: int, images: Images) -> None:
        self._images = images
        self._device = images.labels.device
        together = networks_together(widths)
        self._room = Networks.zeros(widths, together, self._device)
        self._batches = torch.zeros(_STEPS_AT_ONCE, together, batch_size, dtype=torch.int64, device=self._device)
        self._costs = torch.zeros(_STEPS_AT_ONCE, together, dtype=torch.float64, device=self._device)
        self._at = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._take_step = self._recorded() if self._device.type == "cuda" else self._step

    def train(self, networks: Networks, lanes: Sequence[int], batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """Make one step of each lane's network for each row of its batches.

        A lane's batches are (steps, batch_size), int64 on the CPU. Lanes may take different numbers of steps. Return
        each lane's costs before the updates, (steps,) float64.
        """
        costs: list[list[Tensor]] = [[] for _ in lanes]
        together = len(self._room.scales)
        for start in range(0, len(lanes), together):
            group = list(range(start, min(start + together, len(lanes))))
            done = 0
            while group:
                end = min(len(batches[each]) for each in group)
                part = [batches[each][done:end] for each in group]
                taken = self._train(networks, [lanes[each] for each in group], part)
                for each, column in zip(group, taken, strict=True):
                    costs[each].append(column)
                done = end
                group = [each for each in group if len(batches[each]) > done]
        return [torch.cat(columns) for columns in costs]

    def _train(self, networks: Networks, lanes: Sequence[int], batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """Train at most `networks_together` networks, all for the same number of steps."""
        places = torch.tensor(lanes, device=self._device)
        self._room.load(networks, places)
        costs = []
        for part in torch.split(torch.stack(list(batches), dim=1), _STEPS_AT_ONCE):
            self._batches[: len(part), : len(lanes)] = part.to(self._device)
            self._at.zero_()
            for _ in range(len(part)):
                self._take_step()
            costs.append(self._costs[: len(part), : len(lanes)].clone())
        self._room.store(networks, places)
        return torch.cat(costs).unbind(dim=1)

    def _step(self) -> None:
        """Make one step of every network with the batches at `_at`, then advance `_at`.

        All of it runs on the device, so that it can be recorded: no number may move between host and device.
        """
        room = self._room
        batch = self._batches.index_select(0, self._at)[0]  # (lanes, batch_size)
        *inputs, z = forward(room, self._images.pixels[batch])
        z, y = z[..., :DIGITS], self._images.targets[batch]
        total = room.costs(z, y).sum(dim=(1, 2), dtype=torch.float64)
        self._costs.index_copy_(0, self._at, (total * room.scales / len(batch[0]))[None])
        delta = torch.zeros_like(room.biases[-1]).repeat(1, len(batch[0]), 1)
        delta[..., :DIGITS] = room.deltas(z, y) * room.factors[:, None, None]
        # From here on delta is −η ∂C/∂z.
        for a, weights, biases in zip(reversed(inputs), reversed(room.weights), reversed(room.biases), strict=True):
            before = delta
            if a is not inputs[0]:
                delta = torch.bmm(before, weights.mT) * (a * (1 - a))
            weights.baddbmm_(a.mT, before)
            biases.add_(before.sum(dim=1, keepdim=True))
        self._at += 1

    def _recorded(self) -> Callable[[], None]:
        """Return a step that is recorded as a CUDA graph."""
        with torch.cuda.device(self._device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._step()  # libraries allocate workspace in their first call, which cannot be recorded
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step()
        return graph.replay
