"""Processes that must not outlive the process that started them."""

import multiprocessing
import os
import signal
import sys
import threading


def end_with_parent() -> None:
    """Send this process SIGTERM when its standard input ends.

    The parent holds the other end of that pipe. The system closes it even for a parent that is killed.
    """

    def wait() -> None:
        # Not sys.stdin: the interpreter cannot end while a thread is inside its buffer.
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def stop_at_end_of(lifeline: int, stop: threading.Event) -> None:
    """Set the event when the pipe behind this descriptor ends.

    The process that holds its other end may have ended in any way.
    """

    def wait() -> None:
        while os.read(lifeline, 1024):
            pass
        stop.set()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def stop_with_parent(stop: threading.Event) -> None:
    """Set the event when the `multiprocessing` parent of this process is gone.

    It does not matter how the parent ended.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        stop.set()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
