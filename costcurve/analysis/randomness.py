"""The only source of randomness: each value is a pure function of (seed, purpose, index).

So the same spec gets the same start and the same batches on every engine, on every device, and after every resume.
Counter-based generator: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), numpy's Philox4x64-10.
"""

from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """The purpose of a random stream; `index` counts within a purpose."""

    WEIGHTS = 1  # index: the layer, from 1
    BIASES = 2  # index: the layer, from 1
    SHUFFLE = 3  # index: the pass over the training images, from 0


def generator(seed: int, purpose: Purpose, index: int) -> np.random.Generator:
    """Return the stream of (seed, purpose, index), from its beginning.

    Seed and index are at least 0 and below 2^64.
    """
    # The counter's highest word holds the index: 2^192 blocks lie between two streams.
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, index]))


class SampleOrder:
    """Sampling without replacement: passes over `size` samples, each in its own order.

    Position p of the endless sequence lies in pass p // size. A batch may span two passes.
    """

    def __init__(self, *, seed: int, size: int) -> None:
        self._size = size
        self._pass = lru_cache(maxsize=2)(
            lambda index: generator(seed, Purpose.SHUFFLE, index).permutation(size).astype(np.int64)
        )

    def between(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the sample numbers at positions start <= p < stop.

        They are int64 in 0 … size - 1.
        """
        pieces = []
        while start < stop:
            index, offset = divmod(start, self._size)
            piece = self._pass(index)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)
