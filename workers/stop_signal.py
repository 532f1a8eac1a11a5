"""Being told to stop, as something that can be waited for beside other things."""

import os
import signal


class StopRequest:
    """SIGTERM, SIGINT or SIGHUP, once one of them has come; for `multiprocessing.connection.wait`."""

    def __init__(self) -> None:
        self.made = False
        # Can be read from as soon as the request is made.
        self.descriptor, self._waker = os.pipe()

    def listen(self) -> None:
        """From now on these signals mean that. For the main thread."""
        signals = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: meant to outlive its terminal
            signals.append(signal.SIGHUP)
        for number in signals:
            signal.signal(number, self._make)

    def _make(self, *_: object) -> None:
        self.made = True
        os.write(self._waker, b"!")
