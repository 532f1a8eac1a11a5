"""Outage logs: one warning per reason and minute, and one final line."""

import logging
import threading
from time import monotonic

from costcurve.core.errors import StoreUnavailable

# Seconds between two warnings for the same reason.
INTERVAL = 60.0
# Reasons that are distinguished. All others count as one, because the texts of errors may differ each time.
_MOST_REASONS = 10


class Outage:
    """Log of work that fails again and again, with few lines.

    Threads of a program may share one, so that not each of them logs. A reason is remembered when the outage ends: an
    outage that comes and goes within 60 s is logged once.
    """

    def __init__(self, log: logging.Logger) -> None:
        """Create the log of an outage that has not begun.

        Args:
            log: the logger that receives the lines.
        """
        self._log = log
        self._lock = threading.Lock()
        # The work that fails now, when the first of it began to fail, and when each reason was last logged.
        self._failing: set[str] = set()
        self._since = 0.0
        self._is_logged = False
        self._logged_at: dict[str, float] = {}

    def failed(self, what: str, error: Exception) -> None:
        """Log that `what` failed, once per reason in 60 s.

        Args:
            what: the work that failed, in words.
            error: the cause. An unavailable store or a failing file system is an outage. All else is a defect, and is
                logged with its traceback.
        """
        is_outage, reason = _reason(error)
        now = monotonic()
        with self._lock:
            if not self._failing:
                self._since, self._is_logged = now, False
            self._failing.add(what)
            if not self._may_log(reason, now):
                return
            self._is_logged = True
        if is_outage:
            self._log.warning("%s: %s", what, reason)
        else:
            self._log.error("%s: %s", what, reason, exc_info=error)

    def worked(self, what: str) -> None:
        """Note that `what` works, and log the end of the outage.

        The end is logged only if the outage was logged and nothing else fails.
        """
        if what not in self._failing:
            return
        with self._lock:
            self._failing.discard(what)
            if self._failing or not self._is_logged:
                return
            self._is_logged = False
            seconds = monotonic() - self._since
        self._log.info("the outage is over, after %.1f s", seconds)

    def _may_log(self, reason: str, now: float) -> bool:
        self._logged_at = {each: at for each, at in self._logged_at.items() if now - at < INTERVAL}
        if reason not in self._logged_at and len(self._logged_at) >= _MOST_REASONS:
            reason = ""
        if reason in self._logged_at:
            return False
        self._logged_at[reason] = now
        return True


def _reason(error: Exception) -> tuple[bool, str]:
    """Return a flag that is True for an outage, and the reason."""
    if isinstance(error, StoreUnavailable):
        return True, error.detail
    if isinstance(error, OSError):
        return True, error.strerror or str(error)  # without the file's name, which differs each time
    return False, f"{type(error).__name__}: {error}"
