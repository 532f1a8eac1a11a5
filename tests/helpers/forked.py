"""Functions for the processes of the fork server's tests, and a program that describes itself."""

import os
import signal
import sys


def write(text: str, descriptors: list[int]) -> None:
    """Write the text, and whether the module json was imported before."""
    os.write(descriptors[0], f"{text} {'json' in sys.modules}".encode())


def leave(code: int, _descriptors: list[int]) -> None:
    """End with this exit code."""
    raise SystemExit(code)


def fail(_descriptors: list[int]) -> None:
    """End by an exception."""
    raise ZeroDivisionError


def stay(descriptors: list[int]) -> None:
    """Write a byte to each descriptor; end by a signal only."""
    for descriptor in descriptors:
        os.write(descriptor, b"!")
    signal.pause()


def _describe() -> None:
    """Write what this program was started with to standard output; end with exit code 3."""
    leads_a_session = os.getsid(0) == os.getpid()
    name = os.environ.get("COSTCURVE_NAME")
    sys.stdout.write(f"{sys.argv[1:]} {name} {'/elsewhere' in sys.path} {leads_a_session}\n")
    sys.exit(3)


if __name__ == "__main__":
    _describe()
