"""The job store: all queries and all transactions on the database.

Each method writes in one transaction; `reap` uses one per worker.
"""

from costcurve.store.access import ForAccess
from costcurve.store.claims import ForWorkers
from costcurve.store.jobs import ForClients, Submitted
from costcurve.store.maintenance import ForMaintenance
from costcurve.store.models import ForModels
from costcurve.store.sweeps import ForSweeps, SubmittedSweep
from costcurve.store.trials import ForTrials

__all__ = ["JobStore", "Submitted", "SubmittedSweep"]


class JobStore(ForClients, ForModels, ForSweeps, ForTrials, ForAccess, ForWorkers, ForMaintenance):
    """Durable jobs in one database that services and workers share."""
