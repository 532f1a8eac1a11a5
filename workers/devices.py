"""What a worker process may train on."""

from collections.abc import Mapping

import torch


def available_devices() -> list[str]:
    """Every CUDA device that torch sees; the CPU where it sees none."""
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def served_by(device: str) -> Mapping[str, str]:
    """Where a worker on `device` trains a job, for each device that a job may request."""
    if device == "cpu":
        return {"auto": "cpu", "cpu": "cpu"}
    return {"auto": device, "cuda": device, "cpu": "cpu"}
