"""`python -m workers.health`: is a worker of this host alive, by its lease in the store? For health checks.

A supervisor whose workers die young, a worker that hangs or that cannot reach the store: none of them has a lease that
lasts. Light to import, and without torch: it is asked every few seconds. It neither makes nor migrates the database.
"""

import socket
import sys
from contextlib import closing

from pydantic import ValidationError

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.settings import Settings, explain
from costcurve.store import JobStore
from costcurve.store.database import Database

# Seconds to wait for the store: what asks us does not wait long either.
PATIENCE = 2.0


def main() -> int:
    """Say how many workers of this host are alive; 0 if there is one, else 1."""
    try:
        with closing(Database(Settings().resolved_database_url, lock_timeout=PATIENCE, migrates=False)) as database:
            workers = JobStore(database).workers()
    except ValidationError as error:
        sys.stderr.write(explain(error))
        return 1
    except StoreUnavailable as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    host = socket.gethostname()
    alive = sum(worker.host == host for worker in workers)
    sys.stdout.write(f"workers alive on {host}: {alive}\n")
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
