"""Errors that keep a program from its work, as one line and exit code 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.settings import explain


@contextmanager
def ended_by_errors(prefix: str = "cannot start: ") -> Iterator[None]:
    """End the program if its settings are invalid or the store is unavailable.

    The settings' errors are written one line for each variable, the store's error after the prefix.

    Raises:
        SystemExit: with exit code 1, after the reason was written to standard error.
    """
    try:
        yield
    except ValidationError as error:
        sys.stderr.write(explain(error))
    except StoreUnavailable as error:
        sys.stderr.write(f"{prefix}{error.detail}\n")
    else:
        return
    sys.exit(1)
