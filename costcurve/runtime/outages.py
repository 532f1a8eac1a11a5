"""The log of an outage: a warning for each reason, then one a minute, and one line when it is over."""

import logging
import threading
from time import monotonic

from costcurve.core.errors import StoreUnavailable

# Seconds between two warnings for the same reason.
INTERVAL = 60.0
# Reasons that are told apart; all others together count as one. Some texts differ each time.
_MOST_REASONS = 10


class Outage:
    """What a program says about work that fails again and again. Its threads may share one, so that each is not heard.

    A reason is remembered when the outage ends: an outage that comes and goes within a minute is told once.
    """

    def __init__(self, log: logging.Logger) -> None:
        """An outage that has not begun.

        Args:
            log: where it is told.
        """
        self._log = log
        self._lock = threading.Lock()
        # What fails at present; when the first of it began to; and when each reason was told last.
        self._failing: set[str] = set()
        self._since = 0.0
        self._is_told = False
        self._told: dict[str, float] = {}

    def failed(self, what: str, error: Exception) -> None:
        """Tell that `what` failed, unless the same reason was told within the last minute.

        Args:
            what: what fails, in words.
            error: why: a store that is unavailable, or a file system that fails; all else is a defect, and told with
                its traceback.
        """
        is_outage, reason = _reason(error)
        now = monotonic()
        with self._lock:
            if not self._failing:
                self._since, self._is_told = now, False
            self._failing.add(what)
            if not self._may_tell(reason, now):
                return
            self._is_told = True
        if is_outage:
            self._log.warning("%s: %s", what, reason)
        else:
            self._log.error("%s: %s", what, reason, exc_info=error)

    def worked(self, what: str) -> None:
        """Note that `what` works; tell that the outage is over if it was told of, and nothing else fails."""
        if what not in self._failing:
            return
        with self._lock:
            self._failing.discard(what)
            if self._failing or not self._is_told:
                return
            self._is_told = False
            seconds = monotonic() - self._since
        self._log.info("the outage is over, after %.1f s", seconds)

    def _may_tell(self, reason: str, now: float) -> bool:
        self._told = {each: at for each, at in self._told.items() if now - at < INTERVAL}
        if reason not in self._told and len(self._told) >= _MOST_REASONS:
            reason = ""
        if reason in self._told:
            return False
        self._told[reason] = now
        return True


def _reason(error: Exception) -> tuple[bool, str]:
    """Whether it is an outage, and its reason."""
    if isinstance(error, StoreUnavailable):
        return True, error.detail
    if isinstance(error, OSError):
        return True, error.strerror or str(error)  # without the file's name, which differs each time
    return False, f"{type(error).__name__}: {error}"
