"""The job store: every query and every transaction. Each method is one transaction."""

from costcurve.store.claims import ForWorkers
from costcurve.store.jobs import ForClients, Submitted
from costcurve.store.maintenance import ForMaintenance
from costcurve.store.models import ForModels
from costcurve.store.sweeps import ForSweeps, SubmittedSweep

__all__ = ["JobStore", "Submitted", "SubmittedSweep"]


class JobStore(ForClients, ForModels, ForSweeps, ForWorkers, ForMaintenance):
    """Durable jobs on one database, shared by any number of services and workers."""
