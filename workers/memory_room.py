"""Limits on pack sizes after a device ran out of memory."""

import logging
from dataclasses import replace
from time import monotonic

from costcurve.core.job import Claim, EngineChoice, EngineSelector
from costcurve.core.spec import AnySpec
from costcurve.store.queue import pack_key

log = logging.getLogger(__name__)

# Seconds for which a limit is kept: the memory may have been used by another program.
REMEMBERED = 600.0


class MemoryRoom:
    """The largest pack of each shape that fits into memory.

    A limit halves each time a pack runs out of memory, down to one job.
    """

    def __init__(self, choose: EngineSelector) -> None:
        """Start without any limit.

        Args:
            choose: returns the engine for a job, and how many jobs it would train at once.
        """
        self._choose = choose
        # By engine, device and shape: the most jobs at once, and until when the limit holds.
        self._most: dict[tuple[str, str, str], tuple[int, float]] = {}

    def choose(self, spec: AnySpec, requested: str, device: str) -> EngineChoice:
        """Return the engine for a job, within the limit of its shape.

        The limit applies to the number of jobs at once.
        """
        choice = self._choose(spec, requested, device)
        most, until = self._most.get((choice.engine, device, pack_key(spec)), (choice.at_once, 0.0))
        return replace(choice, at_once=min(choice.at_once, most)) if monotonic() < until else choice

    def exceeded(self, claim: Claim, count: int) -> int:
        """Record that `count` jobs of this shape ran out of memory.

        Return how many to try next.
        """
        most, key = max(count // 2, 1), (claim.engine, claim.device, pack_key(claim.spec))
        if self._most.get(key, (count, 0.0))[0] != most:
            log.warning(
                "%d jobs at once need more memory than %s has; the next try is %d at once", count, claim.device, most
            )
        self._most[key] = most, monotonic() + REMEMBERED
        return most
