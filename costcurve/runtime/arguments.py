"""Types of command-line arguments, for argparse."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def whole_from(least: int) -> Callable[[str], int]:
    """Return the type of whole numbers in digits from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return read


def seconds(text: str) -> float:
    """Return a number of seconds, 0 or more. Raise ArgumentTypeError for any other text."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds of at least 0")
    return number
