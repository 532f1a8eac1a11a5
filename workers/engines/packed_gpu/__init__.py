"""Engine packed_gpu: many jobs of one shape on one CUDA device."""

from workers.engines.packed_gpu.engine import BATCH_LIMIT, NAME, profile, suits, train, why_missing

__all__ = ["BATCH_LIMIT", "NAME", "profile", "suits", "train", "why_missing"]
