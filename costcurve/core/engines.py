"""Engines by name. The service checks requests by this table; workers import the module of each name."""

from dataclasses import dataclass
from typing import Literal

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine, and the experiment and the kind of device that it supports; None for any."""

    name: str
    experiment: str | None = None
    device: Literal["cpu", "cuda"] | None = None


# From the plainest to the fastest: `auto` takes the last that suits a job.
ENGINES: dict[str, EngineInfo] = {
    engine.name: engine
    for engine in (
        EngineInfo("autograd"),
        EngineInfo("neuron_pack", experiment="neuron"),
        EngineInfo("fused_cpu", experiment="mnist", device="cpu"),
        EngineInfo("packed_gpu", experiment="mnist", device="cuda"),
    )
}
