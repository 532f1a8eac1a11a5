"""`python -m workers.health`: checks that a worker of this host is alive.

It passes if the store has a worker of this host with a valid lease. A worker has no lasting lease if it dies young,
hangs or cannot reach the store. The check runs every few seconds, so it is light to import and does without torch. It
neither creates nor migrates the database.
"""

import socket
import sys
from contextlib import closing

from costcurve.runtime.settings import Settings
from costcurve.runtime.start_up import ended_by_errors
from costcurve.store import JobStore
from costcurve.store.database import Database

# Seconds to wait for the store: the caller of a health check does not wait long either.
PATIENCE = 2.0


def main() -> int:
    """Print how many workers of this host are alive.

    Returns:
        0 if there is one, else 1.

    Raises:
        SystemExit: the store cannot be read; the exit code is 1.
    """
    with (
        ended_by_errors(prefix=""),
        closing(Database(Settings().resolved_database_url, lock_timeout=PATIENCE, migrates=False)) as database,
    ):
        workers = JobStore(database).workers()
    host = socket.gethostname()
    alive = sum(worker.host == host for worker in workers)
    sys.stdout.write(f"workers alive on {host}: {alive}\n")
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
