"""Engines by name. The service checks requests by this table; workers import the module of each name."""

from dataclasses import dataclass
from typing import Literal

from costcurve.core.spec import AnySpec

# What a client requests that leaves the choice to the worker.
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine, and the experiment, the kind of device and the losses that it supports; None for any."""

    name: str
    experiment: str | None = None
    device: Literal["cpu", "cuda"] | None = None
    losses: tuple[str, ...] | None = None

    def why_unsupported(self, spec: AnySpec, device: str) -> str | None:
        """Return why this engine cannot train a spec on a kind of device, or None if it can."""
        if self.experiment not in (None, spec.experiment):
            return f"{self.name} trains the experiment {self.experiment} only"
        if self.losses is not None and spec.loss not in self.losses:
            return f"{self.name} does not know the loss {spec.loss}; it knows {', '.join(self.losses)}"
        if self.device not in (None, device):
            return f"{self.name} trains on {_PLACES[self.device]} only"
        return None


# The losses that the compiled code of an engine has formulas for.
_COMPILED = ("quadratic", "cross_entropy")
_PLACES = {"cpu": "a CPU", "cuda": "CUDA devices"}

# From the plainest to the fastest: `auto` takes the last that suits a job.
ENGINES: dict[str, EngineInfo] = {
    engine.name: engine
    for engine in (
        EngineInfo("autograd"),
        EngineInfo("neuron_pack", experiment="neuron"),
        EngineInfo("fused_cpu", experiment="mnist", device="cpu", losses=_COMPILED),
        EngineInfo("packed_gpu", experiment="mnist", device="cuda", losses=_COMPILED),
    )
}


def engine_requests() -> tuple[str, ...]:
    """Return what a client may request as an engine: "auto", or an engine's name."""
    return (AUTO, *ENGINES)
