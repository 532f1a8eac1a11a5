"""Step costs of a training: an epoch's mean, and the curve at granularity `step`."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from costcurve.core.curve import STEP_METRICS, STEPS_A_POINT, Curve
from workers.engines.base import ensure_finite


class StepCosts:
    """Accumulator of step costs, which keeps only those still needed.

    The split of steps into calls changes no bit: every sum adds its costs one by one, in float64.
    """

    def __init__(self, steps_per_epoch: int) -> None:
        self._steps_per_epoch = steps_per_epoch
        self._step = 0
        self._epoch_sum = 0.0
        # Costs of the point that is still open: fewer than STEPS_A_POINT.
        self._open: NDArray[np.float64] = np.empty(0)
        self._points = Curve()
        # Still on the device that computes them: reading them waits for it.
        self._unread: list[Tensor] = []

    def add(self, costs: Tensor) -> None:
        """Add the costs of the next steps.

        They are (steps,) of any float type, on any device.
        """
        self._unread.append(costs)

    def read(self) -> None:
        """Include the added costs, which must all be of one epoch.

        Raise Diverged, naming the step, if a cost is not finite.
        """
        if not self._unread:
            return
        costs = torch.cat(self._unread).to("cpu", torch.float64).numpy()
        self._unread = []
        sound = _finite(costs)
        epoch = self._step // self._steps_per_epoch
        self._step += sound
        self._epoch_sum = float(np.cumsum(np.concatenate(([self._epoch_sum], costs[:sound])))[-1])
        self._close_points(np.concatenate((self._open, costs[:sound])))
        if sound < len(costs):
            where = f"in epoch {epoch}, at step {self._step}"
            ensure_finite({"cost": float(costs[sound])}, where=where, updates=self._step)

    @property
    def epoch_mean(self) -> float:
        """Mean cost of an epoch. All of its steps must have been read."""
        return self._epoch_sum / self._steps_per_epoch

    def end_epoch(self) -> None:
        """Start a new epoch with the next cost."""
        self._epoch_sum = 0.0

    def take_points(self, *, last: bool = False) -> Curve:
        """Return the curve's points since the last call.

        At the end of a training, pass `last` to include the point that is still open.
        """
        if last and len(self._open):
            self._append(self._open[np.newaxis])
        points, self._points = self._points, Curve(self._points.end)
        return points

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors that a snapshot has to hold, in addition to the step."""
        epoch_sum = torch.tensor(self._epoch_sum, dtype=torch.float64)
        return {"cost_sum": epoch_sum, "open_costs": torch.from_numpy(self._open)}

    def resume(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Resume after `step` steps from the tensors that `tensors` returned then."""
        self._step = step
        self._epoch_sum = tensors["cost_sum"].item()
        self._open = tensors["open_costs"].numpy().copy()
        self._points = Curve(step // STEPS_A_POINT)

    def _close_points(self, costs: NDArray[np.float64]) -> None:
        closed = len(costs) // STEPS_A_POINT * STEPS_A_POINT
        self._open = costs[closed:].copy()
        if closed:
            self._append(costs[:closed].reshape(-1, STEPS_A_POINT))

    def _append(self, costs: NDArray[np.float64]) -> None:
        """Append one point for each row of costs."""
        means = np.cumsum(costs, axis=1)[:, -1] / costs.shape[1]
        columns = (means.tolist(), costs.min(axis=1).tolist(), costs.max(axis=1).tolist())
        closed = Curve(self._points.end, dict(zip(STEP_METRICS, columns, strict=True)))
        self._points = Curve.joined((self._points, closed))


def _finite(costs: NDArray[np.float64]) -> int:
    """Return the number of finite costs before the first that is not."""
    unsound = np.flatnonzero(~np.isfinite(costs))
    return int(unsound[0]) if len(unsound) else len(costs)
