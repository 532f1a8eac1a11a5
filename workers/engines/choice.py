"""Which engines this process has, and which one trains what a client asks for."""

import logging
from collections.abc import Mapping

from workers.engines import autograd, fused_cpu

log = logging.getLogger(__name__)


def choices() -> Mapping[str, str]:
    """The engine to use, for each engine that a job may request and that can be had here."""
    found = {"auto": autograd.NAME, autograd.NAME: autograd.NAME}
    if (why := fused_cpu.why_missing()) is None:
        found[fused_cpu.NAME] = fused_cpu.NAME
    else:
        log.warning("no engine %s here: %s", fused_cpu.NAME, why)
    return found
