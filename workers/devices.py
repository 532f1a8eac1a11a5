"""What a worker process may train on."""

import ctypes
from collections.abc import Mapping
from pathlib import Path


def available_devices() -> list[str]:
    """Every CUDA device that torch sees; the CPU where it sees none."""
    if not _has_gpu_driver():
        return ["cpu"]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def served_by(device: str) -> Mapping[str, str]:
    """Where a worker on `device` trains a job, for each device that a job may request."""
    if device == "cpu":
        return {"auto": "cpu", "cpu": "cpu"}
    return {"auto": device, "cuda": device, "cpu": "cpu"}


def _has_gpu_driver() -> bool:
    """Whether NVIDIA's or AMD's driver is there; without one torch sees no device, and its long import is spared."""
    if Path("/dev/kfd").exists():
        return True
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
