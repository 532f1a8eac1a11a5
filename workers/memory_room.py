"""The room on a worker's device: how many jobs of a shape it takes at once, as far as they needed too much memory."""

import logging
from dataclasses import replace
from time import monotonic

from costcurve.core.job import Choice, Choose, Claim
from costcurve.core.spec import AnySpec
from costcurve.store.queue import pack_key

log = logging.getLogger(__name__)

# Seconds for which it is remembered: the memory may have been another program's.
REMEMBERED = 600.0


class MemoryRoom:
    """Halves the packs of a shape each time that one of them needs too much memory, down to one job alone."""

    def __init__(self, choose: Choose) -> None:
        """Room for everything, so far.

        Args:
            choose: the engine for a job, and how many it would train at once.
        """
        self._choose = choose
        # By engine, device and shape: the most jobs at once, and until when.
        self._most: dict[tuple[str, str, str], tuple[int, float]] = {}

    def choose(self, spec: AnySpec, requested: str, device: str) -> Choice:
        """Return the engine for a job, with no more jobs at once than there is room for."""
        choice = self._choose(spec, requested, device)
        most, until = self._most.get((choice.engine, device, pack_key(spec)), (choice.at_once, 0.0))
        return replace(choice, at_once=min(choice.at_once, most)) if monotonic() < until else choice

    def exceeded(self, claim: Claim, count: int) -> int:
        """Note that `count` jobs of this shape needed too much memory. Returns how many are to be tried next."""
        most, key = max(count // 2, 1), (claim.engine, claim.device, pack_key(claim.spec))
        if self._most.get(key, (count, 0.0))[0] != most:
            log.warning("%d jobs at once need more memory than %s has; %d are tried next", count, claim.device, most)
        self._most[key] = most, monotonic() + REMEMBERED
        return most
