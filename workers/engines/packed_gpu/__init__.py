"""Engine packed_gpu: many jobs of one shape on one CUDA device."""
