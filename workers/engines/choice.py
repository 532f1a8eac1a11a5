"""Engines available in this process, and the choice of one for each job."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from costcurve.core.job import Choice
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec
from workers.engines import autograd, fused_cpu, neuron_pack
from workers.engines.packed_gpu import engine as packed_gpu
from workers.engines.profile import exec_profile

# Most jobs that one worker claims at once for an engine that trains them together. It could train more, but no other
# worker can claim jobs that it holds. For packed_gpu: about two for each multiprocessor of a large GPU.
_AT_ONCE = {neuron_pack.NAME: 1024, packed_gpu.NAME: 264}

# By instruction set, the most weights behind the first layer with which fused_cpu is faster than the reference engine
# at every batch size (benchmarks/records/shapes.md). With more weights, a library's large matrix products are faster.
_MOST_DENSE_WEIGHTS = {"avx512": 500_000, "avx2": 100_000}
_MOST_DENSE_WEIGHTS_ELSEWHERE = 5_000


def available(device: str) -> Sequence[str]:
    """Return the engines available on this device ("cpu", or "cuda:0" and so on)."""
    found = [autograd.NAME, neuron_pack.NAME]
    if fused_cpu.why_missing() is None:
        found.append(fused_cpu.NAME)
    if packed_gpu.why_missing(torch.device(device)) is None:
        found.append(packed_gpu.NAME)
    return found


def chosen(spec: AnySpec, requested: str, device: str, *, pack: int = 1) -> Choice:
    """Return the engine for a job, chosen by its spec and its device.

    Args:
        spec: what to train.
        requested: an engine that is available here, or "auto".
        device: where to train: "cpu", or "cuda:0" and so on.
        pack: most jobs to claim at once for an engine that trains them in turns.
    """
    engine, remark = _automatic(spec, device) if requested == "auto" else (requested, None)
    return Choice(engine, _AT_ONCE.get(engine, pack), remark, exec_profile(engine, device))


def _automatic(spec: AnySpec, device: str) -> tuple[str, str | None]:
    """Return the engine that is fastest by measurement, and a remark or None."""
    if isinstance(spec, NeuronSpec):
        return neuron_pack.NAME, None
    if device != "cpu":
        return autograd.NAME, None
    if (why := fused_cpu.why_missing()) is not None:
        return autograd.NAME, f"because {fused_cpu.NAME} is missing here ({why})"
    return (fused_cpu.NAME if _suits_fused_cpu(spec) else autograd.NAME), None


def _suits_fused_cpu(spec: MnistSpec) -> bool:
    dense = sum(n_in * n_out for n_in, n_out in pairwise(spec.layers[1:]))
    return dense <= _MOST_DENSE_WEIGHTS.get(fused_cpu.instruction_sets()[0], _MOST_DENSE_WEIGHTS_ELSEWHERE)
