"""Errors that keep a program from its work, as one line and exit code 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.settings import explain


class CannotStart(Exception):
    """Reason, as one line for the operator, why the program cannot start."""


@contextmanager
def ended_by_errors(prefix: str = "cannot start: ") -> Iterator[None]:
    """End the program if its settings are invalid, the store is unavailable, or it cannot start for another reason.

    The settings' errors are written one line for each variable, any other after the prefix.

    Raises:
        SystemExit: with exit code 1, after the reason was written to standard error.
    """
    try:
        yield
    except ValidationError as error:
        sys.stderr.write(explain(error))
    except StoreUnavailable as error:
        sys.stderr.write(f"{prefix}{error.detail}\n")
    except CannotStart as error:
        sys.stderr.write(f"{prefix}{error}\n")
    else:
        return
    sys.exit(1)
