"""The devices on which a worker process can train."""

import ctypes
from collections.abc import Mapping
from pathlib import Path


def available_devices() -> list[str]:
    """Return the CUDA devices that torch finds, else the CPU."""
    if not _has_gpu_driver():
        return ["cpu"]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def served_by(device: str) -> Mapping[str, str]:
    """Return where a worker on `device` trains each job.

    The keys are the devices that a job may request, the values the device that trains it.
    """
    if device == "cpu":
        return {"auto": "cpu", "cpu": "cpu"}
    return {"auto": device, "cuda": device, "cpu": "cpu"}


def _has_gpu_driver() -> bool:
    """Return True if NVIDIA's or AMD's driver is installed.

    Without a driver torch finds no device, so its long import can be skipped.
    """
    if Path("/dev/kfd").exists():
        return True
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
