"""The long-lived process of a fleet: restarts the driver.

It does not import Ray. The driver does, and dies with Ray's head.
"""

import logging
import multiprocessing
from multiprocessing.connection import wait
from time import monotonic

from costcurve.runtime.settings import Settings
from workers.ray import driver
from workers.ray.options import FleetOptions
from workers.stop_signal import StopRequest

log = logging.getLogger(__name__)

# Seconds within which the driver must end: its workers requeue their jobs, and it leaves Ray.
GRACE = driver.GRACE + 7.0
# Backoff in seconds before a lost driver is started again: doubled each time, up to …
BACKOFF = 0.5
BACKOFF_MAX = 10.0
# A driver that lived for this many seconds was connected: the backoff is reset.
YOUNG = 20.0

_spawn = multiprocessing.get_context("spawn")


class DriverSupervisor:
    """Keeps a driver running until SIGTERM, SIGINT or SIGHUP."""

    def __init__(self, settings: Settings, options: FleetOptions) -> None:
        """Prepare to run drivers with these settings and options."""
        self._settings = settings
        self._options = options
        self._stop_request = StopRequest()

    def run(self) -> bool:
        """Run one driver after another until a stop signal.

        Returns:
            True after an orderly end; False if the driver refused to run, or did not end in order.
        """
        self._stop_request.listen()
        backoff = BACKOFF
        while not self._stop_request.made:
            started = monotonic()
            process = _spawn.Process(target=driver.main, args=(self._settings, self._options), name="fleet")
            try:
                process.start()
            except OSError as error:  # no descriptors, processes or memory are left
                log.error("the fleet's driver cannot be started (%s); next try in %.1f s", error, backoff)  # noqa: TRY400
                wait([self._stop_request.descriptor], timeout=backoff)
                backoff = min(2 * backoff, BACKOFF_MAX)
                continue
            wait([self._stop_request.descriptor, process.sentinel])
            if self._stop_request.made:
                process.terminate()
                process.join(GRACE)
                if process.is_alive():
                    log.warning(
                        "the driver did not end within %g s and is killed; its workers requeue their jobs", GRACE
                    )
                    process.kill()
                    process.join()
                return process.exitcode == 0
            process.join()
            if process.exitcode == driver.REFUSED:
                return False
            if monotonic() - started > YOUNG:
                backoff = BACKOFF
            log.error("the fleet's driver ended, exit code %s; another starts in %.1f s", process.exitcode, backoff)
            wait([self._stop_request.descriptor], timeout=backoff)
            backoff = min(2 * backoff, BACKOFF_MAX)
        return True
