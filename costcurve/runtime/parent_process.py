"""A program that must not outlive the one that started it, however that one ends."""

import multiprocessing
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


def stop_with_parent(stop: threading.Event) -> None:
    """Set the event when the process is gone that started this one by `multiprocessing`, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        stop.set()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
