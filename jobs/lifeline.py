"""A program that must not outlive the one that started it, however that one ends."""

import os
import signal
import sys
import threading


def end_with_parent() -> None:
    """Send this process SIGTERM when its standard input ends.

    Whoever starts it holds the other end of that pipe, and the system closes it even for a parent that is killed.
    """

    def wait() -> None:
        # Not through sys.stdin: the interpreter cannot end while a thread is inside its buffer.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
