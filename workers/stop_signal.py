"""A request to stop, as something that a process can wait for."""

import os
import signal


class StopRequest:
    """The request made by SIGTERM, SIGINT or SIGHUP.

    Its descriptor is for `multiprocessing.connection.wait`.
    """

    def __init__(self) -> None:
        self.made = False
        # Readable as soon as the request is made.
        self.descriptor, self._waker = os.pipe()

    def listen(self) -> None:
        """Handle these signals from now on. Call it in the main thread."""
        signals = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: meant to outlive its terminal
            signals.append(signal.SIGHUP)
        for number in signals:
            signal.signal(number, self._make)

    def _make(self, *_: object) -> None:
        self.made = True
        os.write(self._waker, b"!")
