"""Which engines this process has, and which one trains what a client asks for."""

from collections.abc import Sequence

from jobs.job import Choice
from jobs.spec import AnySpec, NeuronSpec
from workers.engines import autograd, fused_cpu, neuron_pack

# Neurons that one worker takes at once, at most. It could take more; but what it has taken, no other worker can take.
_NEURONS_AT_ONCE = 1024


def available() -> Sequence[str]:
    """The engines that can be had here."""
    return [autograd.NAME, neuron_pack.NAME, *([fused_cpu.NAME] if fused_cpu.why_missing() is None else [])]


def chosen(spec: AnySpec, requested: str, device: str, *, pack: int = 1) -> Choice:
    """The engine for a job, by what it trains and where.

    Args:
        spec: what to train.
        requested: an engine that can be had here, or "auto".
        device: where to train: "cpu", or "cuda:0" and so on.
        pack: how many jobs to take at once for an engine that trains them in turns.
    """
    if requested == "auto":
        requested, remark = _automatic(spec, device)
    else:
        remark = None
    at_once = _NEURONS_AT_ONCE if requested == neuron_pack.NAME else pack
    return Choice(requested, at_once, remark)


def _automatic(spec: AnySpec, device: str) -> tuple[str, str | None]:
    """The engine that is fastest, and what is to be said of it."""
    if isinstance(spec, NeuronSpec):
        return neuron_pack.NAME, None
    if device != "cpu":
        return autograd.NAME, None
    if (why := fused_cpu.why_missing()) is not None:
        return autograd.NAME, f"as {fused_cpu.NAME} is missing here ({why})"
    return fused_cpu.NAME, None
