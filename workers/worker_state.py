"""State of a worker, which its supervisor reads through memory that both map."""

import mmap
import os
import tempfile
from ctypes import Structure, c_bool, c_uint64, sizeof

from workers.pulse import Pulse


class _Fields(Structure):
    _fields_ = (("beats", c_uint64), ("ready", c_bool))


class WorkerState:
    """Whether a worker can train, and its pulse.

    It has no lock: a worker may be killed at any moment, even while it holds one.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind this descriptor."""
        self._fields = _Fields.from_buffer(mmap.mmap(descriptor, sizeof(_Fields)))
        self.pulse = Pulse(c_uint64.from_buffer(self._fields, _Fields.beats.offset))

    @property
    def is_ready(self) -> bool:
        """Return True once the worker can train."""
        return bool(self._fields.ready)

    def set_ready(self) -> None:
        """Tell the supervisor that this worker can train."""
        self._fields.ready = True


def new_memory() -> int:
    """Return a descriptor of zeroed memory for one worker's state.

    Raises:
        OSError: no descriptors or memory are left.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("worker-state")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, sizeof(_Fields))
    return descriptor
