"""What decides the last bits of a training: a job records it, and goes on from a checkpoint only under the same."""

from functools import lru_cache

import numpy as np
import torch

from jobs.job import ExecProfile
from workers.engines import fused_cpu, packed_gpu


def exec_profile(engine: str, device: str) -> ExecProfile:
    """The profile of an engine that can be had here, on a device: "cpu", or "cuda:0" and so on."""
    return _with_threads(engine, device, torch.get_num_threads())


@lru_cache(maxsize=64)
def _with_threads(engine: str, device: str, threads: int) -> ExecProfile:
    on = torch.device(device)
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    if engine == fused_cpu.NAME:
        versions["kernel"] = fused_cpu.source()
        instruction_set = fused_cpu.instruction_sets()[0]
    elif on.type == "cuda":
        major, minor = torch.cuda.get_device_capability(on)
        instruction_set = f"sm_{major}{minor}"
        if engine == packed_gpu.NAME:
            versions |= packed_gpu.versions()
    else:
        instruction_set = torch.backends.cpu.get_cpu_capability().lower()
    return ExecProfile(
        engine=engine,
        device=torch.cuda.get_device_name(on) if on.type == "cuda" else on.type,
        instruction_set=instruction_set,
        threads=threads,
        versions=versions,
    )
