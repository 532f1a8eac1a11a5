"""`python -m workers.health`: checks that a worker of this host is alive.

It passes if the store has a worker of this host with a valid lease. A worker has no lasting lease if it dies young,
hangs or cannot reach the store. The check runs every few seconds, so it is light to import and does without torch. It
neither creates nor migrates the database.
"""

import socket
import sys
from contextlib import closing

from pydantic import ValidationError

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.settings import Settings, explain
from costcurve.store import JobStore
from costcurve.store.database import Database

# Seconds to wait for the store: the caller of a health check does not wait long either.
PATIENCE = 2.0


def main() -> int:
    """Print how many workers of this host are alive.

    Returns:
        0 if there is one, else 1.
    """
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
