"""The job store: every query and every transaction. Each method is one transaction."""

from jobs.store.clients import ForClients, Submitted
from jobs.store.models import ForModels
from jobs.store.sweeps import ForSweeps, SubmittedSweep
from jobs.store.upkeep import ForUpkeep
from jobs.store.workers import ForWorkers

__all__ = ["JobStore", "Submitted", "SubmittedSweep"]


class JobStore(ForClients, ForModels, ForSweeps, ForWorkers, ForUpkeep):
    """Durable jobs on one database, shared by any number of services and workers."""
